//! Compares the work of calls with numbers counted by hand.

use eightfold_ir::{DType, Function, verify};

use crate::choice::Choices;
use crate::cpu::{Arithmetic, CpuModel, Level};
use crate::kernel::Call;
use crate::kernel::operations::step_operations;
use crate::program::Program;
use crate::program::Scheduled;
use crate::schedule::ScheduleContext;
use crate::schedule::lower_and_schedule;
use crate::step::{Arg, Step};
use crate::target::Target;

fn target() -> &'static Target {
    Target::find("x86-64-v3").expect("listed")
}

fn program(text: &str) -> Scheduled {
    let graph = eightfold_ir::parse(text).expect("parses");
    lower_and_schedule(verify(&graph).expect("verifies"), target(), &ScheduleContext::of(&Choices::default()))
        .expect("lowers")
}

fn only<'p>(program: &'p Program, family: &str) -> &'p Call {
    let mut calls = program.calls().into_iter().filter(|call| call.kernel().starts_with(family));
    let call = calls.next().expect("there is one");
    assert!(calls.next().is_none(), "{program}");
    call
}

const CONV: &str = "graph @conv {
           qparams #0 = i8 per_tensor scale=0.005 zero_point=0
           qparams #1 = u8 per_tensor scale=0.01 zero_point=114
           input %x: 1x3x8x8xf32
           const %w: 20x3x3x3xi8 #0 = splat(3)
           const %b: 20xi32 = splat(100)
           %q = map(%x) |> quantize u8 {scale=0.01, zero_point=114} : 1x3x8x8xu8 nhwc #1
           %y = conv(%q, %w, %b) {pads=[1, 1, 1, 1]} |> cast f32 |> mul 0.0025 |> quantize u8 {zero_point=114} : 1x20x8x8xu8 nhwc #1
           %z = map(%y) : 1x20x8x8xu8 nhwc #1
           output %z
         }";

#[test]
fn a_convolution() {
    let program = program(CONV);
    let gemm = only(&program, "gemm");
    let work = gemm.work(target());
    assert_eq!((gemm.kernel().as_str(), gemm.shape().as_str()), ("gemm_u8_3x24c4", "64x27x20"));
    assert_eq!((work.macs, work.arithmetic), (64 * 27 * 20, Arithmetic::Int8));
    // Runs of 9 are padded to 12, and 20 channels to 16 and 8.
    assert_eq!(work.executed_macs, 64 * 36 * 24);
    // Packed weights for 24 channels, and their initial accumulators.
    assert_eq!((work.input_bytes, work.weight_bytes, work.output_bytes), (192, 9 * 4 * 24 + 4 * 24, 1280));
    assert_eq!(work.bytes(), 192 + 960 + 1280);
    assert_eq!(work.intensity(), 34560.0 / 2432.0);
    // Weights of 3 are so small that the products of two groups can be added in 16 bits.
    assert_eq!(work.instructions, 5.0 / 6.0);
    // Conversion 1, scale 1, clamp and rounding 2; 6 instructions to pack four vectors; 1 store for four.
    assert_eq!(work.operations, 1280.0 * (1.0 + 1.0 + 2.0 + 6.0 / 4.0 + 0.25));
}

#[test]
fn the_cost_of_a_call_is_its_arithmetic_or_its_traffic_whichever_takes_longer() {
    let program = program(CONV);
    let gemm = only(&program, "gemm");
    let work = gemm.work(target());
    let near = CpuModel::of(target());
    // 34560 products at 102 a nanosecond, 7360 operations at 61.
    let cost = gemm.cost(near) - near.call_overhead;
    assert!(cost > 400.0 && cost < 700.0, "{cost}");
    let slow = CpuModel { operations: near.operations / 2.0, ..near.clone() };
    let more = work.operations / (0.8 * near.operations);
    assert!((gemm.cost(&slow) - gemm.cost(near) - more).abs() < 1e-6);
    let level = |bytes, rate| Level { bytes, rate };
    let far = CpuModel { levels: vec![level(Some(2000), 100.0), level(None, 0.5)], ..near.clone() };
    assert_eq!(gemm.cost(&far), near.call_overhead + 2.0 * work.bytes() as f64);
}

/// A convolution with weights of 100, whose pairs exceed 16 bits, over an image of this type.
fn of_large_weights(image: &str, made: &str) -> String {
    format!(
        "graph @conv {{
           qparams #0 = i8 per_tensor scale=0.005 zero_point=0
           qparams #1 = u8 per_tensor scale=0.01 zero_point=0
           input %x: 1x3x8x8x{image}
           const %w: 20x3x3x3xi8 #0 = splat(100)
           %q = map(%x){made} : 1x3x8x8xu8 nhwc #1
           %y = conv(%q, %w) {{pads=[1, 1, 1, 1]}} |> cast f32 : 1x20x8x8xf32 nhwc
           %z = map(%y) : 1x20x8x8xf32 nhwc
           output %z
         }}"
    )
}

#[test]
fn weights_that_a_product_cannot_hold_are_padding() {
    let text = of_large_weights("u8 #1", "");
    // 64 pixels; for each vector of channels three runs of three groups. Two groups of each run pair 100 with 100.
    for (name, vectors, extra, lanes) in [("x86-64-v3", 3, 6, 8), ("x86-64-v4-vnni", 2, 0, 16)] {
        let target = Target::find(name).expect("listed");
        let graph = eightfold_ir::parse(&text).expect("parses");
        let program =
            lower_and_schedule(verify(&graph).expect("verifies"), target, &ScheduleContext::of(&Choices::default()))
                .expect("lowers");
        let work = only(&program, "gemm").work(target);
        assert_eq!((work.macs, work.executed_macs), (64 * 27 * 20, 64 * vectors * (9 + extra) * 4 * lanes), "{name}");
    }
}

#[test]
fn an_image_in_words_has_no_padding_but_odd_ends() {
    let target = Target::find("x86-64-v3").expect("listed");
    let text = of_large_weights("f32", " |> quantize u8 {scale=0.01}");
    let graph = eightfold_ir::parse(&text).expect("parses");
    let program =
        lower_and_schedule(verify(&graph).expect("verifies"), target, &ScheduleContext::of(&Choices::default()))
            .expect("lowers");
    let work = only(&program, "gemm").work(target);
    // Three runs of nine numbers in pairs. A pair takes a product and a sum; four bytes would take two products and a
    // sum.
    assert_eq!((work.macs, work.executed_macs), (64 * 27 * 20, 64 * 3 * (3 * 5) * 2 * 8));
    assert_eq!((work.instructions, work.arithmetic), (4.0 / 3.0, Arithmetic::Int8));
}

#[test]
fn a_depthwise_convolution() {
    let text = |strides: usize, side: usize| {
        format!(
            "graph @depthwise {{
               qparams #0 = i8 per_tensor scale=0.005 zero_point=0
               qparams #1 = u8 per_tensor scale=0.01 zero_point=0
               input %x: 1x12x9x9xf32
               const %w: 12x1x3x3xi8 #0 = splat(3)
               %q = map(%x) |> quantize u8 {{scale=0.01}} : 1x12x9x9xu8 nhwc #1
               %y = conv(%q, %w) {{strides=[{strides}, {strides}], pads=[1, 1, 1, 1], group=12}} |> cast f32 |> quantize u8 : 1x12x{side}x{side}xu8 nhwc #1
               %z = map(%y) : 1x12x{side}x{side}xu8 nhwc #1
               output %z
             }}"
        )
    };
    // For each result, new columns of two pairs are interleaved and widened; five pairs are multiplied and added.
    for (strides, side, own) in [(1, 9, 4.0 + 10.0), (2, 5, 8.0 + 10.0)] {
        let program = program(&text(strides, side));
        let call = only(&program, "depthwise");
        let (work, results) = (call.work(target()), 12 * side * side);
        assert_eq!(call.shape(), format!("{side}x{side}x12 3x3"));
        assert_eq!(work.macs, 9 * results as u64);
        // Nine taps are padded to five pairs, and 12 channels to 16.
        assert_eq!(work.executed_macs, (side * side * 5 * 2 * 16) as u64);
        assert_eq!(work.operations, results as f64 * (own + 1.0 + 3.0 + 0.25));
    }
}

#[test]
fn what_repeats_is_read_once() {
    let program = program(
        "graph @add {
           input %x: 1x8x4x4xf32
           const %b: 1x8x1x1xf32 = rand(seed=1)
           %y = map(%x) |> add %b : 1x8x4x4xf32
           output %y
         }",
    );
    let work = only(&program, "pointwise").work(target());
    assert_eq!((work.macs, work.executed_macs, work.intensity()), (0, 0, 0.0));
    assert_eq!((work.input_bytes, work.weight_bytes, work.output_bytes), (512, 32, 512));
    assert_eq!(work.operations, 128.0 * 3.0, "load, add, store");
}

#[test]
fn functions_are_counted_as_they_are_written() {
    let of = |function| {
        let steps = [Step::Apply(function, vec![Arg::Current])];
        step_operations(target(), &steps, DType::F32, &[], DType::F32) - 1.0
    };
    assert_eq!((of(Function::Relu), of(Function::Sqrt)), (1.0, 8.0));
    // Clamp 4, range reduction 5, polynomial 7, addition 1, powers of two 8.
    assert_eq!(of(Function::Exp), 25.0);
    // Signs 2, division 8, comparison 1, selection 1, addition 1.
    assert_eq!(of(Function::Sigmoid), 25.0 + 13.0);
    // Sign 1, comparison 1, selections 2, difference 1, addition 1, division 8, product 1.
    assert_eq!(of(Function::Silu), of(Function::Exp) + 15.0);
    let table = |name: &str| {
        let steps = [Step::Table { operand: 0, dtype: DType::U8 }];
        step_operations(Target::find(name).expect("listed"), &steps, DType::U8, &[DType::U8], DType::U8)
    };
    assert_eq!((table("x86-64-v3"), table("x86-64-v4-vbmi")), (9.0, 1.25));
}
