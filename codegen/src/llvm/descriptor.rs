//! Puts an [`Interface`] into an LLVM module as the constants that `eightfold.h` describes.
//!
//! Invariant: the module exports the query function alone. The constants refer to nothing outside the module except, by
//! a weak symbol, to the runtime's table. So the same object file links with the runtime (then the model has sessions)
//! and without it (then the pointer to the table is null).

use eightfold_runtime::abi;
use inkwell::attributes::AttributeLoc;
use inkwell::context::ContextRef;
use inkwell::module::{Linkage, Module};
use inkwell::values::{ArrayValue, BasicValue, BasicValueEnum, FunctionValue, GlobalValue, PointerValue};
use inkwell::{AddressSpace, GlobalVisibility};

use crate::interface::{Interface, InterfaceError, Quantization, Tensor, Variant};
use crate::target::Arch;
use crate::vector::built;

/// Adds the descriptors of `interface` and its query function, whose code runs on every CPU of `arch`; `runs` holds one run
/// function per variant.
///
/// # Errors
/// An interface that the C ABI cannot express.
///
/// # Panics
/// If the numbers of run functions and variants differ.
pub fn emit_query<'ctx>(
    module: &Module<'ctx>,
    interface: &Interface,
    arch: &Arch,
    runs: &[FunctionValue<'ctx>],
) -> Result<FunctionValue<'ctx>, InterfaceError> {
    interface.check()?;
    assert_eq!(runs.len(), interface.variants.len(), "one run function per variant");
    let context = module.get_context();
    let descriptors = Descriptors { module, context };
    let model = descriptors.model(interface, runs);
    descriptors.note(&interface.query_symbol());

    let pointer = context.ptr_type(AddressSpace::default());
    let query = module.add_function(&interface.query_symbol(), pointer.fn_type(&[], false), None);
    // It runs before the CPU has been detected, so it must not use the features of any variant.
    for (key, value) in [("target-cpu", arch.baseline), ("target-features", "")] {
        query.add_attribute(AttributeLoc::Function, context.create_string_attribute(key, value));
    }
    let builder = context.create_builder();
    builder.position_at_end(context.append_basic_block(query, "entry"));
    built(builder.build_return(Some(&model)));
    Ok(query)
}

/// Writes constants; each method returns the address of what it describes.
struct Descriptors<'a, 'ctx> {
    module: &'a Module<'ctx>,
    context: ContextRef<'ctx>,
}

impl<'ctx> Descriptors<'_, 'ctx> {
    fn model(&self, interface: &Interface, runs: &[FunctionValue<'ctx>]) -> PointerValue<'ctx> {
        let variants = interface.variants.iter().zip(runs).map(|(v, &run)| self.variant(v, run));
        let variants = self.table(variants.collect());
        let runtime = self.module.add_global(self.context.i8_type(), None, abi::RUNTIME_SYMBOL);
        runtime.set_linkage(Linkage::ExternalWeak);
        runtime.set_visibility(GlobalVisibility::Hidden);
        self.structure(&[
            self.word(abi::ABI_VERSION),
            self.word(size_of::<abi::Model>() as u32),
            self.text(&interface.name),
            self.text(&interface.provenance),
            self.word(interface.variants.len() as u32),
            self.word(0),
            variants,
            runtime.as_pointer_value().into(),
        ])
        .into_pointer_value()
    }

    fn variant(&self, variant: &Variant, run: FunctionValue<'ctx>) -> BasicValueEnum<'ctx> {
        let long = self.context.i64_type();
        let features = variant.features.0.map(|word| long.const_int(word, false));
        let tensors = |tensors: &[Tensor]| self.table(tensors.iter().map(|t| self.tensor(t)).collect());
        self.structure(&[
            self.word(size_of::<abi::Variant>() as u32),
            self.word(variant.threads),
            long.const_array(&features).into(),
            self.text(&variant.target),
            long.const_int(variant.arena_size, false).into(),
            self.word(variant.arena_align),
            self.word(variant.inputs.len() as u32),
            self.word(variant.outputs.len() as u32),
            self.word(variant.workers),
            tensors(&variant.inputs),
            tensors(&variant.outputs),
            run.as_global_value().as_pointer_value().into(),
        ])
    }

    fn tensor(&self, tensor: &Tensor) -> BasicValueEnum<'ctx> {
        let long = self.context.i64_type();
        let dims: Vec<_> = tensor.dims.iter().map(|&dim| long.const_int(dim as u64, false)).collect();
        let Some(byte_size) = tensor.byte_size() else { unreachable!("the interface was checked") };
        self.structure(&[
            self.word(size_of::<abi::TensorDesc>() as u32),
            self.word(tensor.dtype.onnx() as u32),
            self.text(&tensor.name),
            self.word(tensor.dims.len() as u32),
            self.word(0),
            self.array(long.const_array(&dims)),
            long.const_int(byte_size as u64, false).into(),
            tensor.quantization.as_ref().map_or_else(|| self.null(), |q| self.quant(q)),
        ])
    }

    fn quant(&self, quantization: &Quantization) -> BasicValueEnum<'ctx> {
        let (float, word) = (self.context.f32_type(), self.context.i32_type());
        let scale: Vec<_> = quantization.scale.iter().map(|&scale| float.const_float(scale.into())).collect();
        let zero_point: Vec<_> =
            quantization.zero_point.iter().map(|&zero| word.const_int(zero as u64, true)).collect();
        self.structure(&[
            self.word(size_of::<abi::Quant>() as u32),
            self.word(scale.len() as u32),
            self.word(quantization.axis.unwrap_or(u32::MAX)),
            self.word(0),
            self.array(float.const_array(&scale)),
            self.array(word.const_array(&zero_point)),
        ])
    }

    /// The ELF note of `eightfold_runtime::abi::NOTE_SECTION`: three sizes, owner, descriptor, each padded to 4 bytes.
    fn note(&self, query_symbol: &str) {
        let mut descriptor = abi::ABI_VERSION.to_le_bytes().to_vec();
        descriptor.extend(query_symbol.bytes());
        descriptor.push(0);
        descriptor.resize(descriptor.len() + abi::NOTE_CHECKSUM, 0);
        let sizes = [abi::NOTE_OWNER.len() as u32, descriptor.len() as u32, abi::NOTE_TYPE];
        let mut bytes: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
        for part in [abi::NOTE_OWNER, &descriptor] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let note = self.constant(&self.context.const_string(&bytes, false));
        note.set_section(Some(abi::NOTE_SECTION));
        note.set_alignment(4);
        // Nothing refers to the note, so `llvm.used` must keep it.
        let pointer = self.context.ptr_type(AddressSpace::default());
        let used = pointer.const_array(&[note.as_pointer_value()]);
        let list = self.module.add_global(used.get_type(), None, "llvm.used");
        list.set_linkage(Linkage::Appending);
        list.set_section(Some("llvm.metadata"));
        list.set_initializer(&used);
    }

    fn word(&self, value: u32) -> BasicValueEnum<'ctx> {
        self.context.i32_type().const_int(value.into(), false).into()
    }

    fn null(&self) -> BasicValueEnum<'ctx> {
        self.context.ptr_type(AddressSpace::default()).const_null().into()
    }

    fn text(&self, text: &str) -> BasicValueEnum<'ctx> {
        let text = self.constant(&self.context.const_string(text.as_bytes(), true));
        text.set_unnamed_addr(true);
        text.set_alignment(1);
        text.as_pointer_value().into()
    }

    fn array(&self, values: ArrayValue<'ctx>) -> BasicValueEnum<'ctx> {
        if values.get_type().is_empty() {
            return self.null();
        }
        self.constant(&values).as_pointer_value().into()
    }

    /// An array of pointers.
    fn table(&self, pointers: Vec<BasicValueEnum<'ctx>>) -> BasicValueEnum<'ctx> {
        let pointers: Vec<_> = pointers.into_iter().map(|p| p.into_pointer_value()).collect();
        self.array(self.context.ptr_type(AddressSpace::default()).const_array(&pointers))
    }

    fn structure(&self, fields: &[BasicValueEnum<'ctx>]) -> BasicValueEnum<'ctx> {
        self.constant(&self.context.const_struct(fields, false)).as_pointer_value().into()
    }

    fn constant(&self, value: &dyn BasicValue<'ctx>) -> GlobalValue<'ctx> {
        let value = value.as_basic_value_enum();
        let global = self.module.add_global(value.get_type(), None, "eightfold.descriptor");
        global.set_initializer(&value);
        global.set_constant(true);
        global.set_linkage(Linkage::Private);
        global
    }
}
