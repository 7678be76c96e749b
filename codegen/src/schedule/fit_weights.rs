//! `fit_weights`: finds the weights that the target's products of bytes cannot multiply at once.
//!
//! Some weights need more than 8 bits, and some targets saturate the sum of two products at 16 bits. What one product cannot hold
//! goes into extra groups, which multiply the same inputs once more. Neighbouring groups may be joined if that
//! takes fewer instructions. Both depend on the weights and the target alone, so the pass runs once, whatever is chosen later.

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
        "gives products extra groups for weights that the target's products of bytes cannot multiply at once"
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
