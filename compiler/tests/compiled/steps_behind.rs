//! Epilogues of operators that move, mix or choose elements, and biases in steps.

use eightfold_ir::op::conv_transpose::ConvTranspose;
use eightfold_ir::op::expand::Expand;
use eightfold_ir::op::relayout::{Order, Relayout};

use super::*;

fn resize(mode: ResizeMode, coordinates: Coordinates) -> Resize {
    let sizes = [1, 3, 7, 8].as_slice().into();
    Resize { mode, coordinates, nearest: NearestMode::Floor, sizes, scales: Default::default() }
}

/// Each operator that moves or mixes elements, on a tensor of shape 1 x 3 x 4 x 5.
fn movers() -> Vec<Op> {
    let coordinates =
        [Coordinates::HalfPixel, Coordinates::PytorchHalfPixel, Coordinates::Asymmetric, Coordinates::AlignCorners];
    let linear = coordinates.map(|coordinates| resize(ResizeMode::Linear, coordinates).into());
    let one_axis = Resize { sizes: [1, 3, 4, 9].as_slice().into(), ..resize(ResizeMode::Linear, coordinates[0]) };
    let no_axis = Resize { sizes: [1, 3, 4, 5].as_slice().into(), ..one_axis.clone() };
    let pad =
        |mode| Pad { mode, before: [0, 1, 2, 0].as_slice().into(), after: [0, 1, 0, 3].as_slice().into(), value: 0.5 };
    let slice = Slice {
        starts: [0, 2, 1, 0].as_slice().into(),
        sizes: [1, 3, 2, 3].as_slice().into(),
        steps: [1, -1, 1, 2].as_slice().into(),
    };
    let mut movers: Vec<Op> = linear.into();
    movers.extend([one_axis, no_axis, resize(ResizeMode::Nearest, coordinates[2])].map(Op::from));
    movers.extend([PadMode::Constant, PadMode::Edge, PadMode::Reflect].map(|mode| pad(mode).into()));
    movers.extend([slice.into(), Transpose { perm: [0, 2, 3, 1].as_slice().into() }.into()]);
    movers.extend([Reshape { shape: [3, 20].as_slice().into() }.into(), Concat { axis: 2 }.into()]);
    movers.extend([Expand { shape: [2, 3, 4, 5].as_slice().into() }.into(), Relayout { to: Order::Nhwc }.into()]);
    movers
}

#[test]
fn steps_run_behind_every_operator_that_moves_or_mixes_elements() {
    for innermost in [false, true] {
        let mut case = Case::new(&format!("steps_behind_moves_{innermost}"));
        let x = match innermost {
            false => case.input("x", DType::F32, &[1, 3, 4, 5], None),
            true => case.input_nhwc("x", DType::F32, &[1, 3, 4, 5], None),
        };
        for op in movers() {
            let operands = if matches!(op, Op::Concat(_)) { vec![x, x] } else { vec![x] };
            let moved =
                case.graph.infer(&op, &operands.iter().copied().map(Some).collect::<Vec<_>>(), &Epilogue::none());
            let shape = moved.expect("a well-formed case")[0].shape.to_vec();
            let other = case.random(DType::F32, &shape, None);
            let steps = vec![Step::binary(Function::Add, Arg::Value(other)), Step::unary(Function::Relu)];
            let y = case.node(op.clone(), &operands, steps, None);
            case.output(y);
            // Scales are powers of two, so float rounding does not matter.
            let quant = case.q(DType::U8, 0.25, 128);
            let steps = vec![Step::binary(Function::Mul, Arg::Float(0.0)), Step::quantize(DType::U8, 0.25, 128)];
            let y = case.node(op, &operands, steps, quant);
            case.output(y);
        }
        for (rank, constant) in [(0, true), (1, false), (2, true), (2, false)] {
            let shape = &[2, 3][..rank];
            let positions = &[1, 0, -1, 2, 2, 1][..shape.iter().product()];
            let indices = match constant {
                true => case.graph.add_const("", Tensor::int(DType::I64, shape, positions), None),
                false => {
                    let bytes = case.input(&format!("i{rank}"), DType::U8, shape, None);
                    let least = Step::binary(Function::Min, Arg::Int(2));
                    case.node(Map {}, &[bytes], vec![least, Step::Cast(DType::I64)], None)
                }
            };
            let y = case.node(Gather { axis: 1 }, &[x, indices], vec![Step::unary(Function::Sigmoid)], None);
            case.output(y);
        }
        case.check(1e-5);
    }
}

#[test]
fn biases_of_variable_products_and_variable_biases_are_added() {
    let mut case = Case::new("float_biases");
    let x = case.input("x", DType::F32, &[2, 5, 7], None);
    let w = case.input("w", DType::F32, &[2, 7, 9], None);
    let fixed = case.random(DType::F32, &[7, 9], None);
    let batch = case.random(DType::F32, &[2, 7, 9], None);
    let constant = case.random(DType::F32, &[9], None);
    let variable = case.input("b", DType::F32, &[9], None);
    for (weights, bias) in [(w, constant), (w, variable), (fixed, variable), (batch, constant)] {
        let y = case.node(MatMul {}, &[x, weights, bias], vec![Step::unary(Function::Relu)], None);
        case.output(y);
    }
    let image = case.input_nhwc("image", DType::F32, &[1, 4, 6, 6], None);
    let bias = case.input("bias", DType::F32, &[6], None);
    for group in [1, 2] {
        let w = case.random(DType::F32, &[6, 4 / group, 3, 3], None);
        let y = case.nhwc(Conv { group, ..conv_op(CONVS[0]) }, &[image, w, bias], vec![], None);
        case.output(y);
        let (pads, dilations, output_padding) = Default::default();
        let op = ConvTranspose { pads, strides: [2, 2].as_slice().into(), dilations, output_padding, group };
        let y = case.nhwc(op, &[image, w, bias], vec![], None);
        case.output(y);
    }
    case.check(1e-5);

    let mut case = Case::new("integer_biases");
    let q = case.q(DType::U8, 0.02, 12);
    let x = case.input("x", DType::U8, &[5, 7], q);
    let w = case.input("w", DType::U8, &[7, 9], q);
    let bias = case.random(DType::I32, &[9], None);
    let y = case.node(MatMul {}, &[x, w, bias], vec![], None);
    case.output(y);
    case.check(0.0);
}

#[test]
fn a_gather_by_two_axes_is_joined_along_the_last() {
    let mut case = Case::new("gather_into_concat");
    let x = case.input("x", DType::F32, &[3, 4], None);
    let z = case.input("z", DType::F32, &[3, 2, 1], None);
    let indices = case.graph.add_const("", Tensor::int(DType::I64, &[2, 3], &[0, 3, 1, 1, -1, 2]), None);
    let gathered = case.node(Gather { axis: 1 }, &[x, indices], vec![], None);
    let y = case.node(Concat { axis: 2 }, &[z, gathered], vec![], None);
    case.output(y);
    case.check(0.0);
}

#[test]
fn what_is_selected_of_two_constants_keeps_their_type() {
    let mut case = Case::new("select_constants");
    let x = case.input("x", DType::U8, &[1, 5], None);
    let (a, b) = (case.random(DType::U8, &[1], None), case.random(DType::U8, &[1], None));
    let select = Step::Apply(Function::Select, [Arg::Current, Arg::Value(a), Arg::Value(b)].into_iter().collect());
    let is_large = Step::binary(Function::Greater, Arg::Int(99));
    let steps = vec![is_large, select, Step::Dequantize { scale: 0.25, zero_point: 3 }];
    let y = case.node(Map {}, &[x], steps, None);
    case.output(y);
    case.check(0.0);
}

#[test]
fn convolutions_over_no_rows_or_columns_see_padding_alone() {
    for shape in [[1, 2, 0, 4], [1, 2, 4, 0], [1, 2, 0, 0], [0, 2, 4, 4]] {
        let mut case = Case::new(&format!("padding_alone_{shape:?}"));
        let x = case.input_nhwc("x", DType::F32, &shape, None);
        let w = case.random(DType::F32, &[3, 2, 3, 3], None);
        let bias = case.random(DType::F32, &[3], None);
        let conv = Conv { pads: [2, 2, 2, 2].as_slice().into(), ..conv_op(CONVS[0]) };
        let y = case.nhwc(conv, &[x, w, bias], vec![], None);
        case.output(y);
        case.check(0.0);
    }
}

#[test]
fn sums_and_borders_of_narrow_types_are_wrapped_before_the_steps() {
    let mut case = Case::new("narrow");
    let x = case.input("x", DType::I8, &[3, 64], None);
    let sum = Reduce { kind: ReduceKind::Sum, axes: [1_usize].as_slice().into(), keepdims: true };
    let y = case.node(sum, &[x], vec![Step::unary(Function::Abs)], None);
    let number = case.input("number", DType::U8, &[2, 3], None);
    let truth = case.node(Map {}, &[number], vec![Step::binary(Function::Greater, Arg::Int(100))], None);
    let (before, after) = ([0_usize, 1].as_slice().into(), [0_usize, 0].as_slice().into());
    let z = case.node(Pad { mode: PadMode::Constant, before, after, value: -1.0 }, &[truth], vec![], None);
    case.output(y);
    case.output(z);
    case.check(0.0);
}
