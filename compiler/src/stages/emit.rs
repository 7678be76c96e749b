//! From a program to machine code, and from there to a shared library.

use std::path::Path;

use eightfold_codegen::compile::Listings;
use eightfold_codegen::header::c_header;
use eightfold_codegen::interface::{Interface, Variant};
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

/// Machine code, with all that it was made of.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Which kernels run on which bytes.
    pub program: Scheduled,
    /// What the artifact offers.
    pub interface: Interface,
    /// What the artifact was made from.
    pub provenance: Provenance,
    /// An object file, complete in itself.
    pub object: ObjectFile,
    /// The assembly, if it was asked for.
    pub assembly: Option<String>,
    /// LLVM IR, if it was asked for.
    pub llvm_ir: Option<String>,
}

/// Makes machine code of a graph, in an artifact whose symbol is `<symbol>_query`: [`lower`], then [`emit`].
///
/// # Errors
/// Those of both.
pub fn compile(optimized: &Optimized, symbol: &str, listings: Listings) -> Result<Compiled, Error> {
    emit(optimized, schedule(optimized, lower(optimized)?, &mut ())?, symbol, listings)
}

/// Makes machine code of a graph's program, in an artifact whose symbol is `<symbol>_query`.
///
/// # Errors
/// `symbol` is no C identifier, or LLVM refuses.
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
    let compiled = eightfold_codegen::compile::compile(std::slice::from_ref(&program), &interface, listings)?;
    let eightfold_codegen::compile::Compiled { object, assembly, llvm_ir } = compiled;
    Ok(Compiled { program, interface, provenance, object, assembly, llvm_ir })
}

impl Compiled {
    /// Links a shared library, which exports the query function alone.
    ///
    /// # Errors
    /// There is no linker, or the file cannot be written.
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
    /// The file cannot be written.
    pub fn write_object(&self, path: &Path) -> Result<(), Error> {
        let written = write_file(path, |file| self.object.write_to(file));
        Ok(written.map_err(|source| WriteError { path: path.to_owned(), source })?)
    }

    /// The C header of the artifact.
    ///
    /// # Errors
    /// A name that C cannot hold.
    pub fn header(&self) -> Result<String, Error> {
        let provenance = self.provenance.clone().brief().to_string();
        Ok(c_header(&Interface { provenance, ..self.interface.clone() })?)
    }

    /// Bytes of machine code in the object file.
    #[must_use]
    pub fn code_bytes(&self) -> u64 {
        let file =
            object::File::parse(self.object.code()).unwrap_or_else(|error| unreachable!("our object file: {error}"));
        file.sections().filter(|section| section.kind() == SectionKind::Text).map(|section| section.size()).sum()
    }
}
