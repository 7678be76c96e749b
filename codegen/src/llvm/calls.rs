//! Emits the items of a program into functions of bounded length.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::builder::Builder;
use inkwell::module::Linkage;
use inkwell::values::{BasicMetadataValueEnum, BasicValue as _, FunctionValue, IntValue, PointerValue};
use inkwell::{AddressSpace, IntPredicate};

use super::kernel;
use super::run::CallFields;
use crate::kernel::Call;
use crate::program::{BufferKind, For, If, Item, Program, calls, views};
use crate::vector::{Emitter, built};
use crate::view::{BufferId, ConstId, LoopId, Storage, View};

/// The most calls in one function, unless a single loop has more. LLVM's time grows with the square of a function's
/// length.
const CALLS: usize = 256;

/// Where the constants of a program lie.
pub(crate) struct Constants<'ctx> {
    /// The address of all constants.
    pub(crate) base: PointerValue<'ctx>,
    /// For each constant, its offset from `base` in bytes.
    pub(crate) offsets: Vec<usize>,
}

/// Emits the items of a program, and the functions that they call.
pub(super) struct Calls<'a, 'm, 'ctx> {
    emitter: &'a Emitter<'m, 'ctx>,
    program: &'a Program,
    symbol: &'a str,
    constants: Constants<'ctx>,
    /// The kernel of each geometry. The key is a text, as a geometry has floats, which cannot be ordered.
    kernels: RefCell<BTreeMap<String, FunctionValue<'ctx>>>,
    /// For gathers with positions that are known at run time only: the functions that check them and write a status.
    checks: RefCell<BTreeMap<(String, usize), FunctionValue<'ctx>>>,
    /// The number of functions that hold items, so far.
    outlined: Cell<usize>,
}

/// Where items are emitted: in a function whose parameters give access to the caller's memory.
struct Place<'b, 'ctx> {
    builder: &'b Builder<'ctx>,
    function: FunctionValue<'ctx>,
    /// Addresses of the caller's memory that the function has loaded.
    bases: BTreeMap<Base, PointerValue<'ctx>>,
    /// The address of the status word, if there are checks.
    status: Option<PointerValue<'ctx>>,
}

/// The current turn of each loop around an item.
type Turns<'ctx> = Vec<(LoopId, IntValue<'ctx>)>;

impl<'a, 'm, 'ctx> Calls<'a, 'm, 'ctx> {
    pub(super) fn new(
        emitter: &'a Emitter<'m, 'ctx>,
        program: &'a Program,
        symbol: &'a str,
        constants: Constants<'ctx>,
    ) -> Self {
        let (kernels, checks, outlined) = (RefCell::default(), RefCell::default(), Cell::new(0));
        Calls { emitter, program, symbol, constants, kernels, checks, outlined }
    }

    /// Whether the program has positions that must be checked at run time.
    pub(super) fn has_checks(&self) -> bool {
        self.program.calls().into_iter().any(|call| call.producer.def().unchecked_positions(call).is_some())
    }

    /// Emits these items, in order, at the position of `builder`: in place, or in functions of at most [`CALLS`] calls
    /// each. `status` is the address of the status word, if there are checks.
    pub(super) fn emit(
        &self,
        builder: &Builder<'ctx>,
        fields: &CallFields<'ctx>,
        status: Option<PointerValue<'ctx>>,
        items: &[&Item],
    ) {
        let parts = parts(items);
        if parts.len() <= 1 {
            return self.in_place(builder, fields, status, items);
        }
        let module = self.emitter.module();
        let context = module.get_context();
        let pointer = context.ptr_type(AddressSpace::default());
        let signature = context.void_type().fn_type(&[pointer.into(); 2], false);
        for part in parts {
            let number = self.outlined.replace(self.outlined.get() + 1);
            let name = format!("{}_calls_{number}", self.symbol);
            let function = module.add_function(&name, signature, Some(Linkage::Internal));
            self.emitter.attribute_target(function);
            ["nounwind", "noinline"].iter().for_each(|name| attribute(function, name));
            let within = context.create_builder();
            within.position_at_end(context.append_basic_block(function, "entry"));
            let word = status.and_then(|_| function.get_nth_param(1)).map(|word| word.into_pointer_value());
            self.in_place(&within, &CallFields::of(module, function), word, part);
            built(within.build_return(None));
            let status = status.unwrap_or_else(|| pointer.const_null());
            built(builder.build_call(function, &[fields.pointer().into(), status.into()], ""));
        }
    }

    fn in_place(
        &self,
        builder: &Builder<'ctx>,
        fields: &CallFields<'ctx>,
        status: Option<PointerValue<'ctx>>,
        items: &[&Item],
    ) {
        let mut bases = BTreeMap::new();
        for view in items.iter().flat_map(|item| views(std::slice::from_ref(*item))) {
            let Some(base) = self.base(view) else { continue };
            bases.entry(base).or_insert_with(|| match base {
                Base::Input(index) => fields.input(builder, index as u32),
                Base::Output(index) => fields.output(builder, index as u32),
                Base::Arena => fields.arena(builder),
            });
        }
        let block = builder.get_insert_block().and_then(|block| block.get_parent());
        let function = block.unwrap_or_else(|| unreachable!("the builder stands in a function"));
        let place = Place { builder, function, bases, status };
        let mut turns = Turns::new();
        items.iter().for_each(|item| self.item(&place, &mut turns, item));
    }

    fn item(&self, place: &Place<'_, 'ctx>, turns: &mut Turns<'ctx>, item: &Item) {
        match item {
            Item::Call(call) => self.call(place, turns, call),
            Item::For(each) => self.repeat(place, turns, each),
            Item::If(branch) => self.branch(place, turns, branch),
            Item::Parallel(_) => unreachable!("the verifier lets parallel regions stand in no other"),
        }
    }

    fn call(&self, place: &Place<'_, 'ctx>, turns: &Turns<'ctx>, call: &Call) {
        let builder = place.builder;
        if let (Some(unchecked), Some(word)) = (call.producer.def().unchecked_positions(call), place.status) {
            let mut checks = self.checks.borrow_mut();
            let name = format!("check_{}", checks.len());
            let check = *checks
                .entry((unchecked.0.key(), unchecked.1))
                .or_insert_with(|| kernel::emit_check(self.emitter, unchecked, &name));
            let positions = self.address(place, turns, unchecked.0);
            built(builder.build_call(check, &[positions.into(), word.into()], ""));
        }
        let arguments: Vec<BasicMetadataValueEnum> =
            call.views().map(|view| self.address(place, turns, view).into()).collect();
        built(builder.build_call(self.kernel(call), &arguments, ""));
    }

    /// The function of a call. Calls of equal geometry share one.
    fn kernel(&self, call: &Call) -> FunctionValue<'ctx> {
        let geometry = call.geometry();
        let mut kernels = self.kernels.borrow_mut();
        let name = format!("{}_{}", call.producer.family(), kernels.len());
        *kernels.entry(geometry.to_string()).or_insert_with(|| kernel::emit(self.emitter, &geometry, &name))
    }

    /// A loop that runs at least once.
    fn repeat(&self, place: &Place<'_, 'ctx>, turns: &mut Turns<'ctx>, each: &For) {
        let Place { builder, function, .. } = *place;
        let context = self.emitter.module().get_context();
        let word = context.i64_type();
        let before = builder.get_insert_block().unwrap_or_else(|| unreachable!("the function has begun"));
        let [body, after] = ["turn", "after"].map(|name| context.append_basic_block(function, name));
        built(builder.build_unconditional_branch(body));
        builder.position_at_end(body);
        let turn = built(builder.build_phi(word, "turn"));
        turns.push((each.id, turn.as_basic_value().into_int_value()));
        each.body.iter().for_each(|item| self.item(place, turns, item));
        turns.pop();
        let next =
            built(builder.build_int_add(turn.as_basic_value().into_int_value(), word.const_int(1, false), "next"));
        let end = builder.get_insert_block().unwrap_or_else(|| unreachable!("the function has begun"));
        turn.add_incoming(&[(&word.const_zero(), before), (&next, end)]);
        let count = word.const_int(each.count as u64, false);
        let more = built(builder.build_int_compare(IntPredicate::ULT, next, count, "more"));
        built(builder.build_conditional_branch(more, body, after));
        builder.position_at_end(after);
    }

    fn branch(&self, place: &Place<'_, 'ctx>, turns: &mut Turns<'ctx>, branch: &If) {
        let Place { builder, function, .. } = *place;
        let context = self.emitter.module().get_context();
        let bits = (8 * branch.condition.dtype.byte_size()) as u32;
        let ty = std::num::NonZeroU32::new(bits).map(|bits| context.custom_width_int_type(bits));
        let Some(Ok(ty)) = ty else { unreachable!("the verifier lets conditions be bool or integers") };
        let condition = built(builder.build_load(ty, self.address(place, turns, &branch.condition), "condition"));
        // Inputs may have any alignment.
        let aligned = condition.as_instruction_value().map(|load| load.set_alignment(1));
        debug_assert!(matches!(aligned, Some(Ok(()))));
        let holds =
            built(builder.build_int_compare(IntPredicate::NE, condition.into_int_value(), ty.const_zero(), "holds"));
        let [then, otherwise, after] =
            ["then", "otherwise", "after"].map(|name| context.append_basic_block(function, name));
        built(builder.build_conditional_branch(holds, then, otherwise));
        for (block, items) in [(then, &branch.then), (otherwise, &branch.otherwise)] {
            builder.position_at_end(block);
            items.iter().for_each(|item| self.item(place, turns, item));
            built(builder.build_unconditional_branch(after));
        }
        builder.position_at_end(after);
    }

    /// The caller's memory that the view lies in; `None` for constants.
    fn base(&self, view: &View) -> Option<Base> {
        match view.storage {
            Storage::Const(_) => None,
            Storage::Buffer(BufferId(index)) => Some(match self.program.buffers[index].kind {
                BufferKind::Arena { .. } => Base::Arena,
                BufferKind::Input(index) => Base::Input(index),
                BufferKind::Output(index) => Base::Output(index),
            }),
        }
    }

    /// The address of a view's first element in these turns of the loops.
    fn address(&self, place: &Place<'_, 'ctx>, turns: &Turns<'ctx>, view: &View) -> PointerValue<'ctx> {
        let builder = place.builder;
        let base = self.base(view).map_or(self.constants.base, |base| place.bases[&base]);
        let start = match view.storage {
            Storage::Const(ConstId(index)) => self.constants.offsets[index],
            Storage::Buffer(BufferId(index)) => match self.program.buffers[index].kind {
                BufferKind::Arena { offset } => offset,
                BufferKind::Input(_) | BufferKind::Output(_) => 0,
            },
        };
        let context = self.emitter.module().get_context();
        let (word, size) = (context.i64_type(), view.dtype.byte_size());
        let first = word.const_int((start + view.offset * size) as u64, false);
        let distance = view.loops.iter().fold(first, |distance, (id, step)| {
            let turn = turns.iter().find(|(own, _)| own == id).map(|(_, turn)| *turn);
            let turn = turn.unwrap_or_else(|| unreachable!("the verifier lets views name loops around them"));
            let step = word.const_int((step * size as isize) as u64, true);
            let moved = built(builder.build_int_mul(turn, step, ""));
            built(builder.build_int_add(distance, moved, ""))
        });
        // SAFETY: the distance stays inside the buffer or the constants in each turn: lowering made the view.
        built(unsafe { builder.build_gep(context.i8_type(), base, &[distance], "") })
    }
}

/// The items in parts of at most [`CALLS`] calls. An item with more calls is a part of its own.
fn parts<'s, 'p>(items: &'s [&'p Item]) -> Vec<&'s [&'p Item]> {
    let mut parts = Vec::new();
    let (mut first, mut made) = (0, 0);
    for (index, item) in items.iter().enumerate() {
        let more = calls(std::slice::from_ref(*item)).len();
        if made + more > CALLS && index > first {
            parts.push(&items[first..index]);
            (first, made) = (index, 0);
        }
        made += more;
    }
    parts.push(&items[first..]);
    parts
}

/// Memory of the caller that views lie in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Base {
    Input(usize),
    Output(usize),
    Arena,
}

/// Gives a function an attribute without a value.
pub(super) fn attribute(function: FunctionValue<'_>, name: &str) {
    let kind = Attribute::get_named_enum_kind_id(name);
    let attribute = function.get_type().get_context().create_enum_attribute(kind, 0);
    function.add_attribute(AttributeLoc::Function, attribute);
}
