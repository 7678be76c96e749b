//! The calls of a program, in functions of bounded length.

use std::cell::Cell;
use std::collections::BTreeMap;

use inkwell::AddressSpace;
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::builder::Builder;
use inkwell::module::Linkage;
use inkwell::values::{BasicMetadataValueEnum, FunctionValue, PointerValue};

use super::built;
use super::program::Constants;
use super::run::CallFields;
use super::vector::Emitter;
use crate::program::{BufferId, BufferKind, ConstId, Program, Storage, View};

/// Calls that one function makes. LLVM's time grows by the square of a function's length.
const CALLS: usize = 256;

/// Emits the calls of a program.
pub(super) struct Calls<'a, 'm, 'ctx> {
    pub(super) emitter: &'a Emitter<'m, 'ctx>,
    pub(super) program: &'a Program,
    pub(super) symbol: &'a str,
    /// For each call of the program its kernel.
    pub(super) functions: Vec<FunctionValue<'ctx>>,
    /// For gathers whose positions are not known, what checks these: it writes a status where they are wrong.
    pub(super) checks: BTreeMap<usize, FunctionValue<'ctx>>,
    pub(super) constants: Constants<'ctx>,
    /// Functions that hold calls, so far.
    pub(super) outlined: Cell<usize>,
}

impl<'ctx> Calls<'_, '_, 'ctx> {
    /// Emits these calls, in order, where `builder` stands: in place, or in functions of at most [`CALLS`] each. There is a
    /// word for the `status` if there are checks.
    pub(super) fn emit(
        &self,
        builder: &Builder<'ctx>,
        fields: &CallFields<'ctx>,
        status: Option<PointerValue<'ctx>>,
        calls: &[usize],
    ) {
        if calls.len() <= CALLS {
            return self.in_place(builder, fields, status, calls);
        }
        let module = self.emitter.module();
        let context = module.get_context();
        let pointer = context.ptr_type(AddressSpace::default());
        let signature = context.void_type().fn_type(&[pointer.into(); 2], false);
        for part in calls.chunks(CALLS) {
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
        calls: &[usize],
    ) {
        let mut bases: BTreeMap<Base, PointerValue<'ctx>> = BTreeMap::new();
        for &index in calls {
            let call = &self.program.calls[index];
            if let (Some(check), Some(word)) = (self.checks.get(&index), status) {
                let positions = self.address(builder, fields, &mut bases, &call.operands[1]);
                built(builder.build_call(*check, &[positions.into(), word.into()], ""));
            }
            let views = call.operands.iter().chain([&call.output]);
            let arguments: Vec<BasicMetadataValueEnum> =
                views.map(|view| self.address(builder, fields, &mut bases, view).into()).collect();
            built(builder.build_call(self.functions[index], &arguments, ""));
        }
    }

    /// The address of a view's first element. Addresses of the caller's memory are loaded once and kept in `bases`.
    fn address(
        &self,
        builder: &Builder<'ctx>,
        fields: &CallFields<'ctx>,
        bases: &mut BTreeMap<Base, PointerValue<'ctx>>,
        view: &View,
    ) -> PointerValue<'ctx> {
        let mut base = |base: Base| {
            *bases.entry(base).or_insert_with(|| match base {
                Base::Input(index) => fields.input(builder, index as u32),
                Base::Output(index) => fields.output(builder, index as u32),
                Base::Arena => fields.arena(builder),
            })
        };
        let (base, offset) = match view.storage {
            Storage::Const(ConstId(index)) => (self.constants.base, self.constants.offsets[index]),
            Storage::Buffer(BufferId(index)) => match self.program.buffers[index].kind {
                BufferKind::Arena { offset } => (base(Base::Arena), offset),
                BufferKind::Input(index) => (base(Base::Input(index)), 0),
                BufferKind::Output(index) => (base(Base::Output(index)), 0),
            },
        };
        let context = self.emitter.module().get_context();
        let offset = offset + view.offset * view.dtype.byte_size();
        let distance = context.i64_type().const_int(offset as u64, false);
        // SAFETY: the distance stays inside the buffer or the constants: lowering made the view.
        built(unsafe { builder.build_gep(context.i8_type(), base, &[distance], "") })
    }
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
