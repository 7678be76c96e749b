//! Helpers for all code that builds LLVM instructions.

use inkwell::builder::BuilderError;
use inkwell::intrinsics::Intrinsic;
use inkwell::module::Module;
use inkwell::types::BasicTypeEnum;
use inkwell::values::FunctionValue;

/// The declaration of an intrinsic; `types` select its overload.
pub(crate) fn intrinsic<'ctx>(module: &Module<'ctx>, name: &str, types: &[BasicTypeEnum<'ctx>]) -> FunctionValue<'ctx> {
    let found = Intrinsic::find(name).and_then(|intrinsic| intrinsic.get_declaration(module, types));
    found.unwrap_or_else(|| unreachable!("this LLVM has {name}"))
}

/// Unwraps a built value. Building fails only if the builder has no position or types do not match, which would be a
/// bug here.
pub(crate) fn built<T>(result: Result<T, BuilderError>) -> T {
    result.unwrap_or_else(|error| unreachable!("{error}"))
}
