//! 4-bit integers: two to a byte in constants, one to a byte at run time.

use super::*;

#[test]
fn constants_and_results_of_four_bits_equal_the_evaluator() {
    for dtype in [DType::I4, DType::U4] {
        let mut case = Case::new(&format!("four_bits_{dtype}"));
        let x = case.input("x", DType::F32, &[1, 3, 5, 3], None);
        // An odd number of elements, in either memory order, and after an operator that moves them.
        let numbers: Vec<i64> = (0..45).map(|i| i * 7 % 16 - i64::from(dtype == DType::I4) * 8).collect();
        let w = case.graph.add_const("w", Tensor::int(dtype, &[1, 3, 5, 3], &numbers), None);
        let v = case.graph.add_const("v", Tensor::int(dtype, &[1, 3, 3, 5], &numbers), None);
        case.graph.set_layout(v, Layout::Nhwc);
        let sum = vec![Step::Cast(DType::F32), Step::binary(Function::Add, Arg::Value(x))];
        let y = case.node(Map {}, &[w], sum.clone(), None);
        let moved = case.node(Transpose { perm: [0, 1, 3, 2].as_slice().into() }, &[v], vec![], None);
        let z = case.node(Map {}, &[moved], sum, None);
        let q = case.node(Map {}, &[x], vec![Step::quantize(dtype, 0.5, 1)], None);
        [y, z, q].into_iter().for_each(|value| case.output(value));
        case.check(0.0);
    }
}
