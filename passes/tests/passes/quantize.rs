//! Tests quantization from a calibration table: the inserted nodes and their lowered form.

use std::collections::BTreeMap;

use eightfold_ir::attr::Sizes;
use eightfold_ir::eval::eval_values;
use eightfold_ir::op::concat::Concat;
use eightfold_ir::op::dequantize_linear::DequantizeLinear;
use eightfold_ir::op::pool::{Pool, PoolKind};
use eightfold_ir::op::quantize_linear::QuantizeLinear;
use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::op::reshape::Reshape;
use eightfold_ir::op::softmax::Softmax;
use eightfold_ir::{
    Arg, DType, Epilogue, Function, Graph, Layout, Op, Origin, Precision, QuantParams, Step, Symmetry, Tensor, ValueId,
    eval,
};
use eightfold_passes::calibrate::{CalibrationTable, Range};
use eightfold_passes::{INT8, PassOptions, RemarkKind, SIMPLIFY, WeightScales, quantized_tensors, tensor_name};

use crate::net::{Net, inputs, padded, run, shape_of};

fn relu() -> Step {
    Step::unary(Function::Relu)
}

fn with(function: Function, value: ValueId) -> Step {
    Step::binary(function, Arg::Value(value))
}

fn pool(kind: PoolKind, pad: usize) -> Pool {
    Pool {
        kind,
        kernel: Sizes::from_slice(&[3, 3]),
        pads: Sizes::from_slice(&[pad; 4]),
        strides: Sizes::from_slice(&[2, 2]),
        dilations: Sizes::new(),
        ceil: false,
        count_include_pad: false,
    }
}

/// Returns the table of a minmax calibrator after four random samples.
fn calibrated(graph: &Graph) -> CalibrationTable {
    let (simplified, _) = run(graph, SIMPLIFY, &PassOptions::default());
    let tensors = quantized_tensors(&simplified, &PassOptions::default());
    let mut ranges: BTreeMap<String, Range> = BTreeMap::new();
    for seed in 1..5 {
        let values = eval_values(&simplified, &inputs(&simplified, seed), &tensors).unwrap();
        for (id, value) in tensors.iter().zip(values) {
            let numbers = value.to_f32s().unwrap();
            let range = ranges.entry(tensor_name(&simplified, *id)).or_insert(Range { min: 0.0, max: 0.0 });
            range.min = numbers.iter().copied().fold(range.min, f32::min);
            range.max = numbers.iter().copied().fold(range.max, f32::max);
        }
    }
    let (model, calibrator) = (graph.name.clone(), "minmax".to_owned());
    CalibrationTable { model, hash: String::new(), calibrator, samples: 4, ranges, means: BTreeMap::new() }
}

fn int8(graph: &Graph) -> PassOptions {
    PassOptions { precision: Precision::Int8, calibration: Some(calibrated(graph)), ..PassOptions::default() }
}

/// Returns the passes up to and including `last`.
fn until(last: &str) -> Vec<&'static str> {
    let end = INT8.iter().position(|p| *p == last).unwrap();
    INT8[..=end].to_vec()
}

fn stored(graph: &Graph, inputs: &[eightfold_ir::Tensor], ids: &[ValueId]) -> Vec<Vec<i64>> {
    eval_values(graph, inputs, ids).unwrap().iter().map(|t| t.to_ints().unwrap()).collect()
}

/// Checks that lowering changes stored integers by at most one step, and only a few of them, and that the quantized
/// graph stays close to the float graph. Returns the final graph.
fn check(net: &Net, options: &PassOptions, tolerance: f32) -> Graph {
    let (inserted, _) = run(&net.graph, &until("insert_qdq"), options);
    let (lowered, _) = run(&net.graph, &until("lower_qdq"), options);
    let (last, _) = run(&net.graph, INT8, options);
    let quantized: Vec<(ValueId, ValueId)> = inserted
        .values()
        .filter(|(_, v)| v.ty.quant.is_some())
        .filter_map(|(id, v)| Some((id, lowered.find(v.name.as_deref()?)?)))
        .filter(|(a, b)| inserted.ty(*a).dtype == lowered.ty(*b).dtype && inserted.ty(*a).dtype != DType::I32)
        .collect();
    assert!(!quantized.is_empty(), "no quantized tensor is left to compare");
    for seed in 1..4 {
        let x = inputs(&net.graph, seed);
        let (a, b): (Vec<_>, Vec<_>) = quantized.iter().copied().unzip();
        for ((a, b), id) in stored(&inserted, &x, &a).iter().zip(stored(&lowered, &x, &b)).zip(&b_names(&lowered, &b)) {
            let differing = a.iter().zip(&b).filter(|(a, b)| a != b).count();
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1), "{id}: more than a step");
            assert!(differing * 100 <= a.len(), "{id}: {differing} of {} differ", a.len());
        }
        let float = eval(&net.graph, &x).unwrap();
        let (end, before_layout) = (eval(&last, &x).unwrap(), eval(&lowered, &x).unwrap());
        assert!(end.iter().zip(&before_layout).all(|(a, b)| a.bytes() == b.bytes()), "a later pass changed a bit");
        for (a, b) in float.iter().zip(&end) {
            let (a, b) = (a.to_f32s().unwrap(), b.to_f32s().unwrap());
            let greatest = a.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
            let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= tolerance * greatest, "off by {worst} of {greatest}");
        }
    }
    last
}

fn b_names(graph: &Graph, ids: &[ValueId]) -> Vec<String> {
    ids.iter().map(|id| graph.value(*id).name.as_deref().unwrap_or("").to_owned()).collect()
}

/// A residual block, a max pool, a mean and a linear layer.
fn residual_net() -> Net {
    let mut net = Net::new("residual");
    let x = net.input("x", &[1, 3, 9, 9]);
    let stem = net.conv("stem", x, &[8, 3, 3, 3], padded(1));
    let stem = net.map("stem_relu", stem, vec![relu()]);
    let a = net.conv("a", stem, &[8, 8, 3, 3], padded(1));
    let a = net.map("a_clip", a, vec![Step::clip(0.0, 2.0)]);
    let b = net.conv("b", a, &[8, 8, 1, 1], padded(0));
    let sum = net.map("add", stem, vec![with(Function::Add, b)]);
    let sum = net.map("add_relu", sum, vec![relu()]);
    let p = net.add("pool", pool(PoolKind::Max, 1), &[sum]);
    let mean = Reduce { kind: ReduceKind::Mean, axes: Sizes::from_slice(&[2, 3]), keepdims: true };
    let m = net.add("mean", mean, &[p]);
    let f = net.add("flatten", Reshape { shape: Sizes::from_slice(&[1, 8]) }, &[m]);
    let logits = net.matmul("fc", f, &[8, 5]);
    let bias = net.random(&[5]);
    let logits = net.map("fc_bias", logits, vec![with(Function::Add, bias)]);
    let y = net.add("softmax", Softmax { axis: 1 }, &[logits]);
    net.output(y);
    net
}

/// A GELU by tanh between convolutions reads its operand four times.
#[test]
fn a_function_of_one_tensor_is_a_table() {
    let mut net = Net::new("gelu");
    let x = net.input("x", &[1, 3, 5, 5]);
    let a = net.conv("a", x, &[4, 3, 1, 1], padded(0));
    let literal = |function, number| Step::binary(function, Arg::Float(number));
    let cube = vec![with(Function::Mul, a), literal(Function::Mul, 0.044715), with(Function::Mul, a)];
    let tanh = vec![with(Function::Add, a), literal(Function::Mul, 0.797_884_6), Step::unary(Function::Tanh)];
    let half = vec![literal(Function::Add, 1.0), with(Function::Mul, a), literal(Function::Mul, 0.5)];
    let gelu = net.map("gelu", a, [cube, tanh, half].concat());
    let y = net.conv("y", gelu, &[2, 4, 1, 1], padded(0));
    net.output(y);
    let last = check(&net, &int8(&net.graph), 0.05);
    let steps: Vec<&Step> = last.nodes().flat_map(|node| &node.epilogue.steps).collect();
    assert!(steps.iter().any(|step| matches!(step, Step::Table(_))), "{}", shape_of(&last));
    assert!(!steps.contains(&&Step::unary(Function::Tanh)), "{}", shape_of(&last));
}

/// Two linear layers, a layer normalization between them in elementary operators, and a softmax spelled out.
#[test]
fn a_normalization_and_a_softmax_that_are_spelled_out_lose_little_in_int8() {
    let mut net = Net::new("normalized");
    let x = net.input("x", &[16, 12]);
    let a = net.matmul("a", x, &[12, 32]);
    // The magnitudes of the rows differ by orders of magnitude, as in real inputs.
    let sizes = net.constant(&[16, 1], &(0..16).map(|row| 4.0_f32.powi(row - 8)).collect::<Vec<_>>());
    let a = net.map("sizes", a, vec![with(Function::Mul, sizes)]);
    let fold = |kind| Reduce { kind, axes: Sizes::from_slice(&[1]), keepdims: true };
    let mean = net.add("mean", fold(ReduceKind::Mean), &[a]);
    let centered = net.map("centered", a, vec![with(Function::Sub, mean)]);
    let squares = net.map("squares", centered, vec![with(Function::Mul, centered)]);
    let variance = net.add("variance", fold(ReduceKind::Mean), &[squares]);
    let epsilon = Step::binary(Function::Add, Arg::Float(1e-12));
    let deviation = net.map("deviation", variance, vec![epsilon, Step::unary(Function::Sqrt)]);
    let normal = net.map("normal", centered, vec![with(Function::Div, deviation)]);
    let logits = net.matmul("logits", normal, &[32, 8]);
    let e = net.map("exp", logits, vec![Step::unary(Function::Exp)]);
    let sum = net.add("sum", fold(ReduceKind::Sum), &[e]);
    let y = net.map("y", e, vec![with(Function::Div, sum)]);
    net.output(y);
    let last = check(&net, &int8(&net.graph), 0.05);
    assert!(shape_of(&last).contains("softmax"), "{}", shape_of(&last));
}

#[test]
fn a_residual_network_becomes_integers_but_for_its_softmax() {
    let net = residual_net();
    let options = int8(&net.graph);
    let last = check(&net, &options, 0.1);
    assert_eq!(shape_of(&last), "map+1 conv+3 conv+3 conv+4 pool+0 reduce+3 reshape+0 matmul+2 softmax+0");
    for node in last.nodes() {
        if let Op::Conv(_) | Op::MatMul(_) = node.op {
            let dtype = |slot: usize| last.ty(node.operand(slot).unwrap()).dtype;
            assert_eq!((dtype(0), dtype(1), dtype(2)), (DType::U8, DType::I8, DType::I32));
        }
    }
    let (_, outcome) = run(&net.graph, INT8, &options);
    let float: Vec<_> = outcome.remarks.iter().filter(|r| r.kind == RemarkKind::Float).map(|r| r.to_string()).collect();
    assert_eq!(float, [r#"insert_qdq: float at "softmax": no integer node reads its result"#]);
}

#[test]
fn the_steps_of_a_lowered_convolution_are_those_of_the_contract() {
    let net = residual_net();
    let last = check(&net, &int8(&net.graph), 0.1);
    let conv = last.nodes().find(|n| n.origin.names().any(|n| n == "add")).unwrap();
    let [Step::Cast(DType::F32), Step::Apply(Function::Mul, factor), Step::Apply(Function::Add, residual), quantize] =
        conv.epilogue.steps.as_slice()
    else {
        panic!("{:?}", conv.epilogue.steps)
    };
    let (x, w) = (conv.operand(0).unwrap(), conv.operand(1).unwrap());
    let (sx, sy) = (last.quant(x).unwrap().scale[0], last.quant(conv.output()).unwrap().scale[0]);
    let Arg::Value(factors) = factor[1] else { panic!("{factor:?}") };
    let factors = last.constant(factors).unwrap().to_f32s().unwrap();
    let sw = &last.quant(w).unwrap().scale;
    assert!(factors.iter().zip(sw.iter()).all(|(m, sw)| *m == sx * sw / sy));
    let Arg::Dequantized { value, scale, zero_point } = residual[1] else { panic!("{residual:?}") };
    let params = last.quant(value).unwrap();
    assert_eq!((scale, zero_point), (params.scale[0] / sy, params.zero_point[0]));
    let zero_point = last.quant(conv.output()).unwrap().zero_point[0];
    assert_eq!(*quantize, Step::Quantize { dtype: DType::U8, scale: 1.0, zero_point, min: zero_point, max: 255 });
}

#[test]
fn all_storage_and_scale_options_stay_close_to_the_float_graph() {
    let net = residual_net();
    for storage in [DType::U8, DType::I8] {
        for symmetry in [Symmetry::Affine, Symmetry::Symmetric] {
            for weight_scales in [WeightScales::PerChannel, WeightScales::PerTensor] {
                let options = PassOptions {
                    activation_storage: storage,
                    activation_symmetry: symmetry,
                    weight_scales,
                    ..int8(&net.graph)
                };
                check(&net, &options, 0.2);
            }
        }
    }
}

#[test]
fn joined_tensors_share_a_scale_and_averages_read_integers() {
    let mut net = Net::new("concat");
    let x = net.input("x", &[1, 4, 8, 8]);
    let a = net.conv("a", x, &[4, 4, 3, 3], padded(1));
    let a = net.map("a_relu", a, vec![relu()]);
    let b = net.conv("b", x, &[4, 4, 1, 1], padded(0));
    let c = net.add("concat", Concat { axis: 1 }, &[a, b]);
    let p = net.add("average", pool(PoolKind::Average, 1), &[c]);
    let y = net.conv("y", p, &[3, 8, 1, 1], padded(0));
    net.output(y);
    let last = check(&net, &int8(&net.graph), 0.05);
    assert_eq!(shape_of(&last), "map+1 conv+3 conv+3 concat+0 pool+3 conv+2");
    let quant = |name: &str| last.ty(last.find(name).unwrap()).quant.unwrap();
    assert_eq!((quant("a_relu"), quant("b")), (quant("concat"), quant("concat")));
    let mean = last.nodes().find(|n| matches!(n.op, Op::Pool(_))).unwrap();
    assert_eq!(last.ty(mean.operand(0).unwrap()).quant, Some(quant("concat")));
    // ONNX Runtime adds the zero point before rounding.
    let [Step::Apply(Function::Div, scale), Step::Apply(Function::Add, zero_point), Step::Quantize { .. }] =
        &mean.epilogue.steps[..]
    else {
        panic!("{:?}", mean.epilogue)
    };
    let to = last.qparams(last.ty(mean.output()).quant.unwrap()).as_per_tensor().unwrap();
    assert_eq!((scale[1], zero_point[1]), (Arg::Float(to.0), Arg::Float(to.1 as f32)));
    assert_eq!(last.ty(mean.output()).layout, Layout::Nhwc);
}

#[test]
fn pointwise_operators_on_integers() {
    let mut net = Net::new("pointwise");
    let x = net.input("x", &[1, 4, 6, 6]);
    let a = net.conv("a", x, &[4, 4, 1, 1], padded(0));
    // Its result is read twice, so it stays a separate node: a table.
    let s = net.map("sigmoid", a, vec![Step::unary(Function::Sigmoid)]);
    let product = net.map("mul", s, vec![with(Function::Mul, a)]);
    let difference = net.map("sub", s, vec![with(Function::Sub, product), relu()]);
    let mean = Reduce { kind: ReduceKind::Mean, axes: Sizes::from_slice(&[2, 3]), keepdims: true };
    let gate = net.add("gate", mean, &[difference]);
    let gated = net.map("gated", difference, vec![with(Function::Mul, gate)]);
    let b = net.conv("b", gated, &[4, 4, 1, 1], padded(0));
    net.output(b);
    let last = check(&net, &int8(&net.graph), 0.1);
    let steps = |name: &str| &last.producer(last.find(name).unwrap()).unwrap().epilogue.steps;
    assert!(matches!(steps("sigmoid")[..], [Step::Table(_)]), "{:?}", steps("sigmoid"));
    assert!(
        matches!(
            steps("gated")[..],
            [
                Step::Dequantize { scale: 1.0, .. },
                Step::Apply(Function::Mul, _),
                Step::Apply(Function::Mul, _),
                Step::Quantize { scale: 1.0, .. }
            ]
        ),
        "{:?}",
        steps("gated")
    );
    assert!(last.nodes().all(|n| {
        n.uses().all(|v| last.ty(v).dtype != DType::F32 || last.constant(v).is_some() || last.inputs().contains(&v))
    }));
}

#[test]
fn a_tensor_without_a_range_keeps_its_readers_on_floats() {
    let net = residual_net();
    let mut options = int8(&net.graph);
    options.calibration.as_mut().unwrap().ranges.remove("a_clip");
    let (_, outcome) = run(&net.graph, INT8, &options);
    let said = |r: &String| r.starts_with(r#"insert_qdq: float at "b""#) && r.ends_with("no range for a_clip");
    let remarks: Vec<String> = outcome.remarks.iter().map(ToString::to_string).collect();
    assert_eq!(remarks.iter().filter(|r| said(r)).count(), 1, "{remarks:#?}");
    check(&net, &options, 0.1);
}

#[test]
fn tensors_that_carry_quantization_keep_it_and_the_others_are_quantized() {
    let mut net = Net::new("partly");
    let x = net.input("x", &[1, 3, 6, 6]);
    let carried = |net: &mut Net, name: &str, value: ValueId, scale: f32, zero_point: i32| {
        let params = net.graph.add_qparams(QuantParams::per_tensor(DType::I8, scale, zero_point));
        let quantize = QuantizeLinear { to: DType::I8 };
        let operands = [Some(value)];
        let q =
            net.graph.add_node(name, quantize, &operands, Epilogue::none(), Some(params), Origin::of(name)).unwrap();
        net.add(&format!("{name}_real"), DequantizeLinear {}, &[q])
    };
    let x = carried(&mut net, "xq", x, 0.0079, -3);
    let weights = QuantParams::per_tensor(DType::U8, 0.01, 117);
    let (weights, numbers) = (net.graph.add_qparams(weights), (0..36).map(|i| i * 7 % 256).collect::<Vec<_>>());
    let w = net.graph.add_const("wq", Tensor::int(DType::U8, &[4, 3, 1, 3], &numbers), Some(weights));
    let w = net.add("w", DequantizeLinear {}, &[w]);
    let a = net.add("a", padded(0), &[x, w]);
    let a = carried(&mut net, "aq", a, 0.03, 5);
    let b = net.conv("b", a, &[4, 4, 3, 1], padded(0));
    let b = net.map("b_relu", b, vec![relu()]);
    let y = net.conv("y", b, &[2, 4, 1, 1], padded(0));
    net.output(y);

    let last = check(&net, &int8(&net.graph), 0.1);
    assert_eq!(shape_of(&last), "map+1 conv+3 conv+3 conv+2");
    let quant = |name: &str| last.quant(last.find(name).unwrap()).unwrap();
    assert_eq!(*quant("xq"), QuantParams::per_tensor(DType::I8, 0.0079, -3));
    assert_eq!(*quant("wq"), QuantParams::per_tensor(DType::U8, 0.01, 117));
    assert_eq!(*quant("aq"), QuantParams::per_tensor(DType::I8, 0.03, 5));
    assert_eq!(quant("b_relu").storage, DType::U8);
}
