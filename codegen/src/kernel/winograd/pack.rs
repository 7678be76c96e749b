//! Transforms the weights of a 3 x 3 convolution for Winograd's F(2x2, 3x3).

use super::WinogradInput;

/// Twice the `G` of the paper, so that there are no fractions.
const G: [[i32; 3]; 4] = [[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]];

/// `(2G) g (2G)^T` of each window `g` of nine weights, row by row.
pub(crate) fn transformed(windows: &[i64]) -> Vec<[i16; WinogradInput::POSITIONS]> {
    let window = |g: &[i64]| {
        std::array::from_fn(|position| {
            let (row, column) = (G[position / 4], G[position % 4]);
            let term = |tap: usize| row[tap / 3] * column[tap % 3] * g[tap] as i32;
            // |g| <= 255, and the factors of one sum add up to at most 9 in magnitude: the sum fits 16 bits.
            (0..9).map(term).sum::<i32>() as i16
        })
    };
    windows.chunks_exact(9).map(window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_are_four_times_the_corner_and_the_middle_is_all_added() {
        let [weights] = transformed(&[1, 2, 3, 4, 5, 6, 7, 8, -255])[..] else { panic!("one window") };
        assert_eq!([weights[0], weights[3], weights[12], weights[15]], [4, 12, 28, -1020]);
        assert_eq!(weights[5], 36 - 255);
        // Along columns the signs alternate.
        assert_eq!(weights[2], 2 * (1 - 2 + 3));
    }
}
