//! The sliding window that convolutions and pools share: extents, steps, padding.

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
        let rank = input.len();
        if kernel.len() != rank {
            return Err(broken(format!("a window of rank {} over {rank} spatial axes", kernel.len())));
        }
        let list = |name: &str, default: usize, count: usize| match a.ints(name)? {
            Some(list) if list.len() == count => sizes(&list, name),
            Some(list) => Err(broken(format!("attribute {name} wants {count} entries, got {}", list.len()))),
            None => Ok(vec![default; count]),
        };
        let strides = list("strides", 1, rank)?;
        let dilations = list("dilations", 1, rank)?;
        for (name, list) in [("kernel_shape", kernel), ("strides", &strides), ("dilations", &dilations)] {
            if list.contains(&0) {
                return Err(broken(format!("{name} has an entry of 0")));
            }
        }
        if let Some(extent) = kernel.iter().find(|extent| **extent > MOST_EXTENT) {
            return Err(unsupported(format!("a window of extent {extent}")));
        }
        let same = |upper: bool| {
            let mut pads = vec![0; 2 * rank];
            for axis in 0..rank {
                let window = (kernel[axis] - 1) * dilations[axis] + 1;
                let reach = (input[axis].div_ceil(strides[axis]).max(1) - 1) * strides[axis] + window;
                let total = reach.saturating_sub(input[axis]);
                let before = if upper { total / 2 } else { total.div_ceil(2) };
                (pads[axis], pads[axis + rank]) = (before, total - before);
            }
            pads
        };
        let pads = match a.string("auto_pad")?.as_deref() {
            None | Some("NOTSET" | "") => list("pads", 0, 2 * rank)?,
            Some("VALID") => vec![0; 2 * rank],
            Some("SAME_UPPER") => same(true),
            Some("SAME_LOWER") => same(false),
            Some(other) => return Err(unsupported(format!("auto_pad is {other:?}"))),
        };
        if let Some(pad) = pads.iter().find(|pad| **pad > MOST_EXTENT) {
            return Err(unsupported(format!("padding of {pad}")));
        }
        Ok(Window { pads: canonical(&pads, 0), strides: canonical(&strides, 1), dilations: canonical(&dilations, 1) })
    }
}
