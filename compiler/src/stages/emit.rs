//! Generates machine code from a program, and links shared libraries.

use std::path::Path;

use eightfold_codegen::header::c_header;
use eightfold_codegen::interface::{Interface, Variant};
use eightfold_codegen::llvm::artifact::Listings;
use eightfold_codegen::object::{Linker, ObjectFile};
use eightfold_codegen::program::Scheduled;
use eightfold_codegen::schedule::plan::arena_bound;
use object::{Object as _, ObjectSection as _, SectionKind};

use super::lower::lower;
use super::optimize::Optimized;
use super::schedule::schedule;
use crate::artifact::provenance::Provenance;
use crate::artifact::seal;
use crate::error::Error;
use crate::host::output_file::{WriteError, make_file, write_file};

/// Machine code, and what it was generated from.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The scheduled program.
    pub program: Scheduled,
    /// The interface of the artifact.
    pub interface: Interface,
    /// The provenance of the artifact.
    pub provenance: Provenance,
    /// A complete object file.
    pub object: ObjectFile,
    /// The assembly, if requested.
    pub assembly: Option<String>,
    /// LLVM IR, if requested.
    pub llvm_ir: Option<String>,
}

/// Compiles a graph to machine code: [`lower`], schedule, then [`emit`]. The artifact exports the symbol
/// `<symbol>_query`.
///
/// # Errors
/// Those of these stages.
pub fn compile(optimized: &Optimized, symbol: &str, listings: Listings) -> Result<Compiled, Error> {
    emit(optimized, schedule(optimized, lower(optimized)?, &mut ())?, symbol, listings)
}

/// Generates machine code from a program. The artifact exports the symbol `<symbol>_query`.
///
/// # Errors
/// If `symbol` is not a C identifier, or LLVM fails.
pub fn emit(optimized: &Optimized, program: Scheduled, symbol: &str, listings: Listings) -> Result<Compiled, Error> {
    let weight_bytes = program.consts.iter().map(|constant| constant.bytes.len() as u64).sum();
    let coverage = optimized.coverage.clone();
    let arena_bound_bytes = arena_bound(&program) as u64;
    let provenance = Provenance { coverage, weight_bytes, arena_bound_bytes, ..optimized.provenance.clone() };
    let interface = Interface {
        name: optimized.name.clone(),
        symbol_prefix: symbol.to_owned(),
        provenance: provenance.to_string(),
        variants: vec![Variant::of(&optimized.graph, &program)],
    };
    let compiled = eightfold_codegen::llvm::artifact::compile(std::slice::from_ref(&program), &interface, listings)?;
    let eightfold_codegen::llvm::artifact::Compiled { object, assembly, llvm_ir } = compiled;
    Ok(Compiled { program, interface, provenance, object, assembly, llvm_ir })
}

impl Compiled {
    /// Links a shared library, which exports only the query function.
    ///
    /// # Errors
    /// If there is no linker, or the file cannot be written.
    pub fn link(&self, linker: &Linker, path: &Path) -> Result<(), Error> {
        let write = |source| WriteError { path: path.to_owned(), source };
        let linked = make_file(path, |file| -> Result<(), Error> {
            linker.link_shared(&self.object, &self.interface.query_symbol(), file)?;
            Ok(seal(file).map_err(write)?)
        });
        linked.map_err(write)?
    }

    /// Writes the object file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_object(&self, path: &Path) -> Result<(), Error> {
        let written = write_file(path, |file| self.object.write_to(file));
        Ok(written.map_err(|source| WriteError { path: path.to_owned(), source })?)
    }

    /// The C header of the artifact.
    ///
    /// # Errors
    /// If a name cannot be expressed in C.
    pub fn header(&self) -> Result<String, Error> {
        let provenance = self.provenance.clone().brief().to_string();
        Ok(c_header(&Interface { provenance, ..self.interface.clone() })?)
    }

    /// Size of the machine code in the object file, in bytes.
    #[must_use]
    pub fn code_bytes(&self) -> u64 {
        let file =
            object::File::parse(self.object.code()).unwrap_or_else(|error| unreachable!("our object file: {error}"));
        file.sections().filter(|section| section.kind() == SectionKind::Text).map(|section| section.size()).sum()
    }
}
