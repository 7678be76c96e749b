//! What everything that builds LLVM's instructions needs.

use inkwell::builder::BuilderError;
use inkwell::intrinsics::Intrinsic;
use inkwell::module::Module;
use inkwell::types::BasicTypeEnum;
use inkwell::values::FunctionValue;

/// The declaration of an intrinsic; `types` choose among its overloads.
pub(crate) fn intrinsic<'ctx>(module: &Module<'ctx>, name: &str, types: &[BasicTypeEnum<'ctx>]) -> FunctionValue<'ctx> {
    let found = Intrinsic::find(name).and_then(|intrinsic| intrinsic.get_declaration(module, types));
    found.unwrap_or_else(|| unreachable!("this LLVM has {name}"))
}

/// The value that was built. Building fails only where a builder has no position or types do not fit, which is ours.
pub(crate) fn built<T>(result: Result<T, BuilderError>) -> T {
    result.unwrap_or_else(|error| unreachable!("{error}"))
}
