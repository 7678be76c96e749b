//! The positions of a group of channels on an axis, in aligned blocks.

/// Positions in blocks of 1, 2, 4, … that begin at multiples of their size.
pub(crate) struct Places {
    /// For each size, the blocks that no larger block contains, as the channels that were originally there.
    alone: Vec<Vec<Vec<u32>>>,
}

impl Places {
    /// Divides the positions of `group` (in ascending order) on an axis into blocks of at most `largest`, a power of
    /// two.
    pub(crate) fn of(group: &[u32], axis: &[u32], largest: usize) -> Self {
        let mut whole: Vec<bool> = axis.iter().map(|channel| group.binary_search(channel).is_ok()).collect();
        let (mut alone, mut size) = (Vec::new(), 1);
        while size <= largest {
            let joined = |two: &[bool]| two == [true, true] && size < largest;
            let joined: Vec<bool> = whole.chunks(2).map(joined).collect();
            let lonely = (0..whole.len()).filter(|at| whole[*at] && !joined[at / 2]);
            alone.push(lonely.map(|at| axis[at * size..][..size].to_vec()).collect());
            (whole, size) = (joined, size * 2);
        }
        Places { alone }
    }

    /// Returns the number of times that units are joined in pairs.
    pub(crate) fn levels(&self) -> usize {
        self.alone.len() - 1
    }

    /// Returns the number of units of size `2 << level`, including those that are joined again.
    pub(crate) fn joined(&self, level: usize) -> usize {
        self.alone[level + 1..].iter().enumerate().map(|(more, blocks)| blocks.len() << more).sum()
    }

    /// Puts the units of each size into the blocks of that size, in order. Returns pairs of a channel and the channel
    /// that takes its position.
    pub(crate) fn fill(&self, units: Vec<Vec<Vec<u32>>>) -> Vec<(u32, u32)> {
        let places = self.alone.iter().flatten().flatten().copied();
        places.zip(units.into_iter().flatten().flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn blocks_begin_at_multiples_of_their_size() {
        // Channels 2 to 9 of an axis that begins with two other channels: 2, 3 | 4..8 | 8, 9.
        let axis: Vec<u32> = (0..10).collect();
        let places = Places::of(&(2..10).collect::<Vec<u32>>(), &axis, 8);
        assert_eq!(places.alone, [vec![], vec![vec![2, 3], vec![8, 9]], vec![vec![4, 5, 6, 7]], vec![]]);
        assert_eq!([0, 1, 2].map(|level| places.joined(level)), [4, 1, 0]);
        let units = vec![vec![], vec![vec![9, 8], vec![7, 6]], vec![vec![5, 4, 3, 2]], vec![]];
        let filled = places.fill(units);
        assert_eq!(filled, [(2, 9), (3, 8), (8, 7), (9, 6), (4, 5), (5, 4), (6, 3), (7, 2)]);
    }
}
