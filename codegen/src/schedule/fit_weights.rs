//! `fit_weights`: splits weights that are too large for one 8-bit product of the target.
//!
//! Some weights need more than 8 bits, and some targets saturate the sum of two products at 16 bits. The rest of such a
//! weight goes into an extra group, which multiplies the same inputs again. Neighbouring groups are joined if that
//! takes fewer instructions. Both depend only on the weights and the target, so the pass runs before any choice.

use super::{ScheduleContext, SchedulePass};
use crate::kernel::plain::Constants;
use crate::program::{Program, for_each_call};

/// The pass.
pub struct FitWeights;

impl SchedulePass for FitWeights {
    fn name(&self) -> &'static str {
        "fit_weights"
    }

    fn summary(&self) -> &'static str {
        "gives products extra groups for weights that are too large for one 8-bit product of the target"
    }

    fn run(&self, program: &mut Program, _cx: &ScheduleContext<'_>) {
        let (consts, target) = (&program.consts, program.target);
        for_each_call(&mut program.body, &mut |call| {
            if call.producer.def().plain().is_some() {
                let constants = Constants::of(call, consts);
                call.producer.def_mut().fit(&constants, target);
            }
        });
    }
}
