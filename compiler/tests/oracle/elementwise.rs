//! Elementwise functions with broadcasting.

use proptest::prelude::*;

use crate::drawn::{broadcast, floats, positive, shape, truths};
use crate::node::{Node, Value};

/// Transcendental functions, which tract approximates differently.
const CLOSE: f64 = 1e-5;

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn unary(shape in shape(1..=3), seed: u64) {
        for op_type in ["Abs", "Ceil", "Floor", "Neg", "Relu", "Round", "Sign", "Softsign", "Reciprocal", "Sqrt"] {
            Node::new(op_type).reads(floats(&shape, seed)).agrees(5e-7)?;
        }
        for op_type in ["Atan", "Cos", "Erf", "Exp", "HardSwish", "Log", "Sigmoid", "Sin", "Softplus", "Tanh", "Mish"] {
            let opset = if op_type == "Mish" { 18 } else { 17 };
            Node::new(op_type).opset(opset).reads(floats(&shape, seed)).agrees(CLOSE)?;
        }
        Node::new("Not").reads(truths(&shape, seed)).agrees(0.0)?;
        Node::new("Identity").reads(floats(&shape, seed)).agrees(0.0)?;
        Node::new("Dropout").reads(floats(&shape, seed)).agrees(0.0)?;
    }

    #[test]
    fn binary((a, b) in broadcast(), seed: u64, swap: bool) {
        let (a, b) = if swap { (b, a) } else { (a, b) };
        let (x, y) = (floats(&a, seed), floats(&b, seed ^ 1));
        for op_type in ["Add", "Sub", "Mul", "Div", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"] {
            Node::new(op_type).reads(x.clone()).reads(y.clone()).agrees(5e-7)?;
            Node::new(op_type).reads(x.clone()).constant(y.clone()).agrees(5e-7)?;
        }
        for op_type in ["And", "Or", "Xor"] {
            Node::new(op_type).reads(truths(&a, seed)).reads(truths(&b, seed ^ 1)).agrees(0.0)?;
        }
        Node::new("Pow").reads(positive(&a, seed)).reads(y.clone()).agrees(CLOSE)?;
        // tract gives the remainder the divisor's sign if the dividend is negative, and swaps operands that broadcast.
        let (dividend, divisor) = (positive(&a, seed ^ 4), positive(&a, seed ^ 5));
        Node::new("Mod").with("fmod", Value::Int(1)).reads(dividend).reads(divisor).agrees(0.0)?;
        // With many operands, tract requires all to have the same rank.
        let widened = |shape: &[usize]| [vec![1; a.len().max(b.len()) - shape.len()], shape.to_vec()].concat();
        let (wide, other) = (floats(&widened(&a), seed), floats(&widened(&b), seed ^ 1));
        for op_type in ["Max", "Min", "Mean", "Sum"] {
            let third = positive(&widened(&a), seed ^ 2);
            Node::new(op_type).reads(wide.clone()).reads(other.clone()).constant(third).agrees(1e-6)?;
        }
        let when = truths(&a, seed ^ 3);
        Node::new("Where").reads(when).reads(x.clone()).reads(y.clone()).agrees(0.0)?;
    }

    #[test]
    fn slopes(shape in shape(2..=4), seed: u64, shared: bool) {
        let mut slope = vec![1; shape.len() - 1];
        slope[0] = if shared { 1 } else { shape[1] };
        Node::new("PRelu").reads(floats(&shape, seed)).constant(floats(&slope, seed ^ 1)).agrees(0.0)?;
    }

    #[test]
    fn functions_with_numbers(shape in shape(1..=3), seed: u64, alpha in 0.1_f32..2.0, beta in -1.0_f32..1.0) {
        let node = |op_type| Node::new(op_type).with("alpha", Value::Float(alpha)).reads(floats(&shape, seed));
        for op_type in ["Elu", "LeakyRelu", "ThresholdedRelu"] {
            node(op_type).agrees(CLOSE)?;
        }
        // With another alpha, tract has another left limit than ONNX.
        Node::new("Celu").with("alpha", Value::Float(1.0)).reads(floats(&shape, seed)).agrees(CLOSE)?;
        for form in ["none", "tanh"] {
            let gelu = Node::new("Gelu").opset(20).with("approximate", Value::Text(form));
            gelu.reads(floats(&shape, seed)).agrees(CLOSE)?;
        }
        node("HardSigmoid").with("beta", Value::Float(beta)).agrees(CLOSE)?;
        node("Selu").with("gamma", Value::Float(1.5)).agrees(CLOSE)?;
        let bound = |x: f32| eightfold_ir::Tensor::f32(&[], &[x]);
        Node::new("Clip").reads(floats(&shape, seed)).constant(bound(beta)).constant(bound(beta + alpha)).agrees(0.0)?;
        Node::new("Clip").reads(floats(&shape, seed)).none().constant(bound(alpha)).agrees(0.0)?;
        let old = Node::new("Clip").opset(7).with("min", Value::Float(beta)).with("max", Value::Float(beta + alpha));
        old.reads(floats(&shape, seed)).agrees(0.0)?;
    }

    #[test]
    fn casts(shape in shape(1..=3), seed: u64) {
        for to in [1, 7, 9] {
            Node::new("Cast").with("to", Value::Int(to)).reads(floats(&shape, seed)).agrees(0.0)?;
            Node::new("Cast").with("to", Value::Int(to)).reads(truths(&shape, seed)).agrees(0.0)?;
        }
    }
}
