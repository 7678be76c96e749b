//! The verbs in which kernels are written: operations on vectors of any number of lanes, on addresses, and loops.
//!
//! Invariant: nothing outside `vector` and `llvm` names LLVM, so a kernel's generator reads like its algorithm. A verb
//! defines its result, bit for bit the same on every target (no fast-math flag is ever set). This module or an
//! instruction set (`isa`) selects the instructions. It knows neither the algorithms nor their tiles.

mod arithmetic;
mod build;
mod convert;
mod dot;
mod flow;
mod half;
pub(crate) mod isa;
mod lanes;
mod lookup;
mod memory;
mod outline;
mod quantize;

use std::cell::{Cell, RefCell};

use inkwell::AddressSpace;
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::builder::Builder;
use inkwell::context::ContextRef;
use inkwell::module::{Linkage, Module};
use inkwell::types::{BasicType as _, BasicTypeEnum, VectorType};
use inkwell::values::{BasicMetadataValueEnum, BasicValueEnum, FunctionValue, IntValue, PointerValue, VectorValue};

pub(crate) use arithmetic::{Compare, Rounding};
pub(crate) use build::{built, intrinsic};
pub(crate) use flow::{Condition, State};

use crate::target::Target;

/// The element type of a vector's lanes. Integers are neither signed nor unsigned: the operations are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A truth value in a register, the result of a comparison. In memory, truth values are bytes.
    Mask,
    I8,
    I16,
    I32,
    I64,
    F16,
    F32,
    F64,
}

impl Kind {
    /// Bits of a lane.
    pub(crate) fn bits(self) -> usize {
        match self {
            Kind::Mask => 1,
            Kind::I8 => 8,
            Kind::I16 | Kind::F16 => 16,
            Kind::I32 | Kind::F32 => 32,
            Kind::I64 | Kind::F64 => 64,
        }
    }

    /// Bytes of a lane in memory.
    pub(crate) fn bytes(self) -> usize {
        self.bits().div_ceil(8)
    }

    /// Whether lanes are floating-point numbers.
    pub(crate) fn is_float(self) -> bool {
        matches!(self, Kind::F16 | Kind::F32 | Kind::F64)
    }
}

/// An address of any alignment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ptr<'ctx>(PointerValue<'ctx>);

/// A 64-bit integer: an index, or a distance in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Int<'ctx>(IntValue<'ctx>);

/// A vector of `lanes` numbers of one kind. It may be wider than a register.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vector<'ctx> {
    value: VectorValue<'ctx>,
    /// The kind of its lanes.
    pub(crate) kind: Kind,
    /// The number of lanes.
    pub(crate) lanes: usize,
}

/// Emits functions for one target into a module.
#[derive(Debug)]
pub struct Emitter<'m, 'ctx> {
    module: &'m Module<'ctx>,
    context: ContextRef<'ctx>,
    builder: Builder<'ctx>,
    function: Cell<Option<FunctionValue<'ctx>>>,
    constants: RefCell<Vec<(Vec<u8>, Ptr<'ctx>)>>,
    /// Number of registers for which the current function has long code inline.
    long_code: Cell<usize>,
    target: &'static Target,
}

impl<'m, 'ctx> Emitter<'m, 'ctx> {
    /// An emitter of functions for `target`.
    #[must_use]
    pub fn new(module: &'m Module<'ctx>, target: &'static Target) -> Self {
        let context = module.get_context();
        let builder = context.create_builder();
        let (function, constants) = (Cell::new(None), RefCell::new(Vec::new()));
        let long_code = Cell::new(0);
        Emitter { module, context, builder, function, constants, long_code, target }
    }

    /// The target of the code.
    #[must_use]
    pub fn target(&self) -> &'static Target {
        self.target
    }

    /// The module that receives the code.
    #[must_use]
    pub fn module(&self) -> &'m Module<'ctx> {
        self.module
    }

    /// Begins an internal function `void name(ptr, …)` with `pointer_count` pointers, and returns its parameters.
    ///
    /// The first `unaliased` pointers do not alias any other pointer of the function.
    pub(crate) fn function(&self, name: &str, pointer_count: usize, unaliased: usize) -> Vec<Ptr<'ctx>> {
        let pointer = self.context.ptr_type(AddressSpace::default()).as_basic_type_enum();
        let signature = self.context.void_type().fn_type(&vec![pointer.into(); pointer_count], false);
        let function = self.module.add_function(name, signature, Some(Linkage::Internal));
        self.attribute_target(function);
        for name in ["nounwind", "noinline"] {
            self.attribute(function, AttributeLoc::Function, name);
        }
        // LLVM does not align the stack for spilled registers: every other one would span two cache lines.
        let register = self.target.vector_bits as u64 / 8;
        if register > 16 {
            let aligned = Attribute::get_named_enum_kind_id("alignstack");
            function.add_attribute(AttributeLoc::Function, self.context.create_enum_attribute(aligned, register));
        }
        for index in 0..unaliased {
            self.attribute(function, AttributeLoc::Param(index as u32), "noalias");
        }
        self.function.set(Some(function));
        self.long_code.set(0);
        self.builder.position_at_end(self.context.append_basic_block(function, "entry"));
        function.get_param_iter().map(|p| Ptr(p.into_pointer_value())).collect()
    }

    /// Ends the function that [`Emitter::function`] began.
    pub(crate) fn end(&self) -> FunctionValue<'ctx> {
        built(self.builder.build_return(None));
        self.current()
    }

    /// Lets `function` use the target's instructions, independent of the target of the module.
    pub(crate) fn attribute_target(&self, function: FunctionValue<'ctx>) {
        let mut features: Vec<String> = self.target.features.iter().map(|name| format!("+{name}")).collect();
        features.extend(self.isa().tuning().iter().map(|&name| name.to_owned()));
        for (key, value) in [
            ("target-cpu", self.target.arch.baseline),
            ("tune-cpu", self.target.cpu),
            ("target-features", &features.join(",")),
            ("min-legal-vector-width", &self.target.vector_bits.to_string()),
            ("no-builtins", ""),
        ] {
            function.add_attribute(AttributeLoc::Function, self.context.create_string_attribute(key, value));
        }
    }

    fn attribute(&self, function: FunctionValue<'ctx>, place: AttributeLoc, name: &str) {
        let attribute = self.context.create_enum_attribute(Attribute::get_named_enum_kind_id(name), 0);
        function.add_attribute(place, attribute);
    }

    fn current(&self) -> FunctionValue<'ctx> {
        self.function.get().unwrap_or_else(|| unreachable!("a function has been begun"))
    }

    /// 32-bit lanes per register.
    pub(crate) fn lanes(&self) -> usize {
        self.target.lanes()
    }

    /// The address of these constant bytes in the artifact, aligned to 64.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Ptr<'ctx> {
        if let Some((_, pointer)) = self.constants.borrow().iter().find(|(known, _)| known == bytes) {
            return *pointer;
        }
        let value = self.context.const_string(bytes, false);
        let global = self.module.add_global(value.get_type(), None, "bytes");
        global.set_initializer(&value);
        global.set_constant(true);
        global.set_linkage(Linkage::Private);
        global.set_alignment(64);
        let pointer = Ptr(global.as_pointer_value());
        self.constants.borrow_mut().push((bytes.to_vec(), pointer));
        pointer
    }

    fn scalar_type(&self, kind: Kind) -> BasicTypeEnum<'ctx> {
        match kind {
            Kind::Mask => self.context.bool_type().into(),
            Kind::I8 => self.context.i8_type().into(),
            Kind::I16 => self.context.i16_type().into(),
            Kind::I32 => self.context.i32_type().into(),
            Kind::I64 => self.context.i64_type().into(),
            Kind::F16 => self.context.f16_type().into(),
            Kind::F32 => self.context.f32_type().into(),
            Kind::F64 => self.context.f64_type().into(),
        }
    }

    fn vector_type(&self, kind: Kind, lanes: usize) -> VectorType<'ctx> {
        match self.scalar_type(kind) {
            BasicTypeEnum::IntType(t) => t.vec_type(lanes as u32),
            BasicTypeEnum::FloatType(t) => t.vec_type(lanes as u32),
            _ => unreachable!("lanes are integers or floats"),
        }
    }

    /// Wraps the vector that an instruction returned.
    fn vector(&self, value: impl Into<BasicValueEnum<'ctx>>, kind: Kind, lanes: usize) -> Vector<'ctx> {
        let value = value.into().into_vector_value();
        debug_assert_eq!(value.get_type().get_size() as usize, lanes);
        Vector { value, kind, lanes }
    }

    /// Calls an intrinsic; `types` select its overload.
    fn intrinsic(&self, name: &str, types: &[BasicTypeEnum<'ctx>], args: &[Vector<'ctx>]) -> BasicValueEnum<'ctx> {
        let function = self.declared(name, types);
        let args: Vec<BasicMetadataValueEnum> = args.iter().map(|v| v.value.into()).collect();
        built(self.builder.build_call(function, &args, "")).try_as_basic_value().unwrap_basic()
    }

    fn declared(&self, name: &str, types: &[BasicTypeEnum<'ctx>]) -> FunctionValue<'ctx> {
        intrinsic(self.module, name, types)
    }

    /// Calls an intrinsic that works lane by lane on vectors of one type.
    fn lanewise(&self, name: &str, args: &[Vector<'ctx>]) -> Vector<'ctx> {
        let Vector { kind, lanes, .. } = args[0];
        let value = self.intrinsic(name, &[self.vector_type(kind, lanes).into()], args);
        self.vector(value, kind, lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llvm::jit::Jit;
    use crate::llvm::trial;

    #[test]
    fn quantize_clamps_before_it_rounds_and_sends_nan_to_the_least() {
        let reals = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            3e9,
            -3e9,
            0.5,
            1.5,
            2.5,
            -0.5,
            -1.5,
            254.5,
            255.5,
            126.5,
            127.5,
            -128.5,
            -129.5,
            40000.0,
            -40000.0,
            70000.0,
            -70000.0,
            1.0,
            -1.0,
            0.0,
            -0.0,
            100.0,
            -100.0,
            252.4,
            252.5,
            31.0,
            32.0,
            33.0,
            34.0,
        ];
        let ranges = [
            (0, 0, 255, false),
            (3, 1, 255, false),
            (255, 0, 254, false),
            (7, 7, 7, false),
            (0, -128, 127, true),
            (-5, -127, 127, true),
            (127, -100, 100, true),
            (-128, -128, 127, true),
        ];
        let bytes = trial::bytes(&reals, f32::to_le_bytes);
        for target in trial::targets() {
            for (zero_point, min, max, signed) in ranges {
                for lanes in [4, 8, 16, 32] {
                    let left = trial::run(target, &[&bytes, &[0; 32]], |e, p| {
                        for start in (0..32).step_by(lanes) {
                            let x = e.load(e.offset(p[0], 4 * start as isize), Kind::F32, lanes);
                            let q = e.quantize_bytes(x, zero_point, (min, max), signed);
                            e.store(e.offset(p[1], start as isize), q);
                        }
                    });
                    let expected = reals.map(|x| eightfold_ir::quant::quantize(x, 1.0, zero_point, min, max) as u8);
                    assert_eq!(left[1], expected, "{} {zero_point} {min} {max} in {lanes} lanes", target.name);
                }
            }
        }
    }

    #[test]
    fn what_is_spilled_lies_in_one_cache_line() {
        let jit = Jit::default();
        let target = crate::target::TARGETS.iter().find(|target| target.name == "x86-64-v3").expect("a target");
        let compiled = jit.compile_with(target, true, |e| {
            e.function("spills", 1, 0);
            e.end();
            Ok(())
        });
        let assembly = compiled.expect("compiles").assembly;
        assert!(assembly.contains("andq\t$-32, %rsp"), "{assembly}");
    }

    #[test]
    fn loops_carry_state_and_tails_touch_no_byte_behind_them() {
        let jit = Jit::default();
        let compiled = jit.compile_with(Target::native().expect("a target"), false, |e| {
            let p = e.function("sums", 3, 0);
            let count = e.load_int(p[1], Kind::I32, true);
            let vectors = vec![e.zero(Kind::I32, 8)];
            let state = State { pointers: vec![p[0]], vectors, ..State::default() };
            let state = e.carry(count, state, |_, state| {
                let row = e.load_first(state.pointers[0], Kind::I32, 7, 8);
                state.vectors[0] = e.add(state.vectors[0], row);
                state.pointers[0] = e.offset(state.pointers[0], 28);
            });
            e.store_first(p[2], state.vectors[0], 7);
            e.end();
            Ok(())
        });
        let compiled = compiled.expect("compiles");
        let rows: Vec<i32> = (0..21).collect();
        for (count, expected) in [(0i32, [0; 7]), (3, [21, 24, 27, 30, 33, 36, 39])] {
            let mut y = [-1i32; 8];
            let count = [count];
            let pointers = [rows.as_ptr() as *mut u8, count.as_ptr() as *mut u8, y.as_mut_ptr().cast()];
            // SAFETY: three rows of seven are read, seven numbers written.
            unsafe { compiled.run_named("sums", &pointers) };
            assert_eq!((&y[..7], y[7]), (&expected[..], -1));
        }
    }
}
