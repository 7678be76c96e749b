//! Tests each row of `FUSIONS`: the fusion applies, gives the expected graph, keeps the results, and is necessary.

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::pad::{Pad, PadMode};
use eightfold_ir::op::pool::{Pool, PoolKind};
use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::op::reshape::Reshape;
use eightfold_ir::op::transpose::Transpose;
use eightfold_ir::{Arg, DType, Function, Graph, Op, Step, Tensor};
use eightfold_passes::fuse::{FUSIONS, Fusion, fuse_with};
use eightfold_passes::{PassContext, PassOptions, RemarkKind};

use crate::net::{Net, difference, padded, shape_of};

fn relu() -> Step {
    Step::unary(Function::Relu)
}

fn with(function: Function, value: eightfold_ir::ValueId) -> Step {
    Step::binary(function, Arg::Value(value))
}

fn literal(function: Function, number: f32) -> Step {
    Step::binary(function, Arg::Float(number))
}

/// A graph, its fusion, the operators and numbers of steps after all fusions, and the greatest allowed difference.
struct Case {
    fusion: &'static str,
    build: fn(&mut Net),
    after: &'static str,
    tolerance: f32,
}

const CASES: &[Case] = &[
    Case {
        fusion: "epilogue",
        build: |n| {
            let x = n.input("x", &[1, 3, 6, 6]);
            let c = n.conv("conv", x, &[4, 3, 3, 3], padded(1));
            let r = n.map("relu", c, vec![relu()]);
            n.output(r);
        },
        after: "conv+1",
        tolerance: 0.0,
    },
    Case {
        fusion: "residual",
        build: |n| {
            let x = n.input("x", &[1, 4, 6, 6]);
            let c = n.conv("conv", x, &[4, 4, 3, 3], padded(1));
            let a = n.map("sub", x, vec![with(Function::Sub, c)]);
            let r = n.map("relu", a, vec![relu()]);
            n.output(r);
        },
        after: "conv+2",
        tolerance: 0.0,
    },
    Case {
        fusion: "activation",
        build: |n| {
            let x = n.input("x", &[1, 3, 6, 6]);
            let c = n.conv("conv", x, &[4, 3, 3, 3], padded(1));
            let s = n.map("sigmoid", c, vec![Step::unary(Function::Sigmoid)]);
            let y = n.map("mul", c, vec![with(Function::Mul, s)]);
            n.output(y);
        },
        after: "conv+1",
        tolerance: 1e-6,
    },
    Case {
        fusion: "activation",
        build: |n| {
            let x = n.input("x", &[1, 3, 6, 6]);
            let c = n.conv("conv", x, &[4, 3, 3, 3], padded(1));
            let a = n.map("add", c, vec![literal(Function::Add, 3.0)]);
            let k = n.map("clip", a, vec![Step::clip(0.0, 6.0)]);
            let m = n.map("mul", c, vec![with(Function::Mul, k)]);
            let y = n.map("div", m, vec![literal(Function::Div, 6.0)]);
            n.output(y);
        },
        after: "conv+1",
        tolerance: 1e-6,
    },
    Case {
        fusion: "softmax",
        build: |n| {
            let x = n.input("x", &[2, 6, 5]);
            let fold = |kind| Reduce { kind, axes: Sizes::from_slice(&[1]), keepdims: true };
            let top = n.add("max", fold(ReduceKind::Max), &[x]);
            let e = n.map("exp", x, vec![with(Function::Sub, top), Step::unary(Function::Exp)]);
            let sum = n.add("sum", fold(ReduceKind::Sum), &[e]);
            let y = n.map("div", e, vec![with(Function::Div, sum)]);
            n.output(y);
        },
        after: "softmax+0",
        tolerance: 1e-6,
    },
    Case {
        fusion: "one_hot",
        build: |n| {
            let x = n.input("x", &[2, 5, 1]);
            let i = n.map("index", x, vec![literal(Function::Mul, 3.0), Step::Cast(DType::I32)]);
            let all = n.graph.add_const("all", Tensor::int(DType::I32, &[4], &[0, 1, 2, 3]), None);
            let hot = n.map("hot", i, vec![with(Function::Equal, all), Step::Cast(DType::F32)]);
            let y = n.matmul("matmul", hot, &[4, 3]);
            n.output(y);
        },
        after: "map+3 reshape+0 gather+0",
        tolerance: 0.0,
    },
    Case {
        fusion: "clip",
        build: |n| {
            let x = n.input("x", &[1, 3, 6, 6]);
            let a = n.map("relu", x, vec![relu()]);
            let b = n.map("again", a, vec![relu()]);
            let c = n.map("clip", b, vec![Step::clip(-0.5, 0.25)]);
            n.output(c);
        },
        after: "map+1",
        tolerance: 0.0,
    },
    Case {
        fusion: "bias",
        build: |n| {
            let x = n.input("x", &[5, 7]);
            let m = n.matmul("matmul", x, &[7, 3]);
            let b = n.random(&[3]);
            let y = n.map("add", m, vec![with(Function::Add, b)]);
            n.output(y);
        },
        after: "matmul+0",
        tolerance: 1e-6,
    },
    Case {
        fusion: "scale",
        build: |n| {
            let x = n.input("x", &[1, 3, 6, 6]);
            let c = n.conv("conv", x, &[4, 3, 3, 3], padded(1));
            let (s, t) = (n.random(&[4, 1, 1]), n.random(&[4, 1, 1]));
            let y = n.map("bn", c, vec![with(Function::Mul, s), with(Function::Add, t), relu()]);
            n.output(y);
        },
        after: "conv+1",
        tolerance: 1e-5,
    },
    Case {
        fusion: "prologue",
        build: |n| {
            let x = n.input("x", &[1, 4, 6, 6]);
            let (s, t) = (n.random(&[1, 4, 1, 1]), n.random(&[1, 4, 1, 1]));
            let b = n.map("bn", x, vec![with(Function::Mul, s), with(Function::Add, t)]);
            let mut grouped = padded(0);
            grouped.group = 2;
            let c = n.conv("conv", b, &[6, 2, 3, 3], grouped);
            let f = n.add("flatten", Reshape { shape: Sizes::from_slice(&[1, 96]) }, &[c]);
            let m = n.map("scale", f, vec![literal(Function::Mul, 0.5)]);
            let y = n.matmul("matmul", m, &[96, 3]);
            n.output(y);
        },
        after: "conv+0 reshape+0 matmul+0",
        tolerance: 1e-4,
    },
    Case {
        fusion: "pad",
        build: |n| {
            let x = n.input("x", &[1, 3, 6, 6]);
            let p = n.add("pad", border(0.0), &[x]);
            let c = n.conv("conv", p, &[4, 3, 3, 3], padded(1));
            let r = n.map("relu", c, vec![relu()]);
            let q = n.add("border", border(0.0), &[r]);
            let m = n.add("max", pool(PoolKind::Max), &[q]);
            let s = n.add("frame", border(0.0), &[m]);
            let y = n.add("average", pool(PoolKind::Average), &[s]);
            n.output(y);
        },
        after: "conv+1 pool+0 pool+0",
        tolerance: 0.0,
    },
    Case {
        fusion: "transposes",
        build: |n| {
            let x = n.input("x", &[1, 3, 5, 6]);
            let a = n.add("to_nhwc", permute(&[0, 2, 3, 1]), &[x]);
            let b = n.add("swap", permute(&[0, 2, 1, 3]), &[a]);
            n.output(b);
        },
        after: "transpose+0",
        tolerance: 0.0,
    },
    Case {
        fusion: "reshapes",
        build: |n| {
            let x = n.input("x", &[1, 3, 5, 6]);
            let a = n.add("flat", Reshape { shape: Sizes::from_slice(&[90]) }, &[x]);
            let b = n.add("rows", Reshape { shape: Sizes::from_slice(&[9, 10]) }, &[a]);
            n.output(b);
        },
        after: "reshape+0",
        tolerance: 0.0,
    },
    Case {
        fusion: "sink_transpose",
        build: |n| {
            let x = n.input("x", &[1, 4, 6, 6]);
            let c = n.conv("conv", x, &[4, 4, 3, 3], padded(1));
            let t = n.add("to_nhwc", permute(&[0, 2, 3, 1]), &[c]);
            let b = n.random(&[4]);
            let k = n.random(&[6, 1]);
            let u = n.add("other", permute(&[0, 2, 3, 1]), &[x]);
            let steps = vec![with(Function::Add, b), relu(), with(Function::Mul, k), with(Function::Add, u)];
            let m = n.map("pointwise", t, steps);
            let y = n.add("to_nchw", permute(&[0, 3, 1, 2]), &[m]);
            n.output(y);
        },
        after: "conv+3",
        tolerance: 1e-6,
    },
    Case {
        fusion: "channel_shuffle",
        build: |n| {
            let x = n.input("x", &[2, 6, 3, 3]);
            let a = n.add("split", Reshape { shape: Sizes::from_slice(&[2, 2, 3, 3, 3]) }, &[x]);
            let b = n.add("swap", permute(&[0, 2, 1, 3, 4]), &[a]);
            let c = n.add("merge", Reshape { shape: Sizes::from_slice(&[2, 6, 3, 3]) }, &[b]);
            n.output(c);
        },
        after: "gather+0",
        tolerance: 0.0,
    },
];

fn permute(perm: &[usize]) -> Transpose {
    Transpose { perm: Sizes::from_slice(perm) }
}

fn border(value: f32) -> Pad {
    let edge = Sizes::from_slice(&[0, 0, 1, 1]);
    Pad { mode: PadMode::Constant, before: edge.clone(), after: edge, value }
}

fn pool(kind: PoolKind) -> Pool {
    Pool {
        kind,
        kernel: Sizes::from_slice(&[3, 3]),
        pads: Sizes::new(),
        strides: Sizes::from_slice(&[2, 2]),
        dilations: Sizes::new(),
        ceil: false,
        count_include_pad: false,
    }
}

fn fused(graph: &Graph, without: &str) -> (Graph, Vec<eightfold_passes::Remark>) {
    let rows: Vec<Fusion> = FUSIONS
        .iter()
        .filter(|f| f.name != without)
        .map(|f| Fusion { name: f.name, summary: f.summary, not_with: f.not_with, try_at: f.try_at })
        .collect();
    let options = PassOptions::default();
    let mut cx = PassContext::new(&options);
    let mut after = graph.clone();
    fuse_with(&rows, &mut after, &mut cx);
    (after, cx.remarks().to_vec())
}

#[test]
fn each_fusion_fires_keeps_the_meaning_and_is_needed() {
    for (index, case) in CASES.iter().enumerate() {
        let mut net = Net::new("case");
        (case.build)(&mut net);
        let label = format!("case {index}, {}", case.fusion);
        let (after, remarks) = fused(&net.graph, "");
        assert_eq!(shape_of(&after), case.after, "{label}");
        assert!(
            remarks.iter().any(|r| r.kind == RemarkKind::Fired && r.message == case.fusion),
            "{label}: {remarks:?}"
        );
        let difference = difference(&net.graph, &after);
        assert!(difference <= case.tolerance, "{label}: differs by {difference}");
        let (without, _) = fused(&net.graph, case.fusion);
        assert_ne!(shape_of(&without), case.after, "{label}: the row is not needed");
    }
}

#[test]
fn each_row_has_a_case() {
    for fusion in FUSIONS {
        assert!(CASES.iter().any(|c| c.fusion == fusion.name), "no case for {}", fusion.name);
    }
}

#[test]
fn fusing_unites_origins_and_keeps_the_last_name() {
    let mut net = Net::new("names");
    let x = net.input("x", &[1, 3, 6, 6]);
    let c = net.conv("conv", x, &[4, 3, 3, 3], padded(1));
    let r = net.map("relu", c, vec![relu()]);
    net.output(r);
    let (after, remarks) = fused(&net.graph, "");
    let node = after.nodes().next().unwrap();
    assert_eq!(node.origin.to_string(), r#""conv", "relu""#);
    assert_eq!(after.value(node.output()).name.as_deref(), Some("relu"));
    assert_eq!(remarks[0].to_string(), r#": fired at "conv", "relu": epilogue"#);
}

#[test]
fn a_result_read_twice_takes_no_steps_and_says_so() {
    let mut net = Net::new("shared");
    let x = net.input("x", &[1, 3, 6, 6]);
    let c = net.conv("conv", x, &[4, 3, 3, 3], padded(1));
    let r = net.map("relu", c, vec![relu()]);
    net.output(r);
    net.output(c);
    let (after, remarks) = fused(&net.graph, "");
    assert_eq!(shape_of(&after), "conv+0 map+1");
    assert_eq!(remarks.len(), 1);
    assert_eq!(remarks[0].kind, RemarkKind::Missed);
    assert_eq!(remarks[0].message, r#"epilogue: the result of conv "conv" is read 2 times"#);
}

#[test]
fn a_shift_before_a_padding_convolution_stays_and_a_factor_goes() {
    for (step, steps_left) in [(Function::Add, "map+1 conv+0"), (Function::Mul, "conv+0")] {
        let mut net = Net::new("padded");
        let x = net.input("x", &[1, 3, 6, 6]);
        let t = net.random(&[3, 1, 1]);
        let b = net.map("bn", x, vec![with(step, t)]);
        let c = net.conv("conv", b, &[4, 3, 3, 3], padded(1));
        net.output(c);
        let (after, remarks) = fused(&net.graph, "");
        assert_eq!(shape_of(&after), steps_left);
        assert!(difference(&net.graph, &after) < 1e-5);
        let missed = remarks.iter().any(|r| r.message.contains("the convolution pads with zeros"));
        assert_eq!(missed, step == Function::Add);
    }
}

#[test]
fn a_border_that_can_win_the_maximum_stays() {
    let mut net = Net::new("max");
    let x = net.input("x", &[1, 3, 6, 6]);
    let p = net.add("pad", border(0.0), &[x]);
    let y = net.add("max", pool(PoolKind::Max), &[p]);
    net.output(y);
    let (after, remarks) = fused(&net.graph, "");
    assert_eq!(shape_of(&after), "pad+0 pool+0");
    assert_eq!(remarks[0].message, r#"pad: the border "pad" may be greater than the elements inside"#);
}

#[test]
fn of_a_convolution_and_a_pool_that_meet_the_convolution_takes_the_add() {
    let mut net = Net::new("branches");
    let x = net.input("x", &[1, 4, 7, 7]);
    let mut strided = padded(0);
    strided.strides = Sizes::from_slice(&[2, 2]);
    let c = net.conv("conv", x, &[4, 4, 3, 3], strided);
    let p = net.add("pool", Op::from(pool(PoolKind::Max)), &[x]);
    let a = net.map("add", p, vec![with(Function::Add, c)]);
    net.output(a);
    let (after, _) = fused(&net.graph, "");
    assert_eq!(shape_of(&after), "pool+0 conv+1");
    assert_eq!(difference(&net.graph, &after), 0.0);
}

#[test]
fn a_factor_for_each_channel_is_not_computed_again_at_each_pixel() {
    let mut net = Net::new("squeeze_excite");
    let x = net.input("x", &[1, 4, 6, 6]);
    let s = net.input("s", &[1, 4, 1, 1]);
    let g = net.map("gate", s, vec![Step::unary(Function::Sigmoid)]);
    let y = net.map("mul", x, vec![with(Function::Mul, g)]);
    net.output(y);
    let (after, _) = fused(&net.graph, "");
    assert_eq!(shape_of(&after), "map+1 map+1");
}
