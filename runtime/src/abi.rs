//! The `#[repr(C)]` twin of `eightfold.h`; the header documents the fields.
//!
//! Invariant: field for field the same layout as the header. `tests/abi.rs` compiles C assertions made from the
//! offsets here; the assertions below pin the numbers themselves, so that version 1 cannot change unnoticed.

use core::ffi::{c_char, c_void};

use crate::features::FeatureSet;
use crate::status::Status;

/// The version of the ABI that this crate speaks: `EIGHTFOLD_ABI_VERSION`.
pub const ABI_VERSION: u32 = 1;

/// The ELF note by which an artifact is known before any of its code runs.
///
/// Its owner is [`NOTE_OWNER`], its type [`NOTE_TYPE`], its descriptor the ABI version as a little-endian `u32`, the
/// NUL-terminated name of the query function, and [`NOTE_CHECKSUM`] bytes.
pub const NOTE_SECTION: &str = ".note.eightfold";
/// The owner of the note, NUL included.
pub const NOTE_OWNER: &[u8] = b"Eightfold\0";
/// The type of the note.
pub const NOTE_TYPE: u32 = 1;
/// Bytes at the end of the note's descriptor: the SHA-256 of the shared library with zeros in their place. All of them are
/// zero in an object file, and in a library that another program has linked.
pub const NOTE_CHECKSUM: usize = 32;
/// The symbol of the [`Runtime`] table that is linked into artifacts; it changes with [`ABI_VERSION`].
pub const RUNTIME_SYMBOL: &str = "eightfold_runtime_v1";

/// How stored integers stand for real numbers: `eightfold_quant`.
#[derive(Debug)]
#[repr(C)]
pub struct Quant {
    /// Bytes of this struct that exist.
    pub struct_size: u32,
    /// Number of scales and of zero points.
    pub count: u32,
    /// The dimension along which they vary, or -1.
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
    /// Bytes of this struct that exist.
    pub struct_size: u32,
    /// ONNX's number of the element type.
    pub dtype: i32,
    /// UTF-8, NUL-terminated.
    pub name: *const c_char,
    /// Number of dims.
    pub rank: u32,
    /// 0.
    pub reserved: u32,
    /// `rank` numbers.
    pub dims: *const i64,
    /// Bytes of the whole tensor.
    pub byte_size: u64,
    /// Null: not quantized.
    pub quant: *const Quant,
}

/// How generated code of several threads waits: `eightfold_host`.
#[derive(Debug)]
#[repr(C)]
pub struct Host {
    /// Bytes of this struct that exist.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Handed to both functions.
    pub context: *mut c_void,
    /// Returns when `*word` may no longer be `expected`.
    pub wait: Option<unsafe extern "C" fn(context: *mut c_void, word: *const u32, expected: u32)>,
    /// Lets all waiters on `word` go on.
    pub wake: Option<unsafe extern "C" fn(context: *mut c_void, word: *const u32)>,
    /// 64 bytes for each thread, zero before the first run, which the code of all threads shares.
    pub words: *mut u32,
}

/// One run of a variant: `eightfold_call`.
#[derive(Debug)]
#[repr(C)]
pub struct Call {
    /// Bytes of this struct that exist.
    pub struct_size: u32,
    /// Which of the variant's threads this is.
    pub thread: u32,
    /// `arena_size` bytes at a multiple of `arena_align`.
    pub arena: *mut c_void,
    /// One pointer per input.
    pub inputs: *const *const c_void,
    /// One pointer per output.
    pub outputs: *const *mut c_void,
    /// Null, or per output null or room for its dims.
    pub output_shapes: *const *mut i64,
    /// Null where there are no workers.
    pub host: *const Host,
}

/// Runs a variant: the type of [`Variant::run`].
pub type RunFn = unsafe extern "C" fn(call: *const Call) -> Status;

/// The model for one choice of shapes, CPU features and threads: `eightfold_variant`.
#[derive(Debug)]
#[repr(C)]
pub struct Variant {
    /// Bytes of this struct that exist.
    pub struct_size: u32,
    /// Threads that it was compiled for.
    pub threads: u32,
    /// What the CPU must have.
    pub features: FeatureSet,
    /// The target's name.
    pub target: *const c_char,
    /// Bytes.
    pub arena_size: u64,
    /// A power of two.
    pub arena_align: u32,
    /// Number of inputs.
    pub input_count: u32,
    /// Number of outputs.
    pub output_count: u32,
    /// Threads besides the first that have work and so must enter `run`: 0, or `threads` - 1.
    pub workers: u32,
    /// `input_count` descriptors.
    pub inputs: *const *const TensorDesc,
    /// `output_count` descriptors.
    pub outputs: *const *const TensorDesc,
    /// The code.
    pub run: Option<RunFn>,
}

/// A variant, its arena and its workers: `eightfold_session`, which callers see from outside alone.
#[derive(Debug)]
pub struct Session {
    pub(crate) variant: *const Variant,
    pub(crate) arena: *mut c_void,
    /// The team of workers. Null where the first thread does all the work.
    pub(crate) team: *mut c_void,
}

/// The session functions: `eightfold_runtime`.
#[derive(Debug)]
#[repr(C)]
pub struct Runtime {
    /// Bytes of this struct that exist.
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

/// What an artifact's query function returns: `eightfold_model`.
#[derive(Debug)]
#[repr(C)]
pub struct Model {
    /// [`ABI_VERSION`] of the compiler that made the artifact.
    pub abi_version: u32,
    /// Bytes of this struct that exist.
    pub struct_size: u32,
    /// UTF-8, NUL-terminated.
    pub name: *const c_char,
    /// UTF-8, NUL-terminated.
    pub provenance: *const c_char,
    /// Number of variants.
    pub variant_count: u32,
    /// 0.
    pub reserved: u32,
    /// `variant_count` variants in order of preference.
    pub variants: *const *const Variant,
    /// Null: linked without the runtime.
    pub runtime: *const Runtime,
}

/// The type of an artifact's one exported function.
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
