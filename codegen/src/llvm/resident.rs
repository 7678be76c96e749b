//! Compiles a program into the memory of this process and runs it there, without files and linker.
//!
//! The functions, the sessions that run them and the threads are those of an artifact, so the results are the same.

use std::ffi::c_void;

use eightfold_runtime::abi::{self, RunFn};
use eightfold_runtime::session::{session_create_in, session_destroy, session_run, session_size};
use eightfold_runtime::status::Status;
use inkwell::context::Context;
use inkwell::execution_engine::ExecutionEngine;
use inkwell::module::Linkage;
use inkwell::{AddressSpace, OptimizationLevel};

use super::calls::Constants;
use super::machine::{Machine, MachineError};
use super::program::emit;
use super::run::emit_run;
use crate::image::{Image, Memory};
use crate::interface::{Tensor, Variant};
use crate::program::Scheduled;

const RUN: &str = "run";

/// A program in memory, ready to run.
#[derive(Debug)]
pub struct Resident {
    session: *mut abi::Session,
    /// The memory of the session, and the variant that it runs. Both are on the heap, so they stay in place if the
    /// struct moves.
    _memory: Vec<u8>,
    _variant: Box<abi::Variant>,
    input_sizes: Vec<usize>,
    output_sizes: Vec<usize>,
    /// The constants. The code contains their address.
    _constants: Memory,
    // Fields are dropped in order: the engine, which owns the code, before the context that it refers to.
    _engine: ExecutionEngine<'static>,
    _context: Box<Context>,
}

impl Resident {
    /// Compiles `program`, which `variant` describes, for this process. Its target must run here.
    ///
    /// # Errors
    /// Fails if LLVM fails, or if the system cannot create the program's threads.
    ///
    /// # Panics
    /// If this machine lacks features of the program's target.
    pub fn new(program: Scheduled, variant: &Variant) -> Result<Self, MachineError> {
        assert!(program.target.runs_here(), "a program runs where it is compiled");
        let mut program = program.into_program();
        let context = Box::new(Context::create());
        // SAFETY: the context is on the heap and is used only through this reference. Only the engine keeps the
        // reference, and the context outlives the engine: see the order of the fields.
        let borrowed: &'static Context = unsafe { &*std::ptr::from_ref::<Context>(&context) };
        let module = borrowed.create_module("resident");
        let machine = Machine::new(program.target.arch)?;
        machine.prepare(&module);
        let mut image = Image::default();
        let offsets = image.add(&std::mem::take(&mut program.consts));
        let memory = image.into_memory();
        let address = borrowed.i64_type().const_int(memory.address() as u64, false);
        let base = address.const_to_pointer(borrowed.ptr_type(AddressSpace::default()));
        let inner = emit(&module, &program, Constants { base, offsets }, "inner");
        emit_run(&module, RUN, variant, program.target.instructions, inner).set_linkage(Linkage::External);
        machine.optimize(&module)?;
        let engine = module.create_jit_execution_engine(OptimizationLevel::Aggressive);
        let engine = engine.map_err(|error| MachineError::new(&error))?;
        let address = engine.get_function_address(RUN).map_err(|error| MachineError::new(&error))?;
        // SAFETY: `emit_run` makes functions of this type, and the engine keeps the code as long as `self` lives.
        let run = unsafe { std::mem::transmute::<usize, RunFn>(address) };
        let sizes = |tensors: &[Tensor]| -> Vec<usize> {
            tensors.iter().map(|tensor| tensor.byte_size().expect("lowered tensors fit into memory")).collect()
        };
        let described = Box::new(described(variant, run));
        let (session, session_memory) = session(&described).map_err(|status| MachineError::new(&status))?;
        Ok(Resident {
            session,
            _memory: session_memory,
            _constants: memory,
            _variant: described,
            input_sizes: sizes(&variant.inputs),
            output_sizes: sizes(&variant.outputs),
            _engine: engine,
            _context: context,
        })
    }

    /// Runs the program once: reads `inputs` and overwrites `outputs`, both in the order of the interface.
    ///
    /// # Panics
    /// If the number of tensors or the size of a tensor differs from the variant's.
    pub fn run(&mut self, inputs: &[&[u8]], outputs: &mut [Vec<u8>]) -> Status {
        assert!(inputs.iter().map(|input| input.len()).eq(self.input_sizes.iter().copied()), "inputs fit");
        assert!(outputs.iter().map(Vec::len).eq(self.output_sizes.iter().copied()), "outputs fit");
        let inputs: Vec<*const c_void> = inputs.iter().map(|input| input.as_ptr().cast()).collect();
        let outputs: Vec<*mut c_void> = outputs.iter_mut().map(|output| output.as_mut_ptr().cast()).collect();
        // SAFETY: counts and sizes have been checked, and outputs are distinct vectors, borrowed for the duration of
        // the call.
        unsafe { session_run(self.session, inputs.as_ptr(), outputs.as_ptr()) }
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        // SAFETY: the session is not running and is not used again; its memory and the code still exist.
        unsafe { session_destroy(self.session) };
    }
}

/// The variant in the form that sessions read. Tensors are left out, as sessions do not read them.
fn described(variant: &Variant, run: RunFn) -> abi::Variant {
    abi::Variant {
        struct_size: size_of::<abi::Variant>() as u32,
        threads: variant.threads,
        features: variant.features,
        target: c"resident".as_ptr(),
        arena_size: variant.arena_size,
        arena_align: variant.arena_align,
        input_count: variant.inputs.len() as u32,
        output_count: variant.outputs.len() as u32,
        workers: variant.workers,
        inputs: std::ptr::null(),
        outputs: std::ptr::null(),
        run: Some(run),
    }
}

/// A session of the variant, and the memory that it lies in.
fn session(variant: &abi::Variant) -> Result<(*mut abi::Session, Vec<u8>), Status> {
    let variants = [std::ptr::from_ref(variant)];
    let model = abi::Model {
        abi_version: abi::ABI_VERSION,
        struct_size: size_of::<abi::Model>() as u32,
        name: c"resident".as_ptr(),
        provenance: c"".as_ptr(),
        variant_count: 1,
        reserved: 0,
        variants: variants.as_ptr(),
        runtime: std::ptr::null(),
    };
    // SAFETY: all fields of the model are valid.
    let mut memory = vec![0_u8; unsafe { session_size(&raw const model, 0) }];
    let mut session = std::ptr::null_mut();
    let here = memory.as_mut_ptr().cast();
    // SAFETY: as above. A session refers to its variant, not to the model; the caller keeps the memory as long as the
    // session.
    match unsafe { session_create_in(&raw const model, 0, here, memory.len(), &raw mut session) } {
        Status::OK => Ok((session, memory)),
        status => Err(status),
    }
}
