//! The sliding window of convolutions, transposed convolutions and pools: extents, strides, dilations, padding.

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::conv::canonical;

use super::{Adapt, AdaptError, broken, sizes, unsupported};

/// The maximum extent of a window along an axis, and the maximum padding on a side.
const MOST_EXTENT: usize = u16::MAX as usize;

/// A window in the IR's form: a list is empty if all its entries are the default.
pub(super) struct Window {
    pub(super) pads: Sizes,
    pub(super) strides: Sizes,
    pub(super) dilations: Sizes,
}

impl Window {
    /// The window of extents `kernel` with the node's attributes, over spatial axes of extents `input`.
    pub(super) fn read(a: &Adapt<'_, '_>, kernel: &[usize], input: &[usize]) -> Result<Self, AdaptError> {
        let Attributes { strides, dilations, padding } = Attributes::read(a, kernel, input.len())?;
        let pads = padding.resolved(input.len(), |axis| {
            let window = (kernel[axis] - 1) * dilations[axis] + 1;
            let reach = (input[axis].div_ceil(strides[axis]).max(1) - 1) * strides[axis] + window;
            reach.saturating_sub(input[axis])
        });
        Window::new(&pads, &strides, &dilations)
    }

    pub(super) fn new(pads: &[usize], strides: &[usize], dilations: &[usize]) -> Result<Self, AdaptError> {
        if let Some(pad) = pads.iter().find(|pad| **pad > MOST_EXTENT) {
            return Err(unsupported(format!("padding of {pad}")));
        }
        Ok(Window { pads: canonical(pads, 0), strides: canonical(strides, 1), dilations: canonical(dilations, 1) })
    }
}

/// The attributes of a window as in the model, with an entry for each spatial axis.
pub(super) struct Attributes {
    pub(super) strides: Vec<usize>,
    pub(super) dilations: Vec<usize>,
    pub(super) padding: Padding,
}

impl Attributes {
    /// Reads the node's attributes, for a window of extents `kernel` over `rank` spatial axes.
    pub(super) fn read(a: &Adapt<'_, '_>, kernel: &[usize], rank: usize) -> Result<Self, AdaptError> {
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
        // Only explicit padding uses it.
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

/// The list attribute `name` of `count` entries; all are `default` if it is missing.
pub(super) fn list(
    a: &Adapt<'_, '_>,
    name: &'static str,
    default: usize,
    count: usize,
) -> Result<Vec<usize>, AdaptError> {
    match a.ints(name)? {
        Some(list) if list.len() == count => sizes(&list, name),
        Some(list) => Err(broken(format!("attribute {name}: expected {count} entries, got {}", list.len()))),
        None => Ok(vec![default; count]),
    }
}

/// How padding is specified.
pub(super) enum Padding {
    /// The padding before each axis, then after each axis.
    Explicit(Vec<usize>),
    /// The padding with which the output extent depends on input and stride alone: `ceil(input / stride)`, or
    /// `input * stride` for a transposed convolution. Both sides get half; `more_after` says which gets an odd element.
    Same { more_after: bool },
}

impl Padding {
    /// The padding before each of `rank` axes, then after each. For `Same`, `total` returns the sum of both sides of an
    /// axis.
    pub(super) fn resolved(self, rank: usize, total: impl Fn(usize) -> usize) -> Vec<usize> {
        let more_after = match self {
            Padding::Explicit(pads) => return pads,
            Padding::Same { more_after } => more_after,
        };
        let before = |axis: usize| if more_after { total(axis) / 2 } else { total(axis).div_ceil(2) };
        (0..rank).map(before).chain((0..rank).map(|axis| total(axis) - before(axis))).collect()
    }
}
