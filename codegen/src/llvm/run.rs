//! Emits the run function of a variant, which checks the caller's arguments and calls the generated code.
//!
//! Invariant: the generated code, one inner function, runs with checked arguments. If the instruction set can set a
//! floating-point mode, the code runs in the mode that the compiler relies on, and the caller's mode is restored.

use eightfold_runtime::abi;
use eightfold_runtime::status::Status;
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::builder::Builder;
use inkwell::context::ContextRef;
use inkwell::module::{Linkage, Module};
use inkwell::types::{BasicType, FunctionType, StructType};
use inkwell::values::{BasicMetadataValueEnum, BasicValueEnum, FunctionValue, IntValue, PointerValue};
use inkwell::{AddressSpace, IntPredicate};

use crate::interface::{Tensor, Variant};
use crate::target::InstructionSet;
use crate::vector::isa::{self, FloatMode};
use crate::vector::{built, intrinsic};

/// The most outputs whose shapes one function writes. LLVM's time grows with the square of a function's length.
const SHAPES: usize = 64;

/// The fields of `eightfold_call`, by position.
#[derive(Clone, Copy)]
enum CallField {
    StructSize = 0,
    Thread = 1,
    Arena = 2,
    Inputs = 3,
    Outputs = 4,
    OutputShapes = 5,
    Host = 6,
}

/// `eightfold_status (const eightfold_call *)`: the type of a run function and of the inner function.
#[must_use]
pub fn run_type<'ctx>(module: &Module<'ctx>) -> FunctionType<'ctx> {
    let context = module.get_context();
    context.i32_type().fn_type(&[context.ptr_type(AddressSpace::default()).into()], false)
}

/// Reads the fields of the `eightfold_call` that a run function gets.
#[derive(Clone, Copy, Debug)]
pub struct CallFields<'ctx> {
    call: PointerValue<'ctx>,
    layout: StructType<'ctx>,
}

impl<'ctx> CallFields<'ctx> {
    /// The call that is `function`'s only parameter.
    #[must_use]
    pub fn of(module: &Module<'ctx>, function: FunctionValue<'ctx>) -> CallFields<'ctx> {
        let context = module.get_context();
        let (word, pointer) = (context.i32_type(), context.ptr_type(AddressSpace::default()));
        let fields = [word; 2].map(|w| w.as_basic_type_enum());
        let pointers = [pointer; 5].map(|p| p.as_basic_type_enum());
        let layout = context.struct_type(&[&fields[..], &pointers[..]].concat(), false);
        let Some(BasicValueEnum::PointerValue(call)) = function.get_first_param() else {
            unreachable!("a run function takes a pointer to its call")
        };
        CallFields { call, layout }
    }

    /// The call itself.
    #[must_use]
    pub fn pointer(&self) -> PointerValue<'ctx> {
        self.call
    }

    /// The arena's address.
    #[must_use]
    pub fn arena(&self, builder: &Builder<'ctx>) -> PointerValue<'ctx> {
        self.load(builder, CallField::Arena, "arena").into_pointer_value()
    }

    /// The address of input `index`, which may have any alignment.
    #[must_use]
    pub fn input(&self, builder: &Builder<'ctx>, index: u32) -> PointerValue<'ctx> {
        let table = self.load(builder, CallField::Inputs, "inputs").into_pointer_value();
        self.element(builder, table, index, "input")
    }

    /// The address of output `index`, which may have any alignment.
    #[must_use]
    pub fn output(&self, builder: &Builder<'ctx>, index: u32) -> PointerValue<'ctx> {
        let table = self.load(builder, CallField::Outputs, "outputs").into_pointer_value();
        self.element(builder, table, index, "output")
    }

    /// The address of the host, whose functions let threads wait for each other.
    #[must_use]
    pub fn host(&self, builder: &Builder<'ctx>) -> PointerValue<'ctx> {
        self.load(builder, CallField::Host, "host").into_pointer_value()
    }

    /// The number of this thread, as an i32.
    #[must_use]
    pub fn thread(&self, builder: &Builder<'ctx>) -> IntValue<'ctx> {
        self.load(builder, CallField::Thread, "thread").into_int_value()
    }

    fn load(&self, builder: &Builder<'ctx>, field: CallField, name: &str) -> BasicValueEnum<'ctx> {
        let index = field as u32;
        let address = built(builder.build_struct_gep(self.layout, self.call, index, ""));
        let Some(field_type) = self.layout.get_field_type_at_index(index) else {
            unreachable!("the call has a field {index}")
        };
        built(builder.build_load(field_type, address, name))
    }

    /// Pointer `index` of a table of pointers.
    fn element(
        &self,
        builder: &Builder<'ctx>,
        table: PointerValue<'ctx>,
        index: u32,
        name: &str,
    ) -> PointerValue<'ctx> {
        let position = self.layout.get_context().i64_type().const_int(index.into(), false);
        self.element_at(builder, table, position, name)
    }

    /// The pointer at a position of a table. The table must have that position.
    fn element_at(
        &self,
        builder: &Builder<'ctx>,
        table: PointerValue<'ctx>,
        position: IntValue<'ctx>,
        name: &str,
    ) -> PointerValue<'ctx> {
        let pointer = table.get_type();
        // SAFETY: positions are below the number of inputs or outputs, which is the length of the table.
        let address = built(unsafe { builder.build_gep(pointer, table, &[position], "") });
        built(builder.build_load(pointer, address, name)).into_pointer_value()
    }
}

/// Adds the run function `name` of `variant`, which wraps `inner`, a function of type [`run_type`] with a body.
///
/// The function refuses calls that cannot run: null pointers, a misaligned arena, a thread number that is too large,
/// several threads without a host. It sets the floating-point mode, runs `inner`, and restores the caller's mode and
/// exception flags. On the first thread it writes the output shapes if the caller asks for them. `inner` becomes
/// internal and is never inlined: LLVM may move plain float operations across the instructions that change the mode,
/// but not across a call.
pub fn emit_run<'ctx>(
    module: &Module<'ctx>,
    name: &str,
    variant: &Variant,
    instructions: InstructionSet,
    inner: FunctionValue<'ctx>,
) -> FunctionValue<'ctx> {
    inner.set_linkage(Linkage::Internal);
    let noinline = Attribute::get_named_enum_kind_id("noinline");
    let context = module.get_context();
    inner.add_attribute(AttributeLoc::Function, context.create_enum_attribute(noinline, 0));

    let run = module.add_function(name, run_type(module), Some(Linkage::Internal));
    for attribute in inner.attributes(AttributeLoc::Function) {
        let key = attribute.is_string().then(|| attribute.get_string_kind_id().to_owned());
        if key.is_some_and(|key| key == c"target-cpu" || key == c"target-features") {
            run.add_attribute(AttributeLoc::Function, attribute);
        }
    }
    let builder = context.create_builder();
    let call = CallFields::of(module, run);
    let mode = isa::of(instructions).float_mode();
    Wrapper { context, builder, run, call }.emit(module, variant, mode, inner);
    run
}

/// A run function under construction.
struct Wrapper<'ctx> {
    context: ContextRef<'ctx>,
    builder: Builder<'ctx>,
    run: FunctionValue<'ctx>,
    call: CallFields<'ctx>,
}

impl<'ctx> Wrapper<'ctx> {
    fn emit(&self, module: &Module<'ctx>, variant: &Variant, mode: Option<FloatMode>, inner: FunctionValue<'ctx>) {
        let Wrapper { builder, call, .. } = self;
        let invalid = Status::INVALID_ARGUMENT;

        builder.position_at_end(self.context.append_basic_block(self.run, "entry"));
        self.refuse_null(call.call, invalid);
        let size = call.load(builder, CallField::StructSize, "struct_size").into_int_value();
        self.refuse(IntPredicate::ULT, size, size_of::<abi::Call>() as u64, invalid);
        self.refuse(IntPredicate::UGE, call.thread(builder), variant.threads.into(), invalid);
        if variant.workers > 0 {
            self.refuse_null(call.host(builder), Status::UNSUPPORTED_THREADS);
        }
        if variant.arena_size > 0 {
            let arena = call.arena(builder);
            self.refuse_null(arena, invalid);
            let word = self.context.i64_type();
            let address = built(builder.build_ptr_to_int(arena, word, ""));
            let mask = word.const_int(u64::from(variant.arena_align) - 1, false);
            let rest = built(builder.build_and(address, mask, "misalignment"));
            self.refuse(IntPredicate::NE, rest, 0, Status::MISALIGNED_ARENA);
        }
        self.refuse_null_in(CallField::Inputs, variant.inputs.len());
        self.refuse_null_in(CallField::Outputs, variant.outputs.len());

        let callers = mode.map(|mode| self.set_mode(module, mode));
        let ran = built(builder.build_call(inner, &[call.call.into()], "status"));
        for (load, saved) in callers.into_iter().flatten() {
            built(builder.build_call(load, &[saved], ""));
        }
        let word = self.context.i32_type();
        let first =
            built(builder.build_int_compare(IntPredicate::EQ, call.thread(builder), word.const_zero(), "is_first"));
        self.when(first, None, |this| this.write_shapes(module, &variant.outputs));
        let status = ran.try_as_basic_value().unwrap_basic();
        built(builder.build_return(Some(&status)));
    }

    /// Sets the mode that generated code needs. Returns the calls that restore the caller's: functions, each with its
    /// argument.
    fn set_mode(
        &self,
        module: &Module<'ctx>,
        mode: FloatMode,
    ) -> Vec<(FunctionValue<'ctx>, BasicMetadataValueEnum<'ctx>)> {
        let builder = &self.builder;
        match mode {
            FloatMode::Memory { store, load, ours } => {
                let word = self.context.i32_type();
                let [store, load] = [store, load].map(|name| intrinsic(module, name, &[]));
                let saved = built(builder.build_alloca(word, "callers_mode"));
                let our_mode = built(builder.build_alloca(word, "our_mode"));
                built(builder.build_call(store, &[saved.into()], ""));
                built(builder.build_store(our_mode, word.const_int(ours, false)));
                built(builder.build_call(load, &[our_mode.into()], ""));
                vec![(load, saved.into())]
            }
            FloatMode::Registers(registers) => {
                let restored = registers.iter().map(|register| {
                    let [get, set] = [register.get, register.set].map(|name| intrinsic(module, name, &[]));
                    let saved = built(builder.build_call(get, &[], "callers_mode"));
                    let ours = self.context.i64_type().const_int(register.ours, false);
                    built(builder.build_call(set, &[ours.into()], ""));
                    (set, saved.try_as_basic_value().unwrap_basic().into())
                });
                restored.collect()
            }
        }
    }

    /// Returns `status` if the comparison of `value` with `limit` holds.
    fn refuse(&self, predicate: IntPredicate, value: IntValue<'ctx>, limit: u64, status: Status) {
        let limit = value.get_type().const_int(limit, false);
        let bad = built(self.builder.build_int_compare(predicate, value, limit, ""));
        self.when(bad, Some(status), |_| {});
    }

    fn refuse_null(&self, pointer: PointerValue<'ctx>, status: Status) {
        let null = built(self.builder.build_is_null(pointer, ""));
        self.when(null, Some(status), |_| {});
    }

    /// Refuses a null table of `count` pointers, or a null pointer in it.
    fn refuse_null_in(&self, field: CallField, count: usize) {
        let invalid = Status::INVALID_ARGUMENT;
        if count == 0 {
            return;
        }
        let table = self.call.load(&self.builder, field, "table").into_pointer_value();
        self.refuse_null(table, invalid);
        self.repeat(count, |this, index| {
            let element = this.call.element_at(&this.builder, table, index, "tensor");
            this.refuse_null(element, invalid);
        });
    }

    /// Writes the dims of each output whose shape the caller asks for.
    fn write_shapes(&self, module: &Module<'ctx>, outputs: &[Tensor]) {
        let Wrapper { builder, call, .. } = self;
        let shapes = call.load(builder, CallField::OutputShapes, "shapes").into_pointer_value();
        let wanted = built(builder.build_is_not_null(shapes, ""));
        self.when(wanted, None, |this| {
            if outputs.len() <= SHAPES {
                return this.write_shapes_from(shapes, 0, outputs);
            }
            for (part, outputs) in outputs.chunks(SHAPES).enumerate() {
                let pointer = shapes.get_type();
                let signature = this.context.void_type().fn_type(&[pointer.into()], false);
                let function = module.add_function("shapes", signature, Some(Linkage::Internal));
                let within = Wrapper {
                    context: this.context,
                    builder: this.context.create_builder(),
                    run: function,
                    call: *call,
                };
                within.builder.position_at_end(this.context.append_basic_block(function, "entry"));
                let Some(BasicValueEnum::PointerValue(table)) = function.get_first_param() else {
                    unreachable!("the function takes the table of shapes")
                };
                within.write_shapes_from(table, part * SHAPES, outputs);
                built(within.builder.build_return(None));
                built(builder.build_call(function, &[shapes.into()], ""));
            }
        });
    }

    /// Writes the dims of these outputs, the first of which is number `first`.
    fn write_shapes_from(&self, shapes: PointerValue<'ctx>, first: usize, outputs: &[Tensor]) {
        let Wrapper { builder, call, .. } = self;
        for (index, output) in outputs.iter().enumerate() {
            let shape = call.element(builder, shapes, (first + index) as u32, "shape");
            let wanted = built(builder.build_is_not_null(shape, ""));
            self.when(wanted, None, |this| {
                let word = this.context.i64_type();
                for (axis, &dim) in output.dims.iter().enumerate() {
                    let offset = word.const_int(axis as u64, false);
                    // SAFETY: the caller provides memory for `rank` numbers, and the axis is below the rank.
                    let place = built(unsafe { builder.build_gep(word, shape, &[offset], "") });
                    built(builder.build_store(place, word.const_int(dim as u64, false)));
                }
            });
        }
    }

    /// Runs `body` for each index below `count`, which is at least 1. A few iterations are emitted as straight code,
    /// which is shorter than a loop.
    fn repeat(&self, count: usize, body: impl Fn(&Self, IntValue<'ctx>)) {
        const FEW: usize = 4;
        let Wrapper { builder, .. } = self;
        let word = self.context.i64_type();
        if count <= FEW {
            return (0..count).for_each(|index| body(self, word.const_int(index as u64, false)));
        }
        let count = word.const_int(count as u64, false);
        let before = builder.get_insert_block().unwrap_or_else(|| unreachable!("the function has begun"));
        let turn = self.context.append_basic_block(self.run, "turn");
        let after = self.context.append_basic_block(self.run, "after");
        built(builder.build_unconditional_branch(turn));
        builder.position_at_end(turn);
        let index = built(builder.build_phi(word, "index"));
        let this_turn = index.as_basic_value().into_int_value();
        body(self, this_turn);
        let next = built(builder.build_int_add(this_turn, word.const_int(1, false), "next"));
        let end = builder.get_insert_block().unwrap_or_else(|| unreachable!("the function has begun"));
        index.add_incoming(&[(&word.const_zero(), before), (&next, end)]);
        let more = built(builder.build_int_compare(IntPredicate::ULT, next, count, "more"));
        built(builder.build_conditional_branch(more, turn, after));
        builder.position_at_end(after);
    }

    /// Runs `body` if `condition` holds; then returns `status`, or continues if there is no `status`.
    fn when(&self, condition: IntValue<'ctx>, status: Option<Status>, body: impl FnOnce(&Self)) {
        let then = self.context.append_basic_block(self.run, "then");
        let after = self.context.append_basic_block(self.run, "after");
        built(self.builder.build_conditional_branch(condition, then, after));
        self.builder.position_at_end(then);
        body(self);
        match status {
            Some(status) => {
                let code = self.context.i32_type().const_int(status.0 as u64, true);
                built(self.builder.build_return(Some(&code)));
            }
            None => {
                built(self.builder.build_unconditional_branch(after));
            }
        }
        self.builder.position_at_end(after);
    }
}

#[cfg(test)]
mod tests {
    use eightfold_runtime::features::FeatureSet;
    use inkwell::context::Context;

    use super::*;
    use crate::llvm::barrier::emit_waiting;

    #[test]
    fn only_an_instruction_set_that_has_them_pauses_and_sets_the_mode() {
        let variant = Variant {
            target: String::new(),
            features: FeatureSet::EMPTY,
            threads: 2,
            workers: 1,
            arena_size: 0,
            arena_align: 64,
            inputs: vec![],
            outputs: vec![],
        };
        let context = Context::create();
        for (instructions, has) in [(InstructionSet::Generic, false), (InstructionSet::X86, true)] {
            let module = context.create_module("run");
            emit_waiting(&module, instructions, "wait");
            let inner = module.add_function("inner", run_type(&module), None);
            emit_run(&module, "run", &variant, instructions, inner);
            let text = module.print_to_string().to_string();
            let found = ["sse2.pause", "sse.stmxcsr", "sse.ldmxcsr"].map(|name| text.contains(name));
            assert_eq!(found, [has; 3], "{text}");
        }
    }
}
