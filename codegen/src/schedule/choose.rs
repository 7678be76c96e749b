//! `choose`: selects the tile and the loop order of each product with constant weights.
//!
//! A measured choice decides; without one, the cost model does. A call that has a tile keeps it.

use super::{ScheduleContext, SchedulePass};
use crate::program::{Program, for_each_call};

/// The pass.
pub struct ChooseTiles;

impl SchedulePass for ChooseTiles {
    fn name(&self) -> &'static str {
        "choose"
    }

    fn summary(&self) -> &'static str {
        "chooses the tile and the loop order of each product"
    }

    fn run(&self, program: &mut Program, cx: &ScheduleContext<'_>) {
        let target = program.target;
        for_each_call(&mut program.body, &mut |call| {
            let known = call.clone();
            call.producer.def_mut().choose(&known, cx.choices, target);
        });
    }
}
