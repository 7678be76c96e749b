//! Long code that a kernel calls instead of repeating it inline.
//!
//! LLVM's compile time grows faster than the length of a function. A kernel evaluates its epilogue for each register of
//! its tile, so an elementary function may occur over a hundred times in it. Beyond a limit, occurrences become calls
//! of one function. Calls compute the same bits as inline code.

use inkwell::attributes::AttributeLoc;
use inkwell::module::Linkage;
use inkwell::values::BasicMetadataValueEnum;

use super::{Emitter, Vector};
use crate::vector::built;

/// Number of registers for which a kernel evaluates elementary functions inline.
const IN_PLACE: usize = 64;

impl<'ctx> Emitter<'_, 'ctx> {
    /// Whether long code for `lanes` lanes may be emitted inline. Each call of this function counts as a use.
    ///
    /// A target without fused multiply-add composes each from a dozen instructions, so it always calls long code.
    pub(crate) fn has_room_for_long_code(&self, lanes: usize) -> bool {
        let registers = self.long_code.get() + lanes.div_ceil(self.lanes());
        self.long_code.set(registers);
        self.target.fma && registers <= IN_PLACE
    }

    /// Applies `body` to `args` one register at a time, by calls of a function `name` that contains `body`.
    pub(crate) fn call_for_each_register(
        &self,
        name: &str,
        args: &[Vector<'ctx>],
        body: &dyn Fn(&Self, &[Vector<'ctx>]) -> Vector<'ctx>,
    ) -> Vector<'ctx> {
        let lanes = self.lanes();
        let parts: Vec<Vec<Vector<'ctx>>> = args.iter().map(|arg| self.split(*arg, lanes)).collect();
        let called = (0..parts[0].len()).map(|part| {
            let args: Vec<_> = parts.iter().map(|arg| arg[part]).collect();
            self.call_outlined(name, &args, body)
        });
        self.concat(&called.collect::<Vec<_>>())
    }

    fn call_outlined(
        &self,
        name: &str,
        args: &[Vector<'ctx>],
        body: &dyn Fn(&Self, &[Vector<'ctx>]) -> Vector<'ctx>,
    ) -> Vector<'ctx> {
        let Vector { kind, lanes, .. } = args[0];
        let ty = self.vector_type(kind, lanes);
        let name = format!("{name}_of_{lanes}_for_{}", self.target.name);
        let function = self.module.get_function(&name).unwrap_or_else(|| {
            let signature = ty.fn_type(&vec![ty.into(); args.len()], false);
            let function = self.module.add_function(&name, signature, Some(Linkage::Internal));
            self.attribute_target(function);
            for name in ["nounwind", "noinline", "willreturn"] {
                self.attribute(function, AttributeLoc::Function, name);
            }
            let (caller, block) = (self.function.replace(Some(function)), self.block());
            self.builder.position_at_end(self.context.append_basic_block(function, "entry"));
            let parameters = function.get_param_iter().map(|parameter| self.vector(parameter, kind, lanes));
            let result = body(self, &parameters.collect::<Vec<_>>());
            built(self.builder.build_return(Some(&result.value)));
            self.function.set(caller);
            self.builder.position_at_end(block);
            function
        });
        let args: Vec<BasicMetadataValueEnum> = args.iter().map(|arg| arg.value.into()).collect();
        let result = built(self.builder.build_call(function, &args, "")).try_as_basic_value().unwrap_basic();
        self.vector(result, kind, lanes)
    }
}

#[cfg(test)]
mod tests {
    use crate::llvm::trial;
    use crate::vector::Kind;

    /// The results do not depend on how much of a kernel's code is inline.
    #[test]
    fn functions_that_are_called_compute_the_same_bits_as_code_in_place() {
        let numbers: Vec<f32> = (0..96).map(|i| (i as f32 - 40.0) * 0.37).collect();
        let bytes = trial::bytes(&numbers, f32::to_le_bytes);
        for target in trial::targets() {
            let run = |used: usize| {
                let left = trial::run(target, &[&bytes, &bytes], |e, p| {
                    e.long_code.set(used);
                    for start in (0..96).step_by(48) {
                        for (lanes, at) in [(32, 0), (8, 32), (4, 40), (2, 44), (1, 46)] {
                            let at = 4 * (start + at) as isize;
                            let x = e.load(e.offset(p[0], at), Kind::F32, lanes);
                            let y = match e.has_room_for_long_code(lanes) {
                                true => {
                                    crate::kernel::math::tanh(&crate::kernel::math::Vectors { emitter: e, lanes }, x)
                                }
                                false => e.call_for_each_register("tanh", &[x], &|e, x| {
                                    let lanes = x[0].lanes;
                                    crate::kernel::math::tanh(&crate::kernel::math::Vectors { emitter: e, lanes }, x[0])
                                }),
                            };
                            e.store(e.offset(p[1], at), y);
                        }
                    }
                });
                left[1].clone()
            };
            assert_eq!(run(0), run(super::IN_PLACE), "{}", target.name);
        }
    }
}
