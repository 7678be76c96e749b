//! Transposes, slices, broadcasts and reshapes of grids: data movement that costs nothing, as only strides change.

use super::Grid;

impl Grid {
    /// The grid of a tensor of extents `dims` whose axis 1 is innermost in memory, the others in order.
    #[must_use]
    pub fn channels_last(dims: &[usize]) -> Self {
        let mut strides = vec![0; dims.len()];
        let mut stride = 1;
        for axis in [1].into_iter().chain((2..dims.len()).rev()).chain([0]) {
            strides[axis] = stride;
            stride *= dims[axis] as isize;
        }
        Grid { dims: dims.to_vec(), strides }
    }

    /// Whether the elements lie in row-major order without gaps; axes of extent 1 do not count.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        let dense = Grid::dense(&self.dims);
        (0..self.dims.len()).all(|a| self.dims[a] == 1 || self.strides[a] == dense.strides[a]) || self.elements() == 0
    }

    /// Whether each element is at the same place as in `other`; axes of extent 1 do not count.
    #[must_use]
    pub fn coincides(&self, other: &Grid) -> bool {
        let apart = |a: usize| self.dims[a] != 1 && self.strides[a] != other.strides[a];
        self.dims == other.dims && !(0..self.dims.len()).any(apart)
    }

    /// The axes in another order: axis `i` of the result is axis `perm[i]`.
    #[must_use]
    pub fn transposed(&self, perm: &[usize]) -> Self {
        Grid {
            dims: perm.iter().map(|a| self.dims[*a]).collect(),
            strides: perm.iter().map(|a| self.strides[*a]).collect(),
        }
    }

    /// A box of the grid and the distance of its first element.
    #[must_use]
    pub fn sliced(&self, starts: &[usize], sizes: &[usize], step: impl Fn(usize) -> i64) -> (Self, isize) {
        let offset = starts.iter().zip(&self.strides).map(|(s, d)| *s as isize * d).sum();
        let strides = self.strides.iter().enumerate().map(|(axis, d)| d * step(axis) as isize).collect();
        (Grid { dims: sizes.to_vec(), strides }, offset)
    }

    /// The grid repeated so that it has extents `dims` (NumPy broadcasting).
    #[must_use]
    pub fn broadcast(&self, dims: &[usize]) -> Self {
        let missing = dims.len() - self.dims.len();
        let stride = |axis: usize| match axis.checked_sub(missing) {
            Some(a) if self.dims[a] != 1 => self.strides[a],
            _ => 0,
        };
        Grid { dims: dims.to_vec(), strides: (0..dims.len()).map(stride).collect() }
    }

    /// A reshape: the same elements, in the same row-major order, with other extents; `None` if strides cannot express
    /// it.
    #[must_use]
    pub fn reshaped(&self, dims: &[usize]) -> Option<Self> {
        if self.elements() == 0 {
            return Some(Grid::dense(dims));
        }
        // Axes of extent 1 carry no information. The others are grouped into pieces of equal size on both sides.
        let old: Vec<(usize, isize)> =
            self.dims.iter().copied().zip(self.strides.iter().copied()).filter(|(d, _)| *d != 1).collect();
        let mut strides = vec![0; dims.len()];
        let (mut from, mut to) = (0, 0);
        while to < dims.len() {
            if dims[to] == 1 {
                to += 1;
                continue;
            }
            let (first_old, first_new) = (from, to);
            let (mut a, mut b) = (old.get(from)?.0, dims[to]);
            from += 1;
            to += 1;
            while a != b {
                if a < b {
                    a *= old.get(from)?.0;
                    from += 1;
                } else {
                    b *= *dims.get(to)?;
                    to += 1;
                }
            }
            // The elements of a piece must lie at one common stride.
            let piece = &old[first_old..from];
            if piece.windows(2).any(|w| w[0].1 != w[1].1 * w[1].0 as isize) {
                return None;
            }
            let mut stride = piece.last()?.1;
            for axis in (first_new..to).rev() {
                strides[axis] = stride;
                stride *= dims[axis] as isize;
            }
        }
        Some(Grid { dims: dims.to_vec(), strides })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_shuffle_is_strides_until_channels_merge_again() {
        let x = Grid::channels_last(&[1, 6, 4, 5]);
        let split = x.reshaped(&[1, 2, 3, 4, 5]).expect("splitting an axis");
        assert_eq!(split.strides[1..], [3, 1, 30, 6]);
        let swapped = split.transposed(&[0, 2, 1, 3, 4]);
        assert_eq!(swapped.reshaped(&[1, 6, 4, 5]), None);
    }

    #[test]
    fn flattening_pooled_channels_is_free() {
        let x = Grid::channels_last(&[1, 64, 1, 1]);
        assert!(x.reshaped(&[1, 64]).expect("no copy").is_dense());
        assert_eq!(Grid::channels_last(&[1, 64, 2, 1]).reshaped(&[1, 128]), None);
        assert_eq!(Grid::dense(&[2, 3, 4]).reshaped(&[6, 4]), Some(Grid::dense(&[6, 4])));
    }

    #[test]
    fn broadcasting_repeats_with_stride_zero() {
        assert_eq!(Grid::dense(&[3, 1]).broadcast(&[2, 3, 4]).strides, [0, 1, 0]);
    }
}
