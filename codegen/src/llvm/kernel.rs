//! Emits the function of a call: `void symbol(ptr operand0, ptr operand1, …, ptr output)`.
//!
//! Each pointer is the address of the first element of a view. Extents and strides are constants in the code.

use eightfold_runtime::status::Status;
use inkwell::values::FunctionValue;

use crate::kernel;
use crate::kernel::Call;
use crate::vector::Emitter;
use crate::view::View;

/// Emits the function of `call`. It is empty if the result has no elements, so emitters can rely on at least one.
pub fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, symbol: &str) -> FunctionValue<'ctx> {
    // An operand of a step may be the output itself, overwritten element by element; an operand of a product never is.
    let kernel = call.producer.def();
    let pointers = e.function(symbol, call.operands.len() + 1, kernel.unaliased());
    if call.output.grid.elements() == 0 {
        return e.end();
    }
    kernel.emit(e, call, &pointers);
    e.end()
}

/// Emits `void symbol(ptr positions, ptr status)`, which sets the 32-bit `status` if a position is out of range.
pub(crate) fn emit_check<'ctx>(e: &Emitter<'_, 'ctx>, unchecked: (&View, usize), symbol: &str) -> FunctionValue<'ctx> {
    let parameters = e.function(symbol, 2, 0);
    kernel::gather::emit_check(e, unchecked, Status::INDEX_OUT_OF_RANGE.0, &parameters);
    e.end()
}
