//! A program compiled into the memory of this process and run there: no file, no linker, no runtime.
//!
//! What an artifact computes, this computes: the same functions come out of the same generators.

use std::ffi::c_void;

use eightfold_runtime::abi::{Call, RunFn};
use eightfold_runtime::status::Status;
use inkwell::OptimizationLevel;
use inkwell::context::Context;
use inkwell::execution_engine::ExecutionEngine;
use inkwell::module::Linkage;

use super::machine::{Machine, MachineError};
use super::program::emit;
use super::run::emit_run;
use crate::interface::{Tensor, Variant};
use crate::program::Program;

const RUN: &str = "run";

/// A program in memory, ready to run.
#[derive(Debug)]
pub struct Resident {
    run: RunFn,
    arena: Vec<Line>,
    input_sizes: Vec<usize>,
    output_sizes: Vec<usize>,
    // Fields are dropped in order: the engine, which owns the code, before the context that it lives in.
    _engine: ExecutionEngine<'static>,
    _context: Box<Context>,
}

/// What an arena consists of.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "generated code reads and writes it")] [u8; Program::ARENA_ALIGN]);

impl Resident {
    /// Compiles `program`, which `variant` describes, for this process. Its target must run here.
    ///
    /// # Errors
    /// LLVM refuses.
    ///
    /// # Panics
    /// If this machine lacks features of the program's target.
    pub fn new(program: &Program, variant: &Variant) -> Result<Self, MachineError> {
        assert!(program.target.runs_here(), "a program runs where it is compiled");
        let context = Box::new(Context::create());
        // SAFETY: the context is on the heap, is not touched but through this reference, and outlives the engine, which
        // is all that keeps the reference: see the order of the fields.
        let borrowed: &'static Context = unsafe { &*std::ptr::from_ref::<Context>(&context) };
        let module = borrowed.create_module("resident");
        let machine = Machine::new()?;
        machine.prepare(&module);
        let inner = emit(&module, program, "inner");
        emit_run(&module, RUN, variant, inner).set_linkage(Linkage::External);
        machine.optimize(&module)?;
        let engine = module.create_jit_execution_engine(OptimizationLevel::Aggressive);
        let engine = engine.map_err(|error| MachineError::new(&error))?;
        let address = engine.get_function_address(RUN).map_err(|error| MachineError::new(&error))?;
        // SAFETY: `emit_run` makes functions of this type, and the engine keeps the code as long as `self` lives.
        let run = unsafe { std::mem::transmute::<usize, RunFn>(address) };
        let sizes = |tensors: &[Tensor]| -> Vec<usize> {
            tensors.iter().map(|tensor| tensor.byte_size().expect("lowered tensors fit into memory")).collect()
        };
        Ok(Resident {
            run,
            arena: vec![Line([0; Program::ARENA_ALIGN]); program.arena_size.div_ceil(Program::ARENA_ALIGN)],
            input_sizes: sizes(&variant.inputs),
            output_sizes: sizes(&variant.outputs),
            _engine: engine,
            _context: context,
        })
    }

    /// Runs the program once: reads `inputs`, overwrites `outputs`, both in the order of the interface.
    ///
    /// # Panics
    /// If the number of tensors or the size of one is not the variant's.
    pub fn run(&mut self, inputs: &[&[u8]], outputs: &mut [Vec<u8>]) -> Status {
        assert!(inputs.iter().map(|input| input.len()).eq(self.input_sizes.iter().copied()), "inputs fit");
        assert!(outputs.iter().map(Vec::len).eq(self.output_sizes.iter().copied()), "outputs fit");
        let inputs: Vec<*const c_void> = inputs.iter().map(|input| input.as_ptr().cast()).collect();
        let outputs: Vec<*mut c_void> = outputs.iter_mut().map(|output| output.as_mut_ptr().cast()).collect();
        let call = Call {
            struct_size: size_of::<Call>() as u32,
            thread: 0,
            arena: self.arena.as_mut_ptr().cast(),
            inputs: inputs.as_ptr(),
            outputs: outputs.as_ptr(),
            output_shapes: std::ptr::null(),
            host: std::ptr::null(),
        };
        // SAFETY: the target runs here, the arena is as large and as aligned as the variant says, counts and sizes have
        // been checked, and outputs are distinct vectors, borrowed for the time of the call.
        unsafe { (self.run)(&raw const call) }
    }
}
