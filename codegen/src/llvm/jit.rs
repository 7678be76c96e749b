//! Runs kernels in this process: for tests and for measuring what kernels and the machine can do.

use std::marker::PhantomData;

use inkwell::OptimizationLevel;
use inkwell::context::Context;
use inkwell::execution_engine::ExecutionEngine;
use inkwell::module::{Linkage, Module};

use super::kernel;
use super::machine::{Machine, MachineError};
use super::vector::Emitter;
use crate::program::Call;
use crate::target::Target;

/// A context to compile in.
#[derive(Debug)]
pub struct Jit(Context);

/// Compiled calls.
#[derive(Debug)]
pub struct Compiled<'ctx> {
    engine: ExecutionEngine<'ctx>,
    /// The assembly of all of them, if it was asked for.
    pub assembly: String,
}

impl Default for Jit {
    fn default() -> Self {
        Jit(Context::create())
    }
}

impl Jit {
    /// Compiles `calls` for `target` (see [`Emitter::new`] for `portable`) into one module.
    ///
    /// # Errors
    /// Of LLVM.
    pub fn compile(
        &self,
        calls: &[Call],
        target: &'static Target,
        portable: bool,
        assembly: bool,
    ) -> Result<Compiled<'_>, MachineError> {
        self.compile_with(target, portable, assembly, |e| {
            for (index, call) in calls.iter().enumerate() {
                kernel::emit(e, call, &symbol(index));
            }
            Ok(())
        })
    }

    pub(crate) fn compile_with<'ctx>(
        &'ctx self,
        target: &'static Target,
        portable: bool,
        assembly: bool,
        emit: impl FnOnce(&Emitter<'_, 'ctx>) -> Result<(), MachineError>,
    ) -> Result<Compiled<'ctx>, MachineError> {
        let module: Module<'ctx> = self.0.create_module("jit");
        let machine = Machine::new()?;
        machine.prepare(&module);
        emit(&Emitter::new(&module, target, portable))?;
        for function in module.get_functions().filter(|f| f.count_basic_blocks() > 0) {
            function.set_linkage(Linkage::External);
        }
        machine.optimize(&module)?;
        let assembly = if assembly { machine.assembly(&module)? } else { String::new() };
        let engine = module.create_jit_execution_engine(OptimizationLevel::Aggressive);
        let engine = engine.map_err(|error| MachineError::new(&error))?;
        Ok(Compiled { engine, assembly })
    }
}

/// A compiled function that can be called.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'c> {
    address: usize,
    /// The code lives as long as what compiled it.
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
        let address = self.engine.get_function_address(name).expect("a compiled function");
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
    /// Calls the function with these addresses: of a call the operands, then the output.
    ///
    /// # Panics
    /// If there are more than 16.
    ///
    /// # Safety
    /// Each address must be that of the first element of its view, with room for all that the function reads and writes.
    pub unsafe fn run(self, pointers: &[*mut u8]) {
        type Kernel = unsafe extern "C" fn(
            *mut u8,
            *mut u8,
            *mut u8,
            *mut u8,
            *mut u8,
            *mut u8,
            *mut u8,
            *mut u8,
            *mut u8,
            *mut u8,
            *mut u8,
            *mut u8,
            *mut u8,
            *mut u8,
            *mut u8,
            *mut u8,
        );
        let mut p = [std::ptr::null_mut(); 16];
        p[..pointers.len()].copy_from_slice(pointers);
        // SAFETY: the address is that of a function which takes pointers and returns nothing; in the C calling
        // convention it does not see arguments beyond those that it takes.
        unsafe {
            let kernel: Kernel = std::mem::transmute(self.address);
            kernel(
                p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12], p[13], p[14], p[15],
            );
        }
    }
}

fn symbol(index: usize) -> String {
    format!("call{index}")
}
