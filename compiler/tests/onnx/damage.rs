//! A valid model with damaged bytes: the result is always an error or a graph that the passes accept.

use eightfold::onnx::{self, ImportOptions};
use eightfold_ir::verify;
use eightfold_passes::{F32, PassOptions, Pipeline};
use proptest::prelude::*;

use crate::outside::digits;

/// Imports the bytes and runs the passes if that succeeds.
fn survives(bytes: &[u8]) {
    let Ok(imported) = onnx::from_bytes(bytes, &ImportOptions::default()) else { return };
    let mut graph = imported.graph;
    verify(&graph).expect("an imported graph verifies");
    let pipeline = Pipeline::new(F32).expect("known passes");
    pipeline.run(&mut graph, &PassOptions::default(), &mut |_, _| {}).expect("passes run");
    verify(&graph).expect("the graph verifies after the passes");
}

fn digits_bytes() -> Vec<u8> {
    std::fs::read(digits()).expect("the digits model is there")
}

/// Positions of bytes that belong to structure rather than weights: close to text or small numbers.
fn structure(bytes: &[u8]) -> Vec<usize> {
    let texts = bytes.windows(6).enumerate().filter(|(_, w)| w.iter().all(|b| (0x20..0x7f).contains(b)));
    let mut near: Vec<usize> = texts.flat_map(|(at, _)| at.saturating_sub(16)..(at + 24).min(bytes.len())).collect();
    near.sort_unstable();
    near.dedup();
    near
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cut_model_is_refused(share in 0.0..1.0_f64) {
        let bytes = digits_bytes();
        let cut = &bytes[..(bytes.len() as f64 * share) as usize];
        prop_assert!(onnx::from_bytes(cut, &ImportOptions::default()).is_err());
    }

    #[test]
    fn flipped_bytes_do_no_harm(flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..6)) {
        let mut bytes = digits_bytes();
        let positions = structure(&bytes);
        for (index, mask) in flips {
            bytes[positions[index.index(positions.len())]] ^= mask;
        }
        survives(&bytes);
    }

    #[test]
    fn pieces_put_elsewhere_do_no_harm(
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        length in 1..64_usize,
    ) {
        let mut bytes = digits_bytes();
        let positions = structure(&bytes);
        let from = positions[from.index(positions.len())];
        let to = positions[to.index(positions.len())];
        let length = length.min(bytes.len() - from.max(to));
        bytes.copy_within(from..from + length, to);
        survives(&bytes);
    }
}
