//! From a call to the function that does it: `void symbol(ptr operand0, ptr operand1, …, ptr output)`.
//!
//! Each pointer is that of the first element of its view; all geometry is in the code.

use eightfold_runtime::status::Status;
use inkwell::values::FunctionValue;

use super::vector::Emitter;
use crate::kernel;
use crate::program::{Call, Producer, View};

/// Emits the function of `call`; without elements to compute it does nothing, so that kernels have at least one.
pub fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, symbol: &str) -> FunctionValue<'ctx> {
    // Operands of steps may be the output itself, overwritten element by element; those of products never are.
    let unaliased = match call.producer {
        Producer::Gemm(_) | Producer::Depthwise(_) | Producer::Winograd(_) => 3,
        Producer::WinogradInput(_) => 1,
        _ => 0,
    };
    let pointers = e.function(symbol, call.operands.len() + 1, unaliased);
    if call.output.grid.elements() == 0 {
        return e.end();
    }
    match &call.producer {
        Producer::Gemm(gemm) => kernel::gemm::emit(e, call, gemm, &pointers),
        Producer::Depthwise(depthwise) => kernel::depthwise::emit(e, call, depthwise, &pointers),
        Producer::WinogradInput(input) => kernel::winograd_input::emit(e, call, input, &pointers),
        Producer::Winograd(winograd) => kernel::winograd::emit(e, call, winograd, &pointers),
        Producer::Fill { element } => kernel::fill::emit(e, call, *element, &pointers),
        Producer::Pool { .. } => kernel::pool::emit(e, call, &pointers),
        Producer::Reduce { fold } => kernel::reduce::emit(e, call, *fold, &pointers),
        Producer::MatMul { zero_points } => kernel::matmul::emit(e, call, *zero_points, &pointers),
        Producer::Pointwise => kernel::pointwise::emit(e, call, &pointers),
        Producer::Softmax { axis } => kernel::softmax::emit(e, call, *axis, &pointers),
        Producer::Gather { axis } => kernel::gather::emit(e, call, *axis, &pointers),
        Producer::Interpolate { axis } => kernel::interpolate::emit(e, call, *axis, &pointers),
    }
    e.end()
}

/// Emits `void symbol(ptr positions, ptr status)`, which sets the 32-bit `status` if a position lies outside the extent.
pub(crate) fn emit_check<'ctx>(e: &Emitter<'_, 'ctx>, unchecked: (&View, usize), symbol: &str) -> FunctionValue<'ctx> {
    let parameters = e.function(symbol, 2, 0);
    kernel::gather::emit_check(e, unchecked, Status::INDEX_OUT_OF_RANGE.0, &parameters);
    e.end()
}
