//! Runs kernels in this process: for tests and for measuring what kernels and the machine can do.

use std::marker::PhantomData;

use inkwell::context::Context;
use inkwell::execution_engine::ExecutionEngine;
use inkwell::module::Module;
use inkwell::values::FunctionValue;
use inkwell::{AddressSpace, OptimizationLevel};

use super::kernel;
use super::machine::{Machine, MachineError};
use crate::kernel::Call;
use crate::target::Target;
use crate::vector::Emitter;
use crate::vector::built;

/// A context to compile in.
#[derive(Debug)]
pub struct Jit(Context);

/// Compiled calls.
#[derive(Debug)]
pub struct Compiled<'ctx> {
    engine: ExecutionEngine<'ctx>,
    /// The assembly of all calls, if it was asked for, else empty.
    pub assembly: String,
}

impl Default for Jit {
    fn default() -> Self {
        Jit(Context::create())
    }
}

impl Jit {
    /// Compiles `calls` for `target` into one module.
    ///
    /// # Errors
    /// Fails if LLVM fails.
    pub fn compile(
        &self,
        calls: &[Call],
        target: &'static Target,
        assembly: bool,
    ) -> Result<Compiled<'_>, MachineError> {
        self.compile_with(target, assembly, |e| {
            for (index, call) in calls.iter().enumerate() {
                kernel::emit(e, call, &symbol(index));
            }
            Ok(())
        })
    }

    pub(crate) fn compile_with<'ctx>(
        &'ctx self,
        target: &'static Target,
        assembly: bool,
        emit: impl FnOnce(&Emitter<'_, 'ctx>) -> Result<(), MachineError>,
    ) -> Result<Compiled<'ctx>, MachineError> {
        let (module, machine) = self.module(target, emit)?;
        let assembly = if assembly { machine.assembly(&module)? } else { String::new() };
        let engine = module.create_jit_execution_engine(OptimizationLevel::Aggressive);
        let engine = engine.map_err(|error| MachineError::new(&error))?;
        Ok(Compiled { engine, assembly })
    }

    /// The assembly of code for any target.
    #[cfg(test)]
    pub(crate) fn assembly<'ctx>(
        &'ctx self,
        target: &'static Target,
        emit: impl FnOnce(&Emitter<'_, 'ctx>) -> Result<(), MachineError>,
    ) -> Result<String, MachineError> {
        let (module, machine) = self.module(target, emit)?;
        machine.assembly(&module)
    }

    /// An object file for any target. Its functions with pointers from a list have the names that [`entry_name`] makes.
    #[cfg(test)]
    pub(crate) fn object<'ctx>(
        &'ctx self,
        target: &'static Target,
        emit: impl FnOnce(&Emitter<'_, 'ctx>) -> Result<(), MachineError>,
    ) -> Result<Vec<u8>, MachineError> {
        let (module, machine) = self.module(target, emit)?;
        machine.object(&module)
    }

    fn module<'ctx>(
        &'ctx self,
        target: &'static Target,
        emit: impl FnOnce(&Emitter<'_, 'ctx>) -> Result<(), MachineError>,
    ) -> Result<(Module<'ctx>, Machine), MachineError> {
        let module: Module<'ctx> = self.0.create_module("jit");
        let machine = Machine::new(target.arch)?;
        machine.prepare(&module);
        emit(&Emitter::new(&module, target))?;
        // Kernels return nothing; their helper functions return vectors.
        let is_kernel = |f: &FunctionValue<'_>| f.count_basic_blocks() > 0 && f.get_type().get_return_type().is_none();
        let functions: Vec<_> = module.get_functions().filter(is_kernel).collect();
        functions.into_iter().for_each(|function| add_entry(&module, function));
        machine.optimize(&module)?;
        Ok((module, machine))
    }
}

/// A compiled function that can be called.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'c> {
    address: usize,
    /// The code lives as long as the [`Compiled`] that it belongs to.
    code: PhantomData<&'c ()>,
}

impl Compiled<'_> {
    /// The function of call `index`.
    ///
    /// # Panics
    /// If there is no such call.
    #[must_use]
    pub fn entry(&self, index: usize) -> Entry<'_> {
        self.named(&symbol(index))
    }

    /// The function of this name.
    ///
    /// # Panics
    /// If there is no such function.
    #[must_use]
    pub fn named(&self, name: &str) -> Entry<'_> {
        let address = self.engine.get_function_address(&entry_name(name)).expect("a compiled function");
        Entry { address, code: PhantomData }
    }

    /// Runs call `index`, as [`Entry::run`] does.
    ///
    /// # Panics
    /// If there is no such call.
    ///
    /// # Safety
    /// As for [`Entry::run`].
    pub unsafe fn run(&self, index: usize, pointers: &[*mut u8]) {
        // SAFETY: the caller vouches for the addresses.
        unsafe { self.entry(index).run(pointers) }
    }

    /// Runs the function of this name, as [`Entry::run`] does.
    ///
    /// # Panics
    /// If there is no such function.
    ///
    /// # Safety
    /// As for [`Entry::run`].
    pub unsafe fn run_named(&self, name: &str, pointers: &[*mut u8]) {
        // SAFETY: the caller vouches for the addresses.
        unsafe { self.named(name).run(pointers) }
    }
}

impl Entry<'_> {
    /// Calls the function with these addresses. The function of a call takes its operands, then its output.
    ///
    /// # Safety
    /// Each address must be that of the first element of its view, with memory for all elements that the function
    /// accesses.
    pub unsafe fn run(self, pointers: &[*mut u8]) {
        // SAFETY: the address is that of an entry, which takes the pointers of the function behind it.
        unsafe {
            let entry: unsafe extern "C" fn(*const *mut u8) = std::mem::transmute(self.address);
            entry(pointers.as_ptr());
        }
    }
}

/// Adds a function that calls `function` with pointers from a list, as Rust cannot call a function with a variable
/// number of arguments.
fn add_entry<'ctx>(module: &Module<'ctx>, function: FunctionValue<'ctx>) {
    let context = module.get_context();
    let pointer = context.ptr_type(AddressSpace::default());
    let name = entry_name(&function.get_name().to_string_lossy());
    let entry = module.add_function(&name, context.void_type().fn_type(&[pointer.into()], false), None);
    let builder = context.create_builder();
    builder.position_at_end(context.append_basic_block(entry, "entry"));
    let list = entry.get_first_param().unwrap_or_else(|| unreachable!("it has one")).into_pointer_value();
    let arguments = (0..function.count_params()).map(|index| {
        let index = context.i64_type().const_int(index.into(), false);
        // SAFETY: the list is as long as the function has parameters.
        let at = built(unsafe { builder.build_gep(pointer, list, &[index], "") });
        built(builder.build_load(pointer, at, "")).into()
    });
    let arguments: Vec<_> = arguments.collect();
    built(builder.build_call(function, &arguments, ""));
    built(builder.build_return(None));
}

/// The name of the function that calls `function` with pointers from a list.
pub(crate) fn entry_name(function: &str) -> String {
    format!("{function}.entry")
}

/// The name of the function of call `index`.
pub(crate) fn symbol(index: usize) -> String {
    format!("call{index}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::Kind;

    /// A call has many pointers if its steps read many tensors.
    #[test]
    fn functions_take_any_number_of_pointers() {
        const COUNT: usize = 40;
        let jit = Jit::default();
        let compiled = jit.compile_with(Target::native().expect("a target"), false, |e| {
            let p = e.function("sum", COUNT + 1, 0);
            let ones = p[..COUNT].iter().map(|at| e.load(*at, Kind::I32, 1));
            let sum = ones.reduce(|a, b| e.add(a, b)).expect("some");
            e.store(p[COUNT], sum);
            e.end();
            Ok(())
        });
        let mut numbers: Vec<i32> = (0..=COUNT as i32).collect();
        let pointers: Vec<*mut u8> = numbers.iter_mut().map(|number| std::ptr::from_mut(number).cast()).collect();
        // SAFETY: the function accesses one number at each address.
        unsafe { compiled.expect("compiles").run_named("sum", &pointers) };
        assert_eq!(numbers[COUNT], (0..COUNT as i32).sum());
    }
}
