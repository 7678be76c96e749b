//! Exports the steps of an epilogue, each as one or several nodes.

use eightfold_ir::{Arg, DType, Data, Epilogue, Function, Node, Shape, Step, Tensor, ValueId, epilogue};

use super::operator::storable;
use super::{Call, Exporter, Inexpressible, inexpressible};
use crate::onnx::model::Attribute;

/// Functions whose arguments after the first are attributes in ONNX, with the names of the attributes.
const WITH_ATTRIBUTES: &[(Function, &str, &[&str])] = &[
    (Function::Elu, "Elu", &["alpha"]),
    (Function::HardSigmoid, "HardSigmoid", &["alpha", "beta"]),
    (Function::LeakyRelu, "LeakyRelu", &["alpha"]),
];

/// Functions with an ONNX operator that takes the same operands, but has further operands or attributes.
const RENAMED: &[(Function, &str)] = &[
    (Function::Gelu, "Gelu"),
    (Function::Max, "Max"),
    (Function::Min, "Min"),
    (Function::Mod, "Mod"),
    (Function::Pow, "Pow"),
];

impl Exporter<'_> {
    /// Writes the steps of a node after `current` and returns the last output's name.
    pub(super) fn steps(&mut self, node: &Node, mut current: String) -> Result<String, Inexpressible> {
        if node.epilogue.is_empty() {
            return Ok(current);
        }
        let graph = self.graph;
        let produced = graph.infer(&node.op, &node.operands, &Epilogue::none());
        let produced = produced.map_err(|error| inexpressible(error.to_string()))?;
        let mut ty = (produced[0].dtype, produced[0].shape.clone());
        let operand = |id: ValueId| (graph.ty(id).dtype, graph.ty(id).shape.clone());
        for step in &node.epilogue.steps {
            current = self.step(step, current, ty.0)?;
            ty = epilogue::infer(step, ty, &operand).map_err(|error| inexpressible(error.to_string()))?;
        }
        Ok(current)
    }

    fn step(&mut self, step: &Step, x: String, dtype: DType) -> Result<String, Inexpressible> {
        match step {
            Step::Apply(function, args) => self.apply(*function, args, x, dtype),
            Step::Cast(to) => Ok(self.cast(x, *to)),
            Step::Dequantize { scale, zero_point } => self.dequantized(x, dtype, *scale, *zero_point),
            Step::Quantize { dtype: to, scale, zero_point, min, max } => {
                storable(*to)?;
                if *to == DType::I32 {
                    return Err(inexpressible("ONNX quantizes to at most 16 bits, not to i32"));
                }
                let operands = vec![x, self.float(*scale), self.int(*to, i64::from(*zero_point))];
                let y = self.call(Call::new("QuantizeLinear", operands));
                if to.storage_range() == Some((*min, *max)) {
                    return Ok(y);
                }
                let bounds = [*min, *max].map(|bound| self.int(*to, i64::from(bound)));
                Ok(self.call(Call::new("Clip", [y].into_iter().chain(bounds).collect())))
            }
            Step::Table(table) => {
                let mut index = self.cast(x, DType::I32);
                if dtype == DType::I8 {
                    let entries = self.int(DType::I32, 256);
                    index = self.call(Call::new("Mod", vec![index, entries]));
                }
                let table = self.value(*table);
                Ok(self.call(Call::new("Gather", vec![table, index])))
            }
        }
    }

    fn cast(&mut self, x: String, to: DType) -> String {
        self.call(Call::new("Cast", vec![x]).with("to", Attribute::Int(i64::from(to.onnx()))))
    }

    fn float(&mut self, x: f32) -> String {
        self.constant(Tensor::f32(&[], &[x]))
    }

    fn int(&mut self, dtype: DType, x: i64) -> String {
        self.constant(Tensor::int(dtype, &[], &[x]))
    }

    /// `f32(x - zero_point) * scale`
    fn dequantized(&mut self, x: String, dtype: DType, scale: f32, zero_point: i32) -> Result<String, Inexpressible> {
        let scale = self.float(scale);
        if dtype == DType::I32 && zero_point == 0 {
            return Ok(self.call(Call::new("DequantizeLinear", vec![x, scale])));
        }
        storable(dtype)?;
        if dtype == DType::I32 {
            let zero_point = self.int(dtype, i64::from(zero_point));
            let less = self.call(Call::new("Sub", vec![x, zero_point]));
            let real = self.cast(less, DType::F32);
            return Ok(self.call(Call::new("Mul", vec![real, scale])));
        }
        let zero_point = self.int(dtype, i64::from(zero_point));
        Ok(self.call(Call::new("DequantizeLinear", vec![x, scale, zero_point])))
    }

    fn apply(&mut self, function: Function, args: &[Arg], x: String, dtype: DType) -> Result<String, Inexpressible> {
        if let Some((_, op_type, names)) = WITH_ATTRIBUTES.iter().find(|(f, ..)| *f == function) {
            let mut call = Call::new(op_type, vec![x]);
            for (name, arg) in names.iter().zip(&args[1..]) {
                let Arg::Float(number) = arg else {
                    return Err(inexpressible(format!("{name} of {} is a tensor", function.name())));
                };
                call = call.with(name, Attribute::Float(*number));
            }
            if args[0] != Arg::Current {
                return Err(inexpressible(format!("{} of a tensor beside it", function.name())));
            }
            return Ok(self.call(call));
        }
        let of_arg = |this: &mut Self, arg: &Arg| this.argument(arg, &x, dtype, function);
        let mut operands = args.iter().map(|arg| of_arg(self, arg)).collect::<Result<Vec<_>, _>>()?;
        if function == Function::Silu {
            let sigmoid = self.call(Call::new("Sigmoid", operands.clone()));
            operands.push(sigmoid);
            return Ok(self.call(Call::new("Mul", operands)));
        }
        if function == Function::Prelu && args[0] != Arg::Current {
            // ONNX broadcasts the slope to the operand, but not vice versa.
            let shape = self.call(Call::new("Shape", vec![x.clone()]));
            operands[0] = self.call(Call::new("Expand", vec![operands[0].clone(), shape]));
        }
        if function == Function::Clip {
            let scalar = |arg: &Arg| match arg {
                Arg::Value(id) => self.graph.ty(*id).shape.rank() == 0,
                Arg::Float(_) | Arg::Int(_) => true,
                _ => false,
            };
            if args[0] == Arg::Current && args[1..].iter().all(scalar) {
                return Ok(self.call(Call::new("Clip", operands)));
            }
            let [x, low, high]: [String; 3] =
                operands.try_into().map_err(|_| inexpressible("clip takes 3 arguments"))?;
            let above = self.call(Call::new("Max", vec![x, low]));
            return Ok(self.call(Call::new("Min", vec![above, high])));
        }
        let named = RENAMED.iter().find(|(f, _)| *f == function).map_or(function.onnx(), |(_, op_type)| op_type);
        if named.is_empty() {
            return Err(inexpressible(format!("{} has no operator in ONNX", function.name())));
        }
        let mut call = Call::new(named, operands);
        if function == Function::Mod && dtype.is_float() {
            call = call.with("fmod", Attribute::Int(1));
        }
        Ok(self.call(call))
    }

    fn argument(&mut self, arg: &Arg, x: &str, dtype: DType, function: Function) -> Result<String, Inexpressible> {
        // A literal takes the type of the operand; beside a boolean, the type of the literal's kind.
        let float = if function == Function::Select { DType::F32 } else { dtype };
        let literal = |dtype: DType, data: Data| Tensor::from_array(dtype, Shape::scalar(), &data);
        match arg {
            Arg::Current => Ok(x.to_owned()),
            Arg::Value(id) => Ok(self.value(*id)),
            Arg::Dequantized { value, scale, zero_point } => {
                let name = self.value(*value);
                self.dequantized(name, self.graph.ty(*value).dtype, *scale, *zero_point)
            }
            Arg::Float(number) => Ok(self.constant(literal(float, Data::Float(vec![*number])))),
            Arg::Int(number) => Ok(self.constant(literal(dtype, Data::Int(vec![*number])))),
        }
    }
}
