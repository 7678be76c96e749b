//! The structs of `eightfold.h` in Rust (`#[repr(C)]`). The header documents the fields.
//!
//! Invariant: every field has the same offset and size as in the header. `tests/abi.rs` compiles C assertions from the
//! offsets here. The assertions below fix the numbers themselves, so that version 1 cannot change by mistake.

use core::ffi::{c_char, c_void};

use crate::features::FeatureSet;
use crate::status::Status;

/// The version of the ABI in this crate: `EIGHTFOLD_ABI_VERSION`.
pub const ABI_VERSION: u32 = 1;

/// The ELF note that identifies an artifact before any of its code runs.
///
/// Its owner is [`NOTE_OWNER`] and its type [`NOTE_TYPE`]. Its descriptor has the ABI version as a little-endian `u32`,
/// the NUL-terminated name of the query function, and [`NOTE_CHECKSUM`] bytes of checksum.
pub const NOTE_SECTION: &str = ".note.eightfold";
/// The owner of the note, NUL included.
pub const NOTE_OWNER: &[u8] = b"Eightfold\0";
/// The type of the note.
pub const NOTE_TYPE: u32 = 1;
/// The number of checksum bytes at the end of the note's descriptor: the SHA-256 of the shared library, computed with
/// zeros in their place. They are zero in an object file, and in a library that another program linked.
pub const NOTE_CHECKSUM: usize = 32;
/// The symbol of the [`Runtime`] table that is linked into artifacts. It changes with [`ABI_VERSION`].
pub const RUNTIME_SYMBOL: &str = "eightfold_runtime_v1";

/// The quantization of stored integers: `eightfold_quant`.
#[derive(Debug)]
#[repr(C)]
pub struct Quant {
    /// The number of bytes of this struct that exist.
    pub struct_size: u32,
    /// The number of scales and of zero points.
    pub count: u32,
    /// The dimension along which scales and zero points vary, or -1.
    pub axis: i32,
    /// 0.
    pub reserved: u32,
    /// `count` scales.
    pub scale: *const f32,
    /// `count` zero points.
    pub zero_point: *const i32,
}

/// One input or output: `eightfold_tensor_desc`.
#[derive(Debug)]
#[repr(C)]
pub struct TensorDesc {
    /// The number of bytes of this struct that exist.
    pub struct_size: u32,
    /// The element type, by its ONNX number.
    pub dtype: i32,
    /// UTF-8, NUL-terminated.
    pub name: *const c_char,
    /// The number of dims.
    pub rank: u32,
    /// 0.
    pub reserved: u32,
    /// `rank` dims.
    pub dims: *const i64,
    /// The number of bytes of the tensor.
    pub byte_size: u64,
    /// The quantization, or null.
    pub quant: *const Quant,
}

/// The functions by which the threads of generated code wait for each other: `eightfold_host`.
#[derive(Debug)]
#[repr(C)]
pub struct Host {
    /// The number of bytes of this struct that exist.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The first argument of both functions.
    pub context: *mut c_void,
    /// Waits while `*word` is `expected`. May return early.
    pub wait: Option<unsafe extern "C" fn(context: *mut c_void, word: *const u32, expected: u32)>,
    /// Wakes all threads that wait on `word`.
    pub wake: Option<unsafe extern "C" fn(context: *mut c_void, word: *const u32)>,
    /// 64 bytes per thread, zero before the first run. The code of all threads shares them.
    pub words: *mut u32,
}

/// One run of a variant: `eightfold_call`.
#[derive(Debug)]
#[repr(C)]
pub struct Call {
    /// The number of bytes of this struct that exist.
    pub struct_size: u32,
    /// The number of this thread among the variant's threads.
    pub thread: u32,
    /// `arena_size` bytes at a multiple of `arena_align`.
    pub arena: *mut c_void,
    /// One pointer per input.
    pub inputs: *const *const c_void,
    /// One pointer per output.
    pub outputs: *const *mut c_void,
    /// Null, or one pointer per output: null, or to space for its dims.
    pub output_shapes: *const *mut i64,
    /// Null if there are no workers.
    pub host: *const Host,
}

/// The function that runs a variant: the type of [`Variant::run`].
pub type RunFn = unsafe extern "C" fn(call: *const Call) -> Status;

/// The model compiled for one choice of shapes, CPU features and threads: `eightfold_variant`.
#[derive(Debug)]
#[repr(C)]
pub struct Variant {
    /// The number of bytes of this struct that exist.
    pub struct_size: u32,
    /// The number of threads that it was compiled for.
    pub threads: u32,
    /// The CPU features that it needs.
    pub features: FeatureSet,
    /// The target's name.
    pub target: *const c_char,
    /// The size of the arena in bytes.
    pub arena_size: u64,
    /// The alignment of the arena, a power of two.
    pub arena_align: u32,
    /// The number of inputs.
    pub input_count: u32,
    /// The number of outputs.
    pub output_count: u32,
    /// The number of threads besides the first that must call `run`: 0, or `threads` - 1.
    pub workers: u32,
    /// `input_count` descriptors.
    pub inputs: *const *const TensorDesc,
    /// `output_count` descriptors.
    pub outputs: *const *const TensorDesc,
    /// The code.
    pub run: Option<RunFn>,
}

/// A variant, its arena and its workers: `eightfold_session`, which is opaque to callers.
#[derive(Debug)]
pub struct Session {
    pub(crate) variant: *const Variant,
    pub(crate) arena: *mut c_void,
    /// The team of workers. Null if the first thread does all the work.
    pub(crate) team: *mut c_void,
}

/// The session functions: `eightfold_runtime`.
#[derive(Debug)]
#[repr(C)]
pub struct Runtime {
    /// The number of bytes of this struct that exist.
    pub struct_size: u32,
    /// [`ABI_VERSION`].
    pub abi_version: u32,
    /// [`crate::session::select`].
    pub select: unsafe extern "C" fn(model: *const Model, variant: *mut u32) -> Status,
    /// [`crate::session::session_size`].
    pub session_size: unsafe extern "C" fn(model: *const Model, variant: u32) -> usize,
    /// [`crate::session::session_create_in`].
    pub session_create_in: unsafe extern "C" fn(
        model: *const Model,
        variant: u32,
        memory: *mut c_void,
        size: usize,
        session: *mut *mut Session,
    ) -> Status,
    /// [`crate::session::session_run`].
    pub session_run: unsafe extern "C" fn(
        session: *mut Session,
        inputs: *const *const c_void,
        outputs: *const *mut c_void,
    ) -> Status,
    /// [`crate::session::status_message`].
    pub status_message: extern "C" fn(status: Status) -> *const c_char,
    /// [`crate::session::session_destroy`].
    pub session_destroy: unsafe extern "C" fn(session: *mut Session),
}

/// The descriptor that an artifact's query function returns: `eightfold_model`.
#[derive(Debug)]
#[repr(C)]
pub struct Model {
    /// The [`ABI_VERSION`] of the compiler that made the artifact.
    pub abi_version: u32,
    /// The number of bytes of this struct that exist.
    pub struct_size: u32,
    /// UTF-8, NUL-terminated.
    pub name: *const c_char,
    /// UTF-8, NUL-terminated.
    pub provenance: *const c_char,
    /// The number of variants.
    pub variant_count: u32,
    /// 0.
    pub reserved: u32,
    /// `variant_count` variants, the preferred ones first.
    pub variants: *const *const Variant,
    /// The session functions. Null if the artifact was linked without the runtime.
    pub runtime: *const Runtime,
}

/// The type of the only function that an artifact exports.
pub type QueryFn = unsafe extern "C" fn() -> *const Model;

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Quant>() == 32);
    assert!(size_of::<TensorDesc>() == 48);
    assert!(size_of::<Host>() == 40);
    assert!(size_of::<Call>() == 48);
    assert!(size_of::<Variant>() == 96);
    assert!(size_of::<Runtime>() == 56);
    assert!(size_of::<Model>() == 48);
};
