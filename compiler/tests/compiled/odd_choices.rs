//! Unusual tiles and bands, which must compute the same results as all others.

use eightfold_codegen::choice::{Blocking, Choice, Choices};
use eightfold_codegen::kernel::Geometry;
use eightfold_codegen::lower::lower;
use eightfold_codegen::schedule::{ScheduleContext, prepare};
use eightfold_codegen::target::Target;
use eightfold_ir::Graph;

/// Tiles and bands that no cost model would choose.
pub(crate) fn odd_choices(graph: &Graph, target: &'static Target) -> Choices {
    let mut program = lower(eightfold_ir::verify(graph).expect("verifies"), target).expect("lowers");
    prepare(&mut program, &ScheduleContext::of(&Choices::default()));
    let odd = [(1, 3, 1), (3, 1, 2), (5, 2, 3), (2, 4, 1), (7, 1, 9)].into_iter().cycle();
    let products = program.calls().into_iter().filter(|call| Geometry::of(call).is_some()).zip(odd);
    let choice = |(mr, vectors, rows)| Choice::Blocking(Blocking { mr, nr: vectors * target.lanes(), rows });
    products.map(|(call, odd)| (call.key(), choice(odd))).collect()
}
