//! Objects call only memcpy, memset and memmove: every operator, function and type on every target.

use eightfold_codegen::schedule::ScheduleContext;
use eightfold_ir::op::conv_transpose::ConvTranspose;
use eightfold_ir::op::cumsum::CumSum;
use eightfold_ir::op::dequantize_linear::DequantizeLinear;
use eightfold_ir::op::expand::Expand;
use eightfold_ir::op::quantize_linear::QuantizeLinear;
use eightfold_ir::op::relayout::{Order, Relayout};

use super::*;

/// Types that elementwise kernels support.
const TYPES: [DType; 12] = [
    DType::F32,
    DType::F16,
    DType::Bf16,
    DType::I8,
    DType::U8,
    DType::I16,
    DType::U16,
    DType::I32,
    DType::U32,
    DType::I64,
    DType::U64,
    DType::Bool,
];

/// Operators on a tensor of shape 1 x 3 x 4 x 5 that need no other operand.
fn operators() -> Vec<Op> {
    let pool = |kind| Pool {
        kind,
        kernel: [2, 3].as_slice().into(),
        pads: Default::default(),
        strides: Default::default(),
        dilations: Default::default(),
        ceil: false,
        count_include_pad: false,
    };
    let reduce = |kind| Reduce { kind, axes: [1, 3].as_slice().into(), keepdims: true };
    let resize = |mode| Resize {
        mode,
        coordinates: Coordinates::HalfPixel,
        nearest: NearestMode::Floor,
        sizes: [1, 3, 8, 7].as_slice().into(),
        scales: Default::default(),
    };
    let pad =
        |mode| Pad { mode, before: [0, 0, 1, 2].as_slice().into(), after: [0, 0, 2, 1].as_slice().into(), value: 1.0 };
    let slice = Slice {
        starts: [0, 2, 0, 1].as_slice().into(),
        sizes: [1, 3, 2, 4].as_slice().into(),
        steps: [1, -1, 2, 1].as_slice().into(),
    };
    let kinds = [
        ReduceKind::Sum,
        ReduceKind::Mean,
        ReduceKind::Max,
        ReduceKind::Min,
        ReduceKind::Prod,
        ReduceKind::SumSquare,
        ReduceKind::SumAbs,
    ];
    let mut operators: Vec<Op> = kinds.map(|kind| reduce(kind).into()).into();
    operators.extend([PoolKind::Max, PoolKind::Average, PoolKind::Sum].map(|kind| Op::from(pool(kind))));
    operators.extend([PadMode::Constant, PadMode::Edge, PadMode::Reflect].map(|mode| Op::from(pad(mode))));
    operators.extend([ResizeMode::Nearest, ResizeMode::Linear].map(|mode| Op::from(resize(mode))));
    operators.extend([Map {}.into(), slice.into(), Relayout { to: Order::Nhwc }.into(), DequantizeLinear {}.into()]);
    operators.extend([Transpose { perm: [3, 1, 0, 2].as_slice().into() }.into(), Concat { axis: 1 }.into()]);
    operators.extend([Reshape { shape: [12, 5].as_slice().into() }.into(), Softmax { axis: 1 }.into()]);
    operators.extend([Expand { shape: [2, 3, 4, 5].as_slice().into() }.into(), Softmax { axis: 3 }.into()]);
    operators.extend([1, 3].map(|axis| Op::from(CumSum { axis, exclusive: axis == 1, reverse: axis == 3 })));
    operators.extend([DType::U8, DType::I16, DType::I32].map(|to| Op::from(QuantizeLinear { to })));
    operators
}

impl Case {
    /// Adds a node as an output, if the operator accepts the operands.
    fn try_output(&mut self, op: &Op, operands: &[ValueId], steps: Vec<Step>) {
        let half_softmax = matches!(op, Op::Softmax(_)) && self.graph.ty(operands[0]).dtype.bits() == 16;
        let quant = match op {
            Op::QuantizeLinear(quantize) => self.q(quantize.to, 0.5, 0),
            _ => None,
        };
        let operands: Vec<_> = operands.iter().copied().map(Some).collect();
        let epilogue = Epilogue::new(steps);
        if half_softmax || self.graph.infer(op, &operands, &epilogue).is_err() {
            return;
        }
        let y = self.graph.add_node("", op.clone(), &operands, epilogue, quant, Origin::of("case"));
        self.output(y.expect("just inferred"));
    }

    /// One output per operator on `x`.
    fn every_operator(&mut self, x: ValueId) {
        operators().iter().for_each(|op| self.try_output(op, &[x], vec![]));
        let indices = self.input(&format!("i{}", x.index()), DType::I64, &[2], None);
        self.try_output(&Gather { axis: 3 }.into(), &[x, indices], vec![]);
        let dtype = self.graph.ty(x).dtype;
        if matches!(dtype, DType::F32 | DType::Bf16 | DType::U8 | DType::I8) {
            let w = self.random(dtype, &[4, 3, 2, 2], None);
            let depthwise = self.random(dtype, &[3, 1, 2, 2], None);
            let (constant, variable) =
                (self.random(dtype, &[5, 6], None), self.input(&format!("w{}", x.index()), dtype, &[5, 6], None));
            let conv = conv_op(CONVS[0]);
            self.try_output(&conv.clone().into(), &[x, w], vec![]);
            self.try_output(&Conv { group: 3, ..conv.clone() }.into(), &[x, depthwise], vec![]);
            let (pads, dilations, output_padding) = Default::default();
            let strides = [2, 1].as_slice().into();
            self.try_output(
                &ConvTranspose { pads, strides, dilations, output_padding, group: 1 }.into(),
                &[x, w],
                vec![],
            );
            self.try_output(&MatMul {}.into(), &[x, constant], vec![]);
            self.try_output(&MatMul {}.into(), &[x, variable], vec![]);
        }
    }

    /// One output per function on `x`.
    fn every_function(&mut self, x: ValueId, truth: ValueId) {
        for function in Function::ALL.iter().copied() {
            let args: Vec<Arg> = match (function, function.arity()) {
                (Function::Select, _) => vec![Arg::Value(truth), Arg::Current, Arg::Value(x)],
                (_, 1) => vec![Arg::Current],
                (_, 2) => vec![Arg::Current, Arg::Value(x)],
                _ => vec![Arg::Current, Arg::Value(x), Arg::Current],
            };
            self.try_output(&Map {}.into(), &[x], vec![Step::Apply(function, args.into_iter().collect())]);
        }
    }

    /// Outputs of conversions from the type of `x` to every other type and back, in one chain.
    fn every_cast(&mut self, x: ValueId) {
        let own = self.graph.ty(x).dtype;
        let steps = TYPES.into_iter().flat_map(|to| [Step::Cast(to), Step::Cast(own)]).collect();
        self.try_output(&Map {}.into(), &[x], steps);
    }
}

#[test]
fn no_operator_function_or_type_calls_a_library_on_any_target() {
    for dtype in TYPES {
        let mut case = Case::new(&format!("symbols_{dtype}"));
        let quant = matches!(dtype, DType::U8 | DType::I8).then(|| case.q(dtype, 0.5, 3)).flatten();
        let x = case.input_nhwc("x", dtype, &[1, 3, 4, 5], quant);
        let line = case.input("line", dtype, &[9], None);
        let truth = case.input("truth", DType::Bool, &[9], None);
        case.every_operator(x);
        case.every_function(line, truth);
        case.every_cast(line);
        let outputs = case.graph.outputs().len();
        assert!(outputs > 12, "{dtype}: {outputs} outputs");
        for target in TARGETS {
            let program = lower_and_schedule(
                eightfold_ir::verify(&case.graph).expect("verifies"),
                target,
                &ScheduleContext::of(&Choices::default()),
            );
            let program = program.expect("lowers");
            let interface = Interface {
                name: case.graph.name.clone(),
                symbol_prefix: "model".to_owned(),
                provenance: String::new(),
                variants: vec![Variant::of(&case.graph, &program)],
            };
            let compiled = compile(&[program], &interface, Listings::default()).expect("compiles");
            calls_no_library(compiled.object.code(), target);
        }
    }
}
