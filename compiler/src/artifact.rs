//! Loads a compiled shared library and runs it.
//!
//! Invariant: no code of a file runs before the file is known to be an artifact of this ABI version. Its descriptors
//! are then read once, checked, and kept as plain data. A malicious artifact can still run any code: load only
//! artifacts that you trust.

mod elf;
mod error;
pub mod provenance;

use std::ffi::{CStr, c_char, c_void};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use eightfold_codegen::interface::{Interface, Quantization, Tensor, Variant};
use eightfold_ir::DType;
use eightfold_runtime::features::{HOST_FEATURES, detect};
use eightfold_runtime::status::Status;
use eightfold_runtime::{abi, session};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

pub(crate) use elf::seal;
pub use error::{ArtifactError, Damage, RunError, UnsupportedVariant};

/// A loaded artifact; clones share it.
#[derive(Clone, Debug)]
pub struct Artifact {
    loaded: Arc<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    interface: Interface,
    model: *const abi::Model,
    /// Owns the model's memory.
    _library: Library,
}

// SAFETY: the model is constant data, and the library stays loaded as long as `self` lives.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

impl Artifact {
    /// Loads the shared library at `path`.
    ///
    /// # Errors
    /// If the file does not exist, is not an artifact, is damaged, or is for another machine or ABI version.
    pub fn load(path: &Path) -> Result<Artifact, ArtifactError> {
        let symbol = elf::query_symbol(path)?;
        let load = |source| ArtifactError::Load { path: path.to_owned(), source };
        // For a bare file name, the loader would search the system's folders.
        let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        // SAFETY: the file is an artifact, and artifacts have no constructors. RTLD_NOW binds all symbols now: a
        // missing one is an error here instead of a crash later.
        let library = unsafe { Library::open(Some(file), RTLD_NOW | RTLD_LOCAL) }.map_err(load)?;
        // SAFETY: the artifact's note says that this symbol is its query function.
        let model = unsafe {
            let query = library.get::<abi::QueryFn>(&symbol).map_err(load)?;
            query()
        };
        let reader = Reader { path };
        // SAFETY: the query function of an artifact returns its model.
        let interface = unsafe { reader.interface(model, &symbol) }?;
        Ok(Artifact { loaded: Arc::new(Loaded { interface, model, _library: library }) })
    }

    /// The interface of the artifact.
    #[must_use]
    pub fn interface(&self) -> &Interface {
        &self.loaded.interface
    }

    /// The variant that [`Artifact::session`] runs: the first that this CPU supports.
    #[must_use]
    pub fn supported_variant(&self) -> Option<usize> {
        let cpu = detect();
        let runs = |variant: &Variant| cpu.contains(variant.features);
        self.interface().variants.iter().position(runs)
    }

    /// Creates a session of the first variant that this CPU supports.
    ///
    /// # Errors
    /// [`ArtifactError::NoSupportedVariant`].
    pub fn session(&self) -> Result<Session, ArtifactError> {
        let Some(index) = self.supported_variant() else {
            let cpu = detect();
            let unsupported = |variant: &Variant| UnsupportedVariant {
                target: variant.target.clone(),
                missing: cpu.missing(variant.features).names(HOST_FEATURES).collect(),
            };
            let variants = self.interface().variants.iter().map(unsupported).collect();
            return Err(ArtifactError::NoSupportedVariant { variants });
        };
        self.session_of(index)
    }

    /// Creates a session of variant `index`, with its own arena and worker threads.
    ///
    /// # Errors
    /// [`ArtifactError::NoSuchVariant`]; [`ArtifactError::Session`] if this CPU does not support the variant or the
    /// system cannot create the threads.
    pub fn session_of(&self, index: usize) -> Result<Session, ArtifactError> {
        let variants = &self.interface().variants;
        let Some(variant) = variants.get(index) else {
            return Err(ArtifactError::NoSuchVariant { index, count: variants.len() });
        };
        let model = self.loaded.model;
        let number = index as u32;
        // SAFETY: the model was checked when it was loaded.
        let size = unsafe { session::session_size(model, number) };
        let mut memory = vec![0u8; size];
        let mut session = ptr::null_mut();
        // SAFETY: as above; the memory belongs to the session from here on.
        let status =
            unsafe { session::session_create_in(model, number, memory.as_mut_ptr().cast(), size, &raw mut session) };
        if status != Status::OK {
            return Err(ArtifactError::Session { target: variant.target.clone(), status });
        }
        Ok(Session { artifact: self.clone(), variant: index, session, _memory: memory })
    }
}

/// A variant of an artifact and the memory that it runs in.
#[derive(Debug)]
pub struct Session {
    artifact: Artifact,
    variant: usize,
    session: *mut abi::Session,
    /// The memory that `session` points into; moving the session does not move it.
    _memory: Vec<u8>,
}

// SAFETY: all use of the session is through `&mut self`, and generated code has no thread-local state.
unsafe impl Send for Session {}

impl Session {
    /// The variant of this session.
    #[must_use]
    pub fn variant(&self) -> &Variant {
        &self.artifact.interface().variants[self.variant]
    }

    /// Output buffers of the sizes that [`Session::run`] expects.
    #[must_use]
    pub fn output_buffers(&self) -> Vec<Vec<u8>> {
        self.variant().outputs.iter().map(|output| vec![0; byte_size(output)]).collect()
    }

    /// Runs one inference: reads `inputs` and overwrites `outputs`, both in the order of the interface.
    ///
    /// # Errors
    /// If the number or the size of the tensors is wrong; then nothing has run.
    pub fn run(&mut self, inputs: &[&[u8]], outputs: &mut [Vec<u8>]) -> Result<(), RunError> {
        check_sizes(self.variant(), inputs, outputs)?;
        let inputs: Vec<*const c_void> = inputs.iter().map(|input| input.as_ptr().cast()).collect();
        let outputs: Vec<*mut c_void> = outputs.iter_mut().map(|output| output.as_mut_ptr().cast()).collect();
        // SAFETY: counts and sizes match the variant; outputs are distinct vectors, borrowed during the call.
        match unsafe { session::session_run(self.session, inputs.as_ptr(), outputs.as_ptr()) } {
            Status::OK => Ok(()),
            status => Err(RunError::Status(status)),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: `session_create_in` made the session, nothing runs it, and its memory and code still exist.
        unsafe { session::session_destroy(self.session) };
    }
}

/// Checks that tensors of these sizes fit the variant.
pub(crate) fn check_sizes(variant: &Variant, inputs: &[&[u8]], outputs: &[Vec<u8>]) -> Result<(), RunError> {
    let Variant { inputs: expected_inputs, outputs: expected_outputs, .. } = variant;
    if inputs.len() != expected_inputs.len() {
        return Err(RunError::InputCount { expected: expected_inputs.len(), got: inputs.len() });
    }
    if outputs.len() != expected_outputs.len() {
        return Err(RunError::OutputCount { expected: expected_outputs.len(), got: outputs.len() });
    }
    for (tensor, input) in expected_inputs.iter().zip(inputs) {
        let (expected, got) = (byte_size(tensor), input.len());
        if expected != got {
            let (tensor, shape) = (tensor.name.clone(), tensor.to_string());
            return Err(RunError::InputSize { tensor, shape, expected, got });
        }
    }
    for (tensor, output) in expected_outputs.iter().zip(outputs.iter()) {
        let (expected, got) = (byte_size(tensor), output.len());
        if expected != got {
            let (tensor, shape) = (tensor.name.clone(), tensor.to_string());
            return Err(RunError::OutputSize { tensor, shape, expected, got });
        }
    }
    Ok(())
}

/// Size in bytes of a tensor of a loaded interface.
fn byte_size(tensor: &Tensor) -> usize {
    tensor.byte_size().unwrap_or_else(|| unreachable!("checked when the artifact was loaded"))
}

/// Copies descriptors into plain data.
struct Reader<'a> {
    path: &'a Path,
}

impl Reader<'_> {
    fn damaged(&self, damage: Damage) -> ArtifactError {
        ArtifactError::Damaged { path: PathBuf::from(self.path), damage }
    }

    /// # Safety
    /// `model` is null or the return value of an artifact's query function; the same holds for all that it points to.
    unsafe fn interface(&self, model: *const abi::Model, symbol: &str) -> Result<Interface, ArtifactError> {
        // SAFETY: guaranteed by the caller; these two fields come first in every ABI version.
        unsafe {
            if model.is_null() {
                return Err(self.damaged(Damage::Symbol));
            }
            let got = (*model).abi_version;
            if got != abi::ABI_VERSION {
                let path = self.path.to_owned();
                return Err(ArtifactError::AbiVersion { path, expected: abi::ABI_VERSION, got });
            }
            let model = self.whole(model, (*model).struct_size)?;
            let variants = self.list(model.variants, model.variant_count)?;
            let interface = Interface {
                name: self.text(model.name)?,
                symbol_prefix: symbol.strip_suffix("_query").unwrap_or(symbol).to_owned(),
                provenance: self.text(model.provenance)?,
                variants: variants.iter().map(|&v| self.variant(v)).collect::<Result<_, _>>()?,
            };
            interface.check().map_err(|_| self.damaged(Damage::Tensor))?;
            Ok(interface)
        }
    }

    /// # Safety
    /// As for [`Reader::interface`].
    unsafe fn variant(&self, variant: *const abi::Variant) -> Result<Variant, ArtifactError> {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let variant = self.whole(variant, self.struct_size(variant.cast())?)?;
            let crowded = variant.workers >= variant.threads;
            if variant.run.is_none() || crowded || !variant.arena_align.is_power_of_two() {
                return Err(self.damaged(Damage::Variant));
            }
            let tensors = |list, count| {
                let tensors = self.list(list, count)?;
                tensors.iter().map(|&tensor| self.tensor(tensor)).collect::<Result<_, _>>()
            };
            Ok(Variant {
                target: self.text(variant.target)?,
                features: variant.features,
                threads: variant.threads,
                workers: variant.workers,
                arena_size: variant.arena_size,
                arena_align: variant.arena_align,
                inputs: tensors(variant.inputs, variant.input_count)?,
                outputs: tensors(variant.outputs, variant.output_count)?,
            })
        }
    }

    /// # Safety
    /// As for [`Reader::interface`].
    unsafe fn tensor(&self, tensor: *const abi::TensorDesc) -> Result<Tensor, ArtifactError> {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let desc = self.whole(tensor, self.struct_size(tensor.cast())?)?;
            let dtype = DType::from_onnx(desc.dtype).ok_or_else(|| self.damaged(Damage::ElementType))?;
            let dims = self.list(desc.dims, desc.rank)?.iter().map(|&dim| usize::try_from(dim));
            let dims = dims.collect::<Result<_, _>>().map_err(|_| self.damaged(Damage::Tensor))?;
            let quantization = if desc.quant.is_null() { None } else { Some(self.quantization(desc.quant)?) };
            let tensor = Tensor { name: self.text(desc.name)?, dtype, dims, quantization };
            if tensor.byte_size().map(|size| size as u64) != Some(desc.byte_size) {
                return Err(self.damaged(Damage::Tensor));
            }
            Ok(tensor)
        }
    }

    /// # Safety
    /// As for [`Reader::interface`].
    unsafe fn quantization(&self, quant: *const abi::Quant) -> Result<Quantization, ArtifactError> {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let quant = self.whole(quant, self.struct_size(quant.cast())?)?;
            Ok(Quantization {
                axis: u32::try_from(quant.axis).ok(),
                scale: self.list(quant.scale, quant.count)?.to_vec(),
                zero_point: self.list(quant.zero_point, quant.count)?.to_vec(),
            })
        }
    }

    /// Reads the size, the first field of every struct but the model.
    ///
    /// # Safety
    /// `object` is null or points to a struct that starts with its size.
    unsafe fn struct_size(&self, object: *const u32) -> Result<u32, ArtifactError> {
        // SAFETY: guaranteed by the caller.
        unsafe { object.as_ref() }.copied().ok_or_else(|| self.damaged(Damage::NullPointer))
    }

    /// The struct, if it has at least the fields of this version; otherwise an error.
    ///
    /// # Safety
    /// `object` points to a `T` of `size` bytes that outlives the result.
    unsafe fn whole<'b, T>(&self, object: *const T, size: u32) -> Result<&'b T, ArtifactError> {
        if (size as usize) < size_of::<T>() {
            return Err(self.damaged(Damage::StructSize));
        }
        // SAFETY: guaranteed by the caller, and the check above: all fields exist.
        Ok(unsafe { &*object })
    }

    /// # Safety
    /// `first` is null or points to `count` elements that outlive the result.
    unsafe fn list<'b, T>(&self, first: *const T, count: u32) -> Result<&'b [T], ArtifactError> {
        match (first.is_null(), count) {
            (_, 0) => Ok(&[]),
            (true, _) => Err(self.damaged(Damage::NullPointer)),
            // SAFETY: guaranteed by the caller.
            (false, count) => Ok(unsafe { std::slice::from_raw_parts(first, count as usize) }),
        }
    }

    /// # Safety
    /// `text` is null or points to a NUL-terminated string.
    unsafe fn text(&self, text: *const c_char) -> Result<String, ArtifactError> {
        if text.is_null() {
            return Err(self.damaged(Damage::NullPointer));
        }
        // SAFETY: guaranteed by the caller.
        let text = unsafe { CStr::from_ptr(text) };
        text.to_str().map(str::to_owned).map_err(|_| self.damaged(Damage::Text))
    }
}
