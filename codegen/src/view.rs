//! Views: the places of tensor elements in the bytes of buffers and constants.
//!
//! Operands and results of calls are views. A transpose, a slice or a broadcast moves no data: it is another view of
//! the same bytes, with other strides.

mod grid;

use std::ops::Range;

use eightfold_ir::{Bytes, DType};

/// A bound on positions: no view reaches this element. With the largest elements it is at 8 TiB.
pub const FARTHEST: i128 = 1 << 40;

/// A buffer's number in [`Program::buffers`](crate::program::Program::buffers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub usize);

/// A constant's number in [`Program::consts`](crate::program::Program::consts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConstId(pub usize);

/// The bytes that a view refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Storage {
    /// A buffer.
    Buffer(BufferId),
    /// A constant.
    Const(ConstId),
}

/// Read-only bytes of the artifact.
#[derive(Clone, Debug, PartialEq)]
pub struct Const {
    /// A description of the contents and their packing, for dumps.
    pub name: String,
    /// The bytes as kernels read them. In an artifact each constant is aligned to 64 bytes, and
    /// [`Program::SLACK`](crate::program::Program::SLACK) bytes follow the last.
    pub bytes: Bytes,
}

/// The number of a loop, unique in its program. Views name the loops that move them by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoopId(pub usize);

/// Where the elements of a tensor lie: element `index` is at `offset + sum(index[axis] * strides[axis])`, in elements.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The bytes.
    pub storage: Storage,
    /// Element type.
    pub dtype: DType,
    /// First element.
    pub offset: usize,
    /// Loops around the call that move the view, each with the number of elements by which it moves in one turn.
    pub loops: Vec<(LoopId, isize)>,
    /// Extents and strides.
    pub grid: Grid,
}

impl View {
    /// A view that no loop moves.
    #[must_use]
    pub fn new(storage: Storage, dtype: DType, offset: usize, grid: Grid) -> View {
        View { storage, dtype, offset, loops: Vec::new(), grid }
    }

    /// The element type and the grid as text: `u8[1x64x28x28:0,1,1792,64]`. The stride of an axis of extent 1 is
    /// written as 0.
    pub(crate) fn key(&self) -> String {
        let Grid { dims, strides } = &self.grid;
        let strides = dims.iter().zip(strides).map(|(dim, stride)| if *dim > 1 { *stride } else { 0 }.to_string());
        let (dims, strides): (Vec<_>, Vec<_>) = (dims.iter().map(usize::to_string).collect(), strides.collect());
        format!("{}[{}:{}]", self.dtype, dims.join("x"), strides.join(","))
    }

    /// Bytes of the distinct elements: a repeated element counts once.
    pub(crate) fn distinct_bytes(&self) -> u64 {
        let walked = self.grid.dims.iter().zip(&self.grid.strides).map(|(dim, stride)| match stride {
            0 => (*dim).min(1),
            _ => *dim,
        });
        (walked.product::<usize>() * self.dtype.byte_size()) as u64
    }

    /// Restricts the view to `range` of its `axis`.
    pub(crate) fn narrow(&mut self, axis: usize, range: &Range<usize>) {
        self.offset = (self.offset as isize + range.start as isize * self.grid.strides[axis]) as usize;
        self.grid.dims[axis] = range.len();
    }
}

/// Limits a stride to [`FARTHEST`]. Only an axis with a single element can have a larger stride.
pub(crate) fn within_reach(distance: isize) -> isize {
    distance.clamp(-(FARTHEST as isize), FARTHEST as isize)
}

/// The extents of a view, and for each axis the stride: the distance between neighbours in elements. A stride of 0
/// repeats an element, a negative one goes backwards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Grid {
    /// Extents.
    pub dims: Vec<usize>,
    /// Strides.
    pub strides: Vec<isize>,
}

impl Grid {
    /// The row-major grid of these extents.
    #[must_use]
    pub fn dense(dims: &[usize]) -> Self {
        let mut strides = vec![1; dims.len()];
        for axis in (1..dims.len()).rev() {
            strides[axis - 1] = strides[axis] * dims[axis] as isize;
        }
        Grid { dims: dims.to_vec(), strides }
    }

    /// Images, rows and columns of a grid with axes for batch, channels, rows, columns.
    pub(crate) fn pixels(&self) -> [usize; 3] {
        [0, 2, 3].map(|axis| self.dims[axis])
    }

    /// Strides of images, rows and columns of such a grid.
    pub(crate) fn pixel_strides(&self) -> [isize; 3] {
        [0, 2, 3].map(|axis| within_reach(self.strides[axis]))
    }

    /// The number of elements; `None` if it cannot be counted.
    pub(crate) fn elements_checked(&self) -> Option<usize> {
        self.dims.iter().try_fold(1_usize, |elements, dim| elements.checked_mul(*dim))
    }

    /// The number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }
}
