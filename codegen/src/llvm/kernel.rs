//! From a call to the function that computes it: `void symbol(ptr operand0, ptr operand1, …, ptr output)`.
//!
//! Each pointer is that of the first element of its view; all geometry is in the code.

use eightfold_runtime::status::Status;
use inkwell::values::FunctionValue;

use crate::kernel;
use crate::kernel::Call;
use crate::vector::Emitter;
use crate::view::View;

/// Emits the function of `call`. It is empty if the result has no elements, so emitters can rely on at least one.
pub fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, symbol: &str) -> FunctionValue<'ctx> {
    // Operands of steps may be the output itself, overwritten element by element; those of products never are.
    let kernel = call.producer.def();
    let pointers = e.function(symbol, call.operands.len() + 1, kernel.unaliased());
    if call.output.grid.elements() == 0 {
        return e.end();
    }
    kernel.emit(e, call, &pointers);
    e.end()
}

/// Emits `void symbol(ptr positions, ptr status)`, which sets the 32-bit `status` if a position lies outside the extent.
pub(crate) fn emit_check<'ctx>(e: &Emitter<'_, 'ctx>, unchecked: (&View, usize), symbol: &str) -> FunctionValue<'ctx> {
    let parameters = e.function(symbol, 2, 0);
    kernel::gather::emit_check(e, unchecked, Status::INDEX_OUT_OF_RANGE.0, &parameters);
    e.end()
}
