//! Compiles programs to an object file.

use inkwell::context::Context;
use inkwell::module::{Linkage, Module};
use inkwell::values::GlobalValue;
use inkwell::{AddressSpace, GlobalVisibility};

use super::calls::Constants;
use super::descriptor::emit_query;
use super::machine::{Machine, MachineError};
use super::program::emit;
use super::run::emit_run;
use crate::image::{ALIGN, Image};
use crate::interface::{Interface, InterfaceError};
use crate::object::ObjectFile;
use crate::object::file::CONSTANTS;
use crate::program::Scheduled;
use crate::target::X86_64;

/// Listings to make besides the object file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listings {
    /// The assembly.
    pub assembly: bool,
    /// LLVM IR after optimization.
    pub llvm_ir: bool,
}

/// The results of a compilation.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// An ELF object file, complete in itself but for memcpy, memset and memmove.
    pub object: ObjectFile,
    /// The assembly, if it was asked for.
    pub assembly: Option<String>,
    /// LLVM IR, if it was asked for.
    pub llvm_ir: Option<String>,
}

/// Why there is no object file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The interface does not fit an artifact, mostly because of a name that the user chose.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The weights are too large to be addressed by the code.
    #[error("the weights take {size} bytes; code can address at most {} bytes", CompileError::REACH)]
    TooLarge {
        /// Bytes of all constants.
        size: usize,
    },
    /// LLVM failed: a bug of this compiler.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

impl CompileError {
    /// The most bytes of constants: code addresses them by signed 32-bit distances, which must also span the code.
    pub const REACH: usize = 0x7f00_0000;
}

/// Compiles `programs`, one for each variant of `interface`, in its order.
///
/// # Errors
/// See [`CompileError`].
pub fn compile(programs: &[Scheduled], interface: &Interface, listings: Listings) -> Result<Compiled, CompileError> {
    assert_eq!(programs.len(), interface.variants.len(), "one program a variant");
    interface.check()?;
    let context = Context::create();
    let module = context.create_module(&interface.symbol_prefix);
    let arch = programs.first().map_or(&X86_64, |program| program.target.arch);
    assert!(programs.iter().all(|program| program.target.arch == arch), "an object file is for one architecture");
    let machine = Machine::new(arch)?;
    machine.prepare(&module);
    let mut image = Image::default();
    let offsets: Vec<Vec<usize>> = programs.iter().map(|program| image.add(&program.consts)).collect();
    let constants = declare_constants(&module, &image)?;
    let mut runs = Vec::with_capacity(programs.len());
    for (index, ((program, variant), offsets)) in programs.iter().zip(&interface.variants).zip(offsets).enumerate() {
        let constants = Constants { base: constants.as_pointer_value(), offsets };
        let inner = emit(&module, program, constants, &format!("variant_{index}"));
        runs.push(emit_run(&module, &format!("run_{index}"), variant, program.target.instructions, inner));
    }
    emit_query(&module, interface, arch, &runs)?;
    machine.optimize(&module)?;
    let code = machine.object(&module)?;
    if listings.assembly || listings.llvm_ir {
        define_constants(&module, constants, &image)?;
    }
    Ok(Compiled {
        object: ObjectFile::with_constants(code, image),
        assembly: listings.assembly.then(|| machine.assembly(&module)).transpose()?,
        llvm_ir: listings.llvm_ir.then(|| module.print_to_string().to_string()),
    })
}

/// Declares a symbol for the bytes of an image, and the empty section that will hold them.
fn declare_constants<'ctx>(module: &Module<'ctx>, image: &Image) -> Result<GlobalValue<'ctx>, CompileError> {
    const SYMBOL: &str = "eightfold_constants";
    let size = image.size();
    if size > CompileError::REACH {
        return Err(CompileError::TooLarge { size });
    }
    module
        .set_inline_assembly(&format!(".section {CONSTANTS},\"a\",@progbits\n.p2align {}\n{SYMBOL}:\n", ALIGN.ilog2()));
    let bytes = module.get_context().i8_type().array_type(size as u32);
    let global = module.add_global(bytes, Some(AddressSpace::default()), SYMBOL);
    global.set_constant(true);
    // Hidden symbols are addressed relative to the code.
    global.set_visibility(GlobalVisibility::Hidden);
    global.set_alignment(ALIGN as u32);
    Ok(global)
}

/// Puts the bytes themselves into the module, so that listings are complete.
fn define_constants(module: &Module<'_>, global: GlobalValue<'_>, image: &Image) -> Result<(), MachineError> {
    let mut bytes = Vec::new();
    image.write_to(&mut bytes).map_err(|error| MachineError::new(&error))?;
    module.set_inline_assembly("");
    global.set_initializer(&module.get_context().const_string(&bytes, false));
    global.set_visibility(GlobalVisibility::Default);
    global.set_linkage(Linkage::Private);
    Ok(())
}
