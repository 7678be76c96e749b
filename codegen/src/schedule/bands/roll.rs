//! Rolls bands into loops: consecutive bands that differ only in the offsets of their views become turns of one loop.
//!
//! The first and last bands of a chain often differ from the others, as their windows reach beyond the image. The bands
//! in between are equal, at a constant distance from each other.

use crate::kernel::Call;
use crate::program::{For, Item};
use crate::view::LoopId;

/// The bands as items, in order. Loops get the numbers from `next` on; `next` is advanced past them.
pub(super) fn roll(bands: Vec<Vec<Call>>, next: &mut usize) -> Vec<Item> {
    let steps: Vec<Option<Vec<isize>>> = bands.windows(2).map(|pair| steps(&pair[0], &pair[1])).collect();
    // The number of bands in a loop that begins with band `first`.
    let turns = |first: usize| match steps.get(first) {
        Some(Some(step)) => 1 + steps[first..].iter().take_while(|other| other.as_ref() == Some(step)).count(),
        _ => 1,
    };
    let mut items = Vec::new();
    let mut first = 0;
    while first < bands.len() {
        let count = turns(first);
        // A loop that begins one band later may be longer.
        if count == 1 || count == 2 && turns(first + 1) > 2 {
            items.extend(bands[first].iter().cloned().map(Item::Call));
            first += 1;
            continue;
        }
        let id = LoopId(*next);
        *next += 1;
        let steps = steps[first].as_deref().unwrap_or_default();
        items.push(Item::For(For { id, count, body: moved(&bands[first], steps, id) }));
        first += count;
    }
    items
}

/// The calls as a loop body: the loop moves each view by its step.
fn moved(calls: &[Call], steps: &[isize], id: LoopId) -> Vec<Item> {
    let mut calls = calls.to_vec();
    let views = calls.iter_mut().flat_map(Call::views_mut);
    for (view, step) in views.zip(steps).filter(|(_, step)| **step != 0) {
        view.loops.push((id, *step));
    }
    calls.into_iter().map(Item::Call).collect()
}

/// The elements by which each view moves from one band to the next; `None` if anything else differs.
fn steps(band: &[Call], next: &[Call]) -> Option<Vec<isize>> {
    let alike = |(a, b): (&Call, &Call)| {
        let mut moved = b.clone();
        moved.views_mut().zip(a.views()).for_each(|(view, before)| view.offset = before.offset);
        moved == *a
    };
    if band.len() != next.len() || !band.iter().zip(next).all(alike) {
        return None;
    }
    let views = band.iter().flat_map(Call::views).zip(next.iter().flat_map(Call::views));
    Some(views.map(|(before, after)| after.offset as isize - before.offset as isize).collect())
}

#[cfg(test)]
mod tests {
    use eightfold_ir::DType;

    use super::*;
    use crate::kernel::Pointwise;
    use crate::program::executions;
    use crate::view::{BufferId, Grid, Storage, View};

    fn copy(from: usize, to: usize, rows: usize) -> Call {
        let view =
            |id: usize, offset| View::new(Storage::Buffer(BufferId(id)), DType::U8, offset, Grid::dense(&[rows, 8]));
        let (operands, output) = (vec![view(0, from)], view(1, to));
        Call { producer: Pointwise.into(), operands, steps: vec![], output, origin: "copy".to_owned() }
    }

    fn rolled(bands: &[Vec<Call>]) -> (Vec<usize>, Vec<Call>) {
        let mut next = 3;
        let items = roll(bands.to_vec(), &mut next);
        let count = |item: &Item| match item {
            Item::For(each) => each.count,
            _ => 1,
        };
        let counts: Vec<usize> = items.iter().map(count).collect();
        assert_eq!(next, 3 + counts.iter().filter(|count| **count > 1).count());
        (counts, executions(&items).into_iter().map(|run| run.call).collect())
    }

    #[test]
    fn bands_a_constant_distance_apart_are_a_loop_which_does_the_same() {
        let first = vec![copy(0, 0, 3)];
        let middle = |turn: usize| vec![copy(24 + 16 * turn, 0, 2), copy(8 * turn, 16, 2)];
        let bands: Vec<Vec<Call>> =
            [first].into_iter().chain((0..4).map(middle)).chain([vec![copy(96, 1, 1)]]).collect();
        let (counts, calls) = rolled(&bands);
        assert_eq!(counts, [1, 4, 1]);
        assert_eq!(calls, bands.concat());
    }

    #[test]
    fn a_band_at_another_distance_does_not_shorten_the_loop_behind_it() {
        let bands: Vec<Vec<Call>> = [0, 5, 13, 21, 29, 30].map(|from| vec![copy(from, 0, 1)]).to_vec();
        let (counts, calls) = rolled(&bands);
        assert_eq!(counts, [1, 4, 1]);
        assert_eq!(calls, bands.concat());
        // Two alike are a loop, others are none.
        assert_eq!(rolled(&bands[..2]).0, [2]);
        assert_eq!(rolled(&[vec![copy(0, 0, 1)], vec![copy(0, 0, 2)]]).0, [1, 1]);
    }
}
