//! Reorders channels so that the products of neighbouring inputs fit 16 bits.
//!
//! Some targets add the products of two neighbouring inputs in 16 bits. If the weights of a pair are too large for
//! that, the target multiplies the group of inputs a second time (an *extra group*) for a vector of outputs. The order
//! of most channels inside a graph is free ([`order`]). This pass makes channels neighbours whose weights are rarely
//! large together, and puts channels into one group or vector if they need the same extra groups.
//!
//! Before, after: the same nodes; the elements of constants are permuted.
//!
//! Exact: yes, bit for bit. Channels are permuted on all their axes at once. Integer sums do not depend on the order,
//! and float sums keep theirs.

mod arrange;
mod matching;
mod places;
mod products;

use std::collections::BTreeMap;

use eightfold_ir::{Graph, Node};

use crate::order::{self, Channels};
use crate::pass::{Pass, PassContext, PassError, RemarkKind};
use products::Product;

/// See the module's documentation.
pub(crate) struct PairChannels;

impl Pass for PairChannels {
    fn name(&self) -> &'static str {
        "pair_channels"
    }

    fn summary(&self) -> &'static str {
        "order channels so that products of neighbouring inputs fit the 16-bit sums of some targets"
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        let Some(sums) = cx.options.pair_sums else { return Ok(()) };
        let products = Product::all(graph, sums);
        // `spread_channels` has already chosen an order, in which almost all pairs fit.
        let is_spread = cx.options.reduce_range && cx.options.calibration.is_some();
        if products.is_empty() || is_spread && products.iter().all(Product::is_of_reduced_range) {
            return Ok(());
        }
        let exact = |node: &Node| node.operand(0).is_some_and(|x| graph.ty(x).dtype.is_integer());
        let mut channels = order::channels(graph, &exact);
        let groups: Vec<_> =
            channels.groups().into_iter().filter(|_| cx.spend(|| "a group of channels".to_owned())).collect();
        let before: Vec<_> = products.iter().map(|product| product.extra_groups(&channels)).collect();
        for group in &groups {
            arrange::arrange(group, &products, &mut channels);
        }
        for (product, before) in products.iter().zip(before) {
            tell(graph, cx, product, &channels, before);
        }
        order::permute(graph, &channels, BTreeMap::new(), self.name());
        Ok(())
    }
}

/// Leaves a remark about the extra groups of a convolution or matrix product: that they decreased, or why they did not.
fn tell(graph: &Graph, cx: &mut PassContext<'_>, product: &Product, channels: &Channels, before: usize) {
    let (after, all) = (product.extra_groups(channels), product.groups());
    let pinned = channels.pinned(product.weights, product.input_axis);
    let origin = &graph.node(product.node).origin;
    match pinned {
        _ if after < before => {
            let message = format!("groups of inputs multiplied twice: {after} of {all}, down from {before}");
            cx.remark(RemarkKind::Fired, origin, message);
        }
        Some(reason) if after > 0 => {
            let message = format!(
                "groups of inputs multiplied twice: {after} of {all}, because {reason} fixes the order of its inputs"
            );
            cx.remark(RemarkKind::Missed, origin, message);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use eightfold_ir::{Graph, eval, parse};

    use super::PairChannels;
    use super::products::Product;
    use crate::order::Channels;
    use crate::pass::{PairSums, Pass, PassContext, PassOptions};

    const SUMS: PairSums = PairSums { limit: 128, lanes: 8 };

    /// Random weights distributed as in networks: a sum of several numbers, so that a few are large.
    fn weights(count: usize, seed: u64) -> String {
        let mut state = seed;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as i64 % 64 - 32
        };
        let mut number = |text: &mut String| write!(text, "{}, ", (0..4).map(|_| draw()).sum::<i64>().clamp(-127, 127));
        let mut text = String::new();
        (0..count).for_each(|_| number(&mut text).expect("a string takes all"));
        text.trim_end_matches(", ").to_owned()
    }

    /// Two layers that expand and project, with a residual sum.
    fn network() -> Graph {
        let [a, b, c, d] =
            [(32 * 16, 1), (16 * 32 * 9, 2), (64 * 16, 3), (8 * 64, 4)].map(|(n, seed)| weights(n, seed));
        let text = format!(
            "graph @network {{
              qparams #x = u8 per_tensor scale=0.02 zero_point=128
              qparams #w = i8 per_tensor scale=0.001 zero_point=0
              input %x: 1x16x3x3xu8 #x
              const %a: 32x16x1x1xi8 #w = [{a}]
              const %b: 16x32x3x3xi8 #w = [{b}]
              const %c: 64x16x1x1xi8 #w = [{c}]
              const %d: 8x64x1x1xi8 #w = [{d}]
              const %m: 16x1x1xf32 = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16]
              %h = conv(%x, %a) |> cast f32 |> mul 0.02 |> quantize u8 {{zero_point=128}} : 1x32x3x3xu8 #x
              %s = conv(%h, %b) {{pads=[1, 1, 1, 1]}} |> cast f32 |> mul %m |> add %x{{scale=0.5, zero_point=128}} |> quantize u8 {{zero_point=128}} : 1x16x3x3xu8 #x
              %t = conv(%h, %b) {{pads=[1, 1, 1, 1]}} |> cast f32 |> mul %m |> quantize u8 {{zero_point=128}} : 1x16x3x3xu8 #x
              %e = conv(%t, %c) |> cast f32 |> mul 0.02 |> quantize u8 {{zero_point=128}} : 1x64x3x3xu8 #x
              %y = conv(%e, %d) |> cast f32 |> mul 0.1 : 1x8x3x3xf32
              output %s
              output %y
            }}"
        );
        parse(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn extra_groups(graph: &Graph) -> Vec<usize> {
        let channels = Channels::of(graph);
        Product::all(graph, SUMS).iter().map(|product| product.extra_groups(&channels)).collect()
    }

    #[test]
    fn extra_groups_fall_and_results_stay() {
        let mut graph = network();
        let x = eightfold_ir::Tensor::int(
            eightfold_ir::DType::U8,
            &[1, 16, 3, 3],
            &(0..144).map(|i| i * 37 % 256).collect::<Vec<i64>>(),
        );
        let expected = eval(&graph, std::slice::from_ref(&x)).expect("evaluates");
        let before = extra_groups(&graph);
        let options = PassOptions { pair_sums: Some(SUMS), ..PassOptions::default() };
        PairChannels.run(&mut graph, &mut PassContext::new(&options)).expect("runs");
        let after = extra_groups(&graph);
        assert_eq!(eval(&graph, &[x]).expect("evaluates"), expected);
        // Both operands of the residual sum read one constant, which the graph's input fixes: only their input channels
        // move.
        assert_eq!((before.len(), after.len()), (5, 5));
        let total = |extra: &[usize]| extra.iter().sum::<usize>();
        assert!(total(&after) * 10 < total(&before) * 7, "{before:?} -> {after:?}");
        assert!(after[4] * 2 < before[4], "{before:?} -> {after:?}");
    }
}
