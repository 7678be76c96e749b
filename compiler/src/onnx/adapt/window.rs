//! The sliding window that convolutions, their transposes and pools share: extents, steps, padding.

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::conv::canonical;

use super::{Adapt, Fault, broken, sizes, unsupported};

/// The most elements that a window may have along an axis, and the most padding on a side.
const MOST_EXTENT: usize = u16::MAX as usize;

/// A window in the form in which our operators take it: lists are empty where all entries are the default.
pub(super) struct Window {
    pub(super) pads: Sizes,
    pub(super) strides: Sizes,
    pub(super) dilations: Sizes,
}

impl Window {
    /// The window of extents `kernel` that the node's attributes describe, over spatial axes of extents `input`.
    pub(super) fn read(a: &Adapt<'_, '_>, kernel: &[usize], input: &[usize]) -> Result<Self, Fault> {
        let Attributes { strides, dilations, padding } = Attributes::read(a, kernel, input.len())?;
        let pads = padding.resolved(input.len(), |axis| {
            let window = (kernel[axis] - 1) * dilations[axis] + 1;
            let reach = (input[axis].div_ceil(strides[axis]).max(1) - 1) * strides[axis] + window;
            reach.saturating_sub(input[axis])
        });
        Window::new(&pads, &strides, &dilations)
    }

    pub(super) fn new(pads: &[usize], strides: &[usize], dilations: &[usize]) -> Result<Self, Fault> {
        if let Some(pad) = pads.iter().find(|pad| **pad > MOST_EXTENT) {
            return Err(unsupported(format!("padding of {pad}")));
        }
        Ok(Window { pads: canonical(pads, 0), strides: canonical(strides, 1), dilations: canonical(dilations, 1) })
    }
}

/// The attributes of a window as they stand in the model, with an entry for each spatial axis.
pub(super) struct Attributes {
    pub(super) strides: Vec<usize>,
    pub(super) dilations: Vec<usize>,
    pub(super) padding: Padding,
}

impl Attributes {
    /// Those of the node, for a window of extents `kernel` over `rank` spatial axes.
    pub(super) fn read(a: &Adapt<'_, '_>, kernel: &[usize], rank: usize) -> Result<Self, Fault> {
        if kernel.len() != rank {
            return Err(broken(format!("a window of rank {} over {rank} spatial axes", kernel.len())));
        }
        let strides = list(a, "strides", 1, rank)?;
        let dilations = list(a, "dilations", 1, rank)?;
        for (name, list) in [("kernel_shape", kernel), ("strides", &strides), ("dilations", &dilations)] {
            if list.contains(&0) {
                return Err(broken(format!("{name} has an entry of 0")));
            }
        }
        if let Some(extent) = kernel.iter().find(|extent| **extent > MOST_EXTENT) {
            return Err(unsupported(format!("a window of extent {extent}")));
        }
        // Only explicit padding reads it.
        a.ignore("pads");
        let padding = match a.string("auto_pad")?.as_deref() {
            None | Some("NOTSET" | "") => Padding::Explicit(list(a, "pads", 0, 2 * rank)?),
            Some("VALID") => Padding::Explicit(vec![0; 2 * rank]),
            Some("SAME_UPPER") => Padding::Same { more_after: true },
            Some("SAME_LOWER") => Padding::Same { more_after: false },
            Some(other) => return Err(unsupported(format!("auto_pad is {other:?}"))),
        };
        Ok(Attributes { strides, dilations, padding })
    }
}

/// Attribute `name`, which has `count` entries, all of `default` where it is missing.
pub(super) fn list(a: &Adapt<'_, '_>, name: &'static str, default: usize, count: usize) -> Result<Vec<usize>, Fault> {
    match a.ints(name)? {
        Some(list) if list.len() == count => sizes(&list, name),
        Some(list) => Err(broken(format!("attribute {name} wants {count} entries, got {}", list.len()))),
        None => Ok(vec![default; count]),
    }
}

/// How the padding of a window is given.
pub(super) enum Padding {
    /// Before each axis, then after each.
    Explicit(Vec<usize>),
    /// So that the result is as large as the strides say, evenly on both sides; an odd one goes to one of them.
    Same { more_after: bool },
}

impl Padding {
    /// Before each of `rank` axes, then after each; `total` is what both sides of an axis have together where they are
    /// not given.
    pub(super) fn resolved(self, rank: usize, total: impl Fn(usize) -> usize) -> Vec<usize> {
        let more_after = match self {
            Padding::Explicit(pads) => return pads,
            Padding::Same { more_after } => more_after,
        };
        let before = |axis: usize| if more_after { total(axis) / 2 } else { total(axis).div_ceil(2) };
        (0..rank).map(before).chain((0..rank).map(|axis| total(axis) - before(axis))).collect()
    }
}
