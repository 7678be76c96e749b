//! Turns a module into machine code.
//!
//! The emitters of kernels decide about loops and vectors. LLVM removes redundant code, selects instructions and
//! allocates registers. CPU features are attributes of each function, not of the module.

use inkwell::OptimizationLevel;
use inkwell::module::Module;
use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{CodeModel, FileType, InitializationConfig, RelocMode, Target, TargetMachine, TargetTriple};
use thiserror::Error;

use crate::target::Arch;

/// The LLVM passes. There is no vectorizer and no unroller: loops keep the shape that was measured.
const PASSES: &str = "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm),gvn,\
                      instcombine<no-verify-fixpoint>,simplifycfg),globaldce";

/// LLVM failed: a bug of this compiler.
#[derive(Debug, Error)]
#[error("llvm: {0}")]
pub struct MachineError(String);

impl MachineError {
    pub(crate) fn new(message: &impl ToString) -> Self {
        MachineError(message.to_string())
    }
}

/// LLVM's code generator.
#[derive(Debug)]
pub struct Machine {
    machine: TargetMachine,
}

impl Machine {
    /// LLVM's code generator for an architecture.
    ///
    /// # Errors
    /// An LLVM without the architecture.
    pub fn new(arch: &Arch) -> Result<Self, MachineError> {
        Target::initialize_x86(&InitializationConfig::default());
        Target::initialize_aarch64(&InitializationConfig::default());
        let triple = TargetTriple::create(arch.triple);
        let target = Target::from_triple(&triple).map_err(|error| MachineError::new(&error))?;
        let level = OptimizationLevel::Aggressive;
        let machine = target.create_target_machine(&triple, arch.baseline, "", level, RelocMode::PIC, CodeModel::Small);
        let machine = machine.ok_or_else(|| MachineError::new(&format!("no code generator for {}", arch.name)))?;
        Ok(Machine { machine })
    }

    /// Sets the module's triple and data layout. Call it before anything is added to the module.
    pub fn prepare(&self, module: &Module<'_>) {
        module.set_triple(&self.machine.get_triple());
        module.set_data_layout(&self.machine.get_target_data().get_data_layout());
    }

    /// Checks the module and cleans it up.
    ///
    /// # Errors
    /// Fails if the module is not well formed.
    pub fn optimize(&self, module: &Module<'_>) -> Result<(), MachineError> {
        module.verify().map_err(|error| MachineError::new(&error))?;
        let passes = module.run_passes(PASSES, &self.machine, PassBuilderOptions::create());
        passes.map_err(|error| MachineError::new(&error))
    }

    /// The object file.
    ///
    /// # Errors
    /// Fails if LLVM has no instructions for some of the code.
    pub fn object(&self, module: &Module<'_>) -> Result<Vec<u8>, MachineError> {
        self.write(module, FileType::Object)
    }

    /// The assembly.
    ///
    /// # Errors
    /// Fails if LLVM has no instructions for some of the code.
    pub fn assembly(&self, module: &Module<'_>) -> Result<String, MachineError> {
        let bytes = self.write(module, FileType::Assembly)?;
        String::from_utf8(bytes).map_err(|error| MachineError::new(&error))
    }

    fn write(&self, module: &Module<'_>, file_type: FileType) -> Result<Vec<u8>, MachineError> {
        let buffer = self.machine.write_to_memory_buffer(module, file_type);
        let buffer = buffer.map_err(|error| MachineError::new(&error))?;
        // The buffer ends in a zero that is not part of the file.
        let bytes = buffer.as_slice();
        Ok(bytes.strip_suffix(&[0]).filter(|_| file_type == FileType::Assembly).unwrap_or(bytes).to_vec())
    }
}
