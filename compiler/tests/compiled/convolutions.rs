//! Convolutions and transposed convolutions of all types.

use eightfold_codegen::choice::Choices;
use eightfold_codegen::kernel::Producer;
use eightfold_codegen::schedule::ScheduleContext;
use eightfold_codegen::schedule::lower_and_schedule;
use eightfold_codegen::target::Target;
use eightfold_ir::op::conv::Conv;
use eightfold_ir::op::conv_transpose::ConvTranspose;
use eightfold_ir::{Arg, DType, Function, Step, Tensor};

use crate::Case;

/// A convolution's shape: channels, filters, group, rows, columns, kernel, stride, pads, dilation.
pub(crate) type ConvShape = (usize, usize, usize, usize, usize, usize, usize, [usize; 4], usize);

pub(crate) const CONVS: &[ConvShape] = &[
    (4, 16, 1, 5, 7, 1, 1, [0; 4], 1),
    (3, 8, 1, 9, 9, 3, 2, [1; 4], 1),
    (16, 24, 1, 7, 7, 3, 1, [1; 4], 1),
    (5, 33, 1, 6, 11, 3, 1, [1, 0, 1, 2], 1),
    (8, 16, 1, 9, 9, 3, 1, [2; 4], 2),
    (1, 1, 1, 4, 4, 2, 1, [0; 4], 1),
    (12, 20, 4, 5, 5, 3, 1, [1; 4], 1),
    (19, 19, 19, 8, 9, 3, 1, [1; 4], 1),
    (32, 32, 32, 7, 7, 5, 2, [2; 4], 1),
    (40, 17, 1, 1, 1, 1, 1, [0; 4], 1),
    (67, 65, 1, 3, 5, 1, 1, [0; 4], 1),
];

/// Shapes that some targets compute by Winograd's algorithm.
const TILED: &[ConvShape] = &[
    (62, 40, 1, 8, 10, 3, 1, [1; 4], 1),
    (64, 35, 1, 8, 16, 3, 1, [0, 2, 2, 0], 1),
    (128, 32, 1, 8, 8, 3, 1, [1; 4], 1),
];

pub(crate) fn conv_op((_, _, group, _, _, _, stride, pads, dilation): ConvShape) -> Conv {
    let canonical = eightfold_ir::op::conv::canonical;
    Conv {
        pads: canonical(&pads, 0),
        strides: canonical(&[stride; 2], 1),
        dilations: canonical(&[dilation; 2], 1),
        group,
    }
}

#[test]
fn integer_convolutions_equal_the_evaluator() {
    for &shape in CONVS {
        for types in INTEGERS {
            integer_conv(shape, 1, types).check(0.0);
        }
    }
}

#[test]
fn convolutions_multiplied_as_tiles_equal_the_evaluator() {
    let target = Target::find("x86-64-v3").expect("listed");
    for (batch, &shape) in (1..).zip(TILED) {
        for types in INTEGERS {
            let case = integer_conv(shape, batch, types);
            let program = lower_and_schedule(
                eightfold_ir::verify(&case.graph).expect("verifies"),
                target,
                &ScheduleContext::of(&Choices::default()),
            );
            let program = program.expect("lowers");
            assert!(program.calls().iter().any(|call| matches!(call.producer, Producer::Winograd(_))), "{shape:?}");
            case.check(0.0);
        }
    }
}

#[test]
fn convolutions_without_channels_are_lowered() {
    let target = Target::find("x86-64-v3").expect("listed");
    for shape in [(0, 32, 1, 8, 8, 3, 1, [1; 4], 1), (64, 0, 1, 8, 8, 3, 1, [1; 4], 1)] {
        let graph = integer_conv(shape, 1, INTEGERS[0]).graph;
        lower_and_schedule(
            eightfold_ir::verify(&graph).expect("verifies"),
            target,
            &ScheduleContext::of(&Choices::default()),
        )
        .expect("lowers");
    }
}

/// An input, its zero point, and weights.
const INTEGERS: [(DType, i32, DType); 3] =
    [(DType::U8, 117, DType::I8), (DType::I8, -5, DType::I8), (DType::U8, 3, DType::U8)];

fn integer_conv(shape: ConvShape, batch: usize, (dtype, zero, weights): (DType, i32, DType)) -> Case {
    let (c, o, group, h, w, k, ..) = shape;
    let mut case = Case::new(&format!("conv_{c}_{o}_{k}_{dtype}_{weights}"));
    let x_q = case.q(dtype, 0.02, zero);
    let w_q = case.q(weights, 0.01, if weights == DType::U8 { 140 } else { 0 });
    let x = case.input_nhwc("x", dtype, &[batch, c, h, w], x_q);
    let weight = case.random(weights, &[o, c / group, k, k], w_q);
    let bias = case.random(DType::I16, &[o], None);
    let bias_values: Vec<i64> = case.graph.constant(bias).expect("constant").to_ints().expect("integers");
    let bias = case.graph.add_const("", Tensor::int(DType::I32, &[o], &bias_values), None);
    let steps = case.requantize(o, DType::U8, 7, 7);
    let y_q = case.q(DType::U8, 0.05, 7);
    let y = case.nhwc(conv_op(shape), &[x, weight, bias], steps, y_q);
    case.output(y);
    case
}

#[test]
fn float_convolutions_are_close_to_the_evaluator() {
    for (index, &shape) in CONVS.iter().enumerate() {
        let (c, o, group, h, w, k, ..) = shape;
        let mut case = Case::new(&format!("float_conv_{index}"));
        let x = case.input_nhwc("x", DType::F32, &[1, c, h, w], None);
        let weight = case.random(DType::F32, &[o, c / group, k, k], None);
        let bias = case.random(DType::F32, &[o], None);
        let y = case.nhwc(conv_op(shape), &[x, weight, bias], vec![Step::unary(Function::Relu)], None);
        case.output(y);
        case.check(1e-5);
    }
}

#[test]
fn convolutions_of_bf16_are_close_to_the_evaluator() {
    for (index, &shape) in CONVS.iter().enumerate() {
        let (c, o, group, h, w, k, ..) = shape;
        let mut case = Case::new(&format!("bf16_conv_{index}"));
        let x = case.input_nhwc("x", DType::Bf16, &[1, c, h, w], None);
        let weight = case.random(DType::Bf16, &[o, c / group, k, k], None);
        let bias = case.random(DType::F32, &[o], None);
        let y = case.nhwc(conv_op(shape), &[x, weight, bias], vec![Step::unary(Function::Relu)], None);
        // A bf16 tensor among steps on f32.
        let again = vec![Step::binary(Function::Add, Arg::Value(case.bf16(y)))];
        let sum = case.nhwc(conv_op(shape), &[x, weight, bias], again, None);
        case.output(y);
        case.output(sum);
        case.check(1e-5);
    }
}

/// A transposed convolution's channels, filters, group, rows, columns, kernel, strides, pads, dilation, output padding.
type TransposeShape = (usize, usize, usize, usize, usize, [usize; 2], [usize; 2], [usize; 4], usize, [usize; 2]);

const TRANSPOSES: &[TransposeShape] = &[
    (16, 8, 1, 5, 7, [2, 2], [2, 2], [0; 4], 1, [0; 2]),
    (5, 33, 1, 4, 9, [3, 3], [2, 2], [1; 4], 1, [1; 2]),
    (12, 20, 4, 5, 5, [4, 4], [2, 2], [1; 4], 1, [0; 2]),
    (19, 19, 19, 4, 6, [4, 3], [2, 1], [1, 1, 2, 1], 1, [0; 2]),
    (8, 16, 1, 6, 5, [3, 3], [1, 1], [1; 4], 1, [0; 2]),
    (7, 9, 1, 3, 4, [2, 1], [3, 2], [0; 4], 1, [0; 2]),
    (8, 8, 8, 3, 4, [1, 2], [2, 3], [0; 4], 1, [1, 0]),
    (4, 17, 1, 4, 5, [3, 3], [3, 2], [2, 0, 1, 3], 2, [0; 2]),
    (6, 4, 2, 1, 1, [5, 5], [2, 2], [0; 4], 1, [0; 2]),
];

fn transpose_op((_, _, group, _, _, _, strides, pads, dilation, more): TransposeShape) -> ConvTranspose {
    let canonical = eightfold_ir::op::conv::canonical;
    ConvTranspose {
        pads: canonical(&pads, 0),
        strides: canonical(&strides, 1),
        dilations: canonical(&[dilation; 2], 1),
        output_padding: canonical(&more, 0),
        group,
    }
}

#[test]
fn transposed_convolutions_equal_the_evaluator() {
    for (index, &shape) in TRANSPOSES.iter().enumerate() {
        let (c, o, group, h, w, [rows, columns], ..) = shape;
        for (dtype, zero, weights) in
            [(DType::U8, 117, DType::I8), (DType::I8, -5, DType::I8), (DType::U8, 3, DType::U8)]
        {
            let mut case = Case::new(&format!("conv_transpose_{index}_{dtype}_{weights}"));
            let x_q = case.q(dtype, 0.02, zero);
            let w_q = case.q(weights, 0.01, if weights == DType::U8 { 140 } else { 0 });
            let x = case.input_nhwc("x", dtype, &[2, c, h, w], x_q);
            let weight = case.random(weights, &[o, c / group, rows, columns], w_q);
            let bias: Vec<i64> = (0..o as i64).map(|channel| channel * 977 - 5000).collect();
            let bias = case.graph.add_const("", Tensor::int(DType::I32, &[o], &bias), None);
            // The added tensor is indexed by the result's coordinates, whichever part is computed.
            let y_q = case.q(DType::U8, 0.05, 7);
            let sum = case.nhwc(transpose_op(shape), &[x, weight, bias], vec![], None);
            let sum_shape = case.graph.ty(sum).shape.to_vec();
            let other = case.input_nhwc("other", DType::U8, &sum_shape, y_q);
            let mut steps = case.requantize(o, DType::U8, 7, 7);
            steps.insert(2, Step::binary(Function::Add, Arg::Dequantized { value: other, scale: 0.37, zero_point: 7 }));
            let y = case.nhwc(transpose_op(shape), &[x, weight, bias], steps, y_q);
            case.output(sum);
            case.output(y);
            case.check(0.0);
        }
    }
}

#[test]
fn float_transposed_convolutions_are_close_to_the_evaluator() {
    for (index, &shape) in TRANSPOSES.iter().enumerate() {
        let (c, o, group, h, w, [rows, columns], ..) = shape;
        let mut case = Case::new(&format!("float_conv_transpose_{index}"));
        let x = case.input_nhwc("x", DType::F32, &[1, c, h, w], None);
        let weight = case.random(DType::F32, &[o, c / group, rows, columns], None);
        let bias = case.random(DType::F32, &[o], None);
        let y = case.nhwc(transpose_op(shape), &[x, weight, bias], vec![Step::unary(Function::Relu)], None);
        case.output(y);
        case.check(1e-5);
    }
    let mut case = Case::new("float_conv_transpose_line");
    let x = case.input_nhwc("x", DType::F32, &[2, 6, 9], None);
    let weight = case.random(DType::F32, &[10, 6, 4], None);
    let line = ConvTranspose {
        pads: [1, 1].as_slice().into(),
        strides: [3].as_slice().into(),
        dilations: Default::default(),
        output_padding: [1].as_slice().into(),
        group: 1,
    };
    let y = case.nhwc(line, &[x, weight], vec![], None);
    case.output(y);
    case.check(1e-5);
}
