//! A model made by hand: y = x + 1 and z = x / 2 over 16 floats. y goes through the arena.
//!
//! The sum reveals the rounding mode (x is far below 1), the half reveals whether subnormal numbers survive, and the
//! arena reveals whether two runs disturb one another.

use eightfold_codegen::interface::{Interface, Quantization, Tensor, Variant};
use eightfold_codegen::llvm::descriptor::emit_query;
use eightfold_codegen::llvm::run::{CallFields, emit_run, run_type};
use eightfold_codegen::target::InstructionSet;
use eightfold_codegen::target::X86_64;
use eightfold_ir::DType;
use eightfold_runtime::features::FeatureSet;
use inkwell::OptimizationLevel;
use inkwell::context::Context;
use inkwell::module::Module;
use inkwell::targets::{CodeModel, FileType, InitializationConfig, RelocMode, Target, TargetMachine, TargetTriple};
use inkwell::types::VectorType;
use inkwell::values::{BasicValue as _, FunctionValue};

/// Two variants of the model: one that no CPU can run, then one that all can.
pub(crate) fn interface() -> Interface {
    let tensor =
        |name: &str, quantization| Tensor { name: name.to_owned(), dtype: DType::F32, dims: vec![1, 16], quantization };
    let per_tensor = Quantization { axis: None, scale: vec![0.1], zero_point: vec![-3] };
    let scale = (0..16).map(|index| 0.5 + index as f32).collect();
    let per_channel = Quantization { axis: Some(1), scale, zero_point: (-8..8).collect() };
    let variant = |target: &str, features| Variant {
        target: target.to_owned(),
        features,
        threads: 1,
        workers: 0,
        arena_size: 64,
        arena_align: 64,
        inputs: vec![tensor("x", Some(per_tensor.clone()))],
        outputs: vec![tensor("y", None), tensor("z", Some(per_channel.clone()))],
    };
    Interface {
        name: "plus one".to_owned(),
        symbol_prefix: "plus_one".to_owned(),
        provenance: "made by hand\nfor a test".to_owned(),
        variants: vec![variant("no-such-cpu", FeatureSet::EMPTY.with(255)), variant("x86-64", FeatureSet::EMPTY)],
    }
}

/// The object file of [`interface`] or of a similar interface.
pub(crate) fn object(interface: &Interface) -> Vec<u8> {
    Target::initialize_x86(&InitializationConfig::default());
    let context = Context::create();
    let module = context.create_module("plus_one");
    let triple = TargetTriple::create("x86_64-unknown-linux-gnu");
    let machine = machine(&triple);
    module.set_triple(&triple);
    module.set_data_layout(&machine.get_target_data().get_data_layout());
    let runs: Vec<_> = interface
        .variants
        .iter()
        .enumerate()
        .map(|(index, variant)| {
            let inner = inner(&module, &format!("inner_{index}"));
            emit_run(&module, &format!("run_{index}"), variant, InstructionSet::X86, inner)
        })
        .collect();
    emit_query(&module, interface, &X86_64, &runs).unwrap();
    module.verify().unwrap();
    machine.write_to_memory_buffer(&module, FileType::Object).unwrap().as_slice().to_vec()
}

fn machine(triple: &TargetTriple) -> TargetMachine {
    let target = Target::from_triple(triple).unwrap();
    let level = OptimizationLevel::Default;
    target.create_target_machine(triple, "x86-64", "", level, RelocMode::PIC, CodeModel::Small).unwrap()
}

fn inner<'ctx>(module: &Module<'ctx>, name: &str) -> FunctionValue<'ctx> {
    let context = module.get_context();
    let function = module.add_function(name, run_type(module), None);
    let builder = context.create_builder();
    builder.position_at_end(context.append_basic_block(function, "entry"));
    let call = CallFields::of(module, function);
    let arena = call.arena(&builder);
    let vector = context.f32_type().vec_type(16);
    let splat = |value| VectorType::const_vector(&[context.f32_type().const_float(value); 16]);
    let x = builder.build_load(vector, call.input(&builder, 0), "x").unwrap();
    x.as_instruction_value().unwrap().set_alignment(1).unwrap();
    let sum = builder.build_float_add(x.into_vector_value(), splat(1.0), "sum").unwrap();
    builder.build_store(arena, sum).unwrap().set_volatile(true).unwrap();
    let y = builder.build_load(vector, arena, "y").unwrap();
    y.as_instruction_value().unwrap().set_volatile(true).unwrap();
    let z = builder.build_float_mul(x.into_vector_value(), splat(0.5), "z").unwrap();
    for (index, value) in [(0, y), (1, z.into())] {
        let output = call.output(&builder, index);
        builder.build_store(output, value).unwrap().set_alignment(1).unwrap();
    }
    let ok = context.i32_type().const_zero();
    builder.build_return(Some(&ok)).unwrap();
    function
}
