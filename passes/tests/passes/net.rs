//! Builds small graphs with random constants, and compares their results.

use eightfold_ir::op::conv::Conv;
use eightfold_ir::op::map::Map;
use eightfold_ir::op::matmul::MatMul;
use eightfold_ir::{DType, Epilogue, Graph, Node, Op, Origin, Shape, Step, Tensor, TensorType, ValueId, eval};
use eightfold_passes::{Outcome, PassOptions, Pipeline};

/// A graph under construction.
pub(crate) struct Net {
    pub(crate) graph: Graph,
    seed: u64,
}

impl Net {
    pub(crate) fn new(name: &str) -> Self {
        Net { graph: Graph::new(name), seed: 1 }
    }

    pub(crate) fn input(&mut self, name: &str, shape: &[usize]) -> ValueId {
        self.graph.add_input(name, TensorType::new(DType::F32, Shape::new(shape)))
    }

    /// Adds a constant with numbers between -1 and 1.
    pub(crate) fn random(&mut self, shape: &[usize]) -> ValueId {
        self.seed += 1;
        let tensor = random(self.seed, shape);
        self.graph.add_const("", tensor, None)
    }

    pub(crate) fn constant(&mut self, shape: &[usize], numbers: &[f32]) -> ValueId {
        self.graph.add_const("", Tensor::f32(shape, numbers), None)
    }

    /// Adds an operator. `name` is the node's origin and the name of its output.
    pub(crate) fn add(&mut self, name: &str, op: impl Into<Op>, operands: &[ValueId]) -> ValueId {
        let operands: Vec<_> = operands.iter().copied().map(Some).collect();
        self.graph.add(name, op, &operands, Origin::of(name)).unwrap()
    }

    /// Adds a convolution with random weights and bias.
    pub(crate) fn conv(&mut self, name: &str, x: ValueId, weights: &[usize], conv: Conv) -> ValueId {
        let (w, b) = (self.random(weights), self.random(&weights[..1]));
        self.add(name, conv, &[x, w, b])
    }

    /// Adds a matrix product with random weights and no bias.
    pub(crate) fn matmul(&mut self, name: &str, x: ValueId, weights: &[usize]) -> ValueId {
        let w = self.random(weights);
        self.add(name, MatMul {}, &[x, w])
    }

    /// Adds a pointwise operator in the importer's form.
    pub(crate) fn map(&mut self, name: &str, x: ValueId, steps: Vec<Step>) -> ValueId {
        self.graph.add_node(name, Map {}, &[Some(x)], Epilogue::new(steps), None, Origin::of(name)).unwrap()
    }

    pub(crate) fn output(&mut self, value: ValueId) {
        let name = format!("out{}", self.graph.outputs().len());
        self.graph.add_output(&name, value);
    }
}

/// Returns a convolution with these pads on both spatial axes.
pub(crate) fn padded(pad: usize) -> Conv {
    Conv { pads: [pad; 4].into_iter().collect(), strides: Default::default(), dilations: Default::default(), group: 1 }
}

/// Returns numbers between -1 and 1 (xorshift64*).
pub(crate) fn random(seed: u64, shape: &[usize]) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let numbers: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            let bits = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
            bits as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::f32(shape, &numbers)
}

/// Returns random inputs for a graph with float inputs.
pub(crate) fn inputs(graph: &Graph, seed: u64) -> Vec<Tensor> {
    let tensor = |(i, id): (usize, &ValueId)| random(seed * 100 + i as u64, &graph.ty(*id).shape);
    graph.inputs().iter().enumerate().map(tensor).collect()
}

/// Runs passes on a copy of the graph.
pub(crate) fn run(graph: &Graph, passes: &[&str], options: &PassOptions) -> (Graph, Outcome) {
    let mut after = graph.clone();
    let outcome = Pipeline::new(passes).unwrap().run(&mut after, options, &mut |_, _| {}).unwrap();
    (after, outcome)
}

/// Returns the greatest difference between the results of two graphs on random inputs; 0 if all bits agree.
pub(crate) fn difference(before: &Graph, after: &Graph) -> f32 {
    let mut worst = 0.0_f32;
    for seed in 1..4 {
        let x = inputs(before, seed);
        let (a, b) = (eval(before, &x).unwrap(), eval(after, &x).unwrap());
        for (a, b) in a.iter().zip(&b) {
            assert_eq!((a.dtype(), a.shape()), (b.dtype(), b.shape()));
            if a.bytes() == b.bytes() {
                continue;
            }
            let numbers = |t: &Tensor| match t.data() {
                eightfold_ir::Data::Float(v) => v,
                eightfold_ir::Data::Int(v) => v.iter().map(|x| *x as f32).collect(),
            };
            let pairs = numbers(a).into_iter().zip(numbers(b));
            let greatest = pairs.map(|(a, b)| (a - b).abs()).fold(f32::MIN_POSITIVE, f32::max);
            worst = worst.max(greatest);
        }
    }
    worst
}

/// Returns the names of the operators in topological order, each with its number of steps.
pub(crate) fn shape_of(graph: &Graph) -> String {
    let word = |n: &Node| format!("{}+{}", n.op.name(), n.epilogue.steps.len());
    graph.nodes().map(word).collect::<Vec<_>>().join(" ")
}
