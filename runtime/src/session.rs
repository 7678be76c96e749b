//! Sessions: a variant that this CPU can run, and an arena for it, in memory that the caller gives.
//!
//! Invariant: nothing here allocates, keeps a global or panics; all that a session is, its workers' stacks apart, lies in
//! the caller's memory. It does not look at tensors: the variant's own `run` checks the pointers.

use core::ffi::{c_char, c_void};
use core::ptr;

use crate::abi::{ABI_VERSION, Call, Model, Runtime, Session, Variant};
use crate::features;
use crate::status::Status;
use crate::team;

/// The table that artifacts with a runtime point to.
pub const RUNTIME: Runtime = Runtime {
    struct_size: size_of::<Runtime>() as u32,
    abi_version: ABI_VERSION,
    select,
    session_size,
    session_create_in,
    session_run,
    status_message,
    session_destroy,
};

/// Sets `*index` to the first variant at or after `*index` that this CPU can run.
///
/// # Errors
/// [`Status::UNSUPPORTED_CPU`] if there is none; then `*index` stays as it was.
///
/// # Safety
/// `model` is null or a model that an artifact's query function returned; `index` is null or can be written.
pub unsafe extern "C" fn select(model: *const Model, index: *mut u32) -> Status {
    // SAFETY: the caller's promise.
    let (model, index) = match unsafe { (checked(model), index.as_mut()) } {
        (Ok(model), Some(index)) => (model, index),
        (Err(status), _) => return status,
        (_, None) => return Status::INVALID_ARGUMENT,
    };
    let cpu = features::detect();
    for candidate in *index..model.variant_count {
        // SAFETY: `model` is a model, and `checked` has seen its version.
        if let Some(variant) = unsafe { variant(model, candidate) }
            && cpu.contains(variant.features)
        {
            *index = candidate;
            return Status::OK;
        }
    }
    Status::UNSUPPORTED_CPU
}

/// Bytes that a session of variant `index` needs, at any alignment; 0 if it cannot have one.
///
/// # Safety
/// `model` is null or a model that an artifact's query function returned.
pub unsafe extern "C" fn session_size(model: *const Model, index: u32) -> usize {
    // SAFETY: the caller's promise.
    let Ok(model) = (unsafe { checked(model) }) else {
        return 0;
    };
    // SAFETY: as above.
    let Some(variant) = (unsafe { variant(model, index) }) else {
        return 0;
    };
    needed(variant).unwrap_or(0)
}

/// Makes a session of variant `index` in `memory`, and begins its workers if it has any.
///
/// # Errors
/// [`Status::UNSUPPORTED_CPU`], [`Status::THREADS_UNAVAILABLE`], [`Status::MEMORY_TOO_SMALL`],
/// [`Status::INVALID_ARGUMENT`] for a null pointer or an index out of range.
///
/// # Safety
/// `model` is null or a model that an artifact's query function returned; `memory` is null or `size` bytes that nothing
/// else uses while the session is in use (with workers: until [`session_destroy`]); `session` is null or can be written.
pub unsafe extern "C" fn session_create_in(
    model: *const Model,
    index: u32,
    memory: *mut c_void,
    size: usize,
    session: *mut *mut Session,
) -> Status {
    // SAFETY: the caller's promise.
    let (model, session) = match unsafe { (checked(model), session.as_mut()) } {
        (Ok(model), Some(session)) => (model, session),
        (Err(status), _) => return status,
        (_, None) => return Status::INVALID_ARGUMENT,
    };
    // SAFETY: as above.
    let Some(variant) = (unsafe { variant(model, index) }) else {
        return Status::INVALID_ARGUMENT;
    };
    if !features::detect().contains(variant.features) {
        return Status::UNSUPPORTED_CPU;
    }
    let (Some(needed), Some(run)) = (needed(variant), variant.run) else {
        return Status::INVALID_ARGUMENT;
    };
    if memory.is_null() {
        return Status::INVALID_ARGUMENT;
    }
    if size < needed {
        return Status::MEMORY_TOO_SMALL;
    }
    // SAFETY: `needed` counts the session, the team, the arena and the worst padding before each, so all lie in `size`
    // bytes, which stay the session's until it is destroyed.
    unsafe {
        let here = aligned(memory, align_of::<Session>()).cast::<Session>();
        let (mut team, mut rest) = (ptr::null_mut(), here.add(1).cast());
        if let Some(size) = team_size(variant) {
            let memory = aligned(rest, team::ALIGN);
            team = match team::start(memory, run, variant.workers + 1) {
                Ok(team) => team,
                Err(status) => return status,
            };
            rest = memory.byte_add(size);
        }
        let arena = aligned(rest, variant.arena_align as usize);
        here.write(Session { variant, arena, team: team.cast() });
        *session = here;
    }
    Status::OK
}

/// Runs the model once.
///
/// # Errors
/// What the variant's `run` returns; [`Status::INVALID_ARGUMENT`] for a null pointer.
///
/// # Safety
/// `session` is null or one that [`session_create_in`] made, whose memory is still there and which no other thread runs
/// now. `inputs` and `outputs` are null or hold one pointer per tensor of the variant, each null or to its `byte_size`
/// bytes; outputs overlap nothing else.
pub unsafe extern "C" fn session_run(
    session: *mut Session,
    inputs: *const *const c_void,
    outputs: *const *mut c_void,
) -> Status {
    // SAFETY: the caller's promise; the session's variant was checked when it was made.
    let Some((session, variant)) = (unsafe { session.as_ref().and_then(|s| Some((s, s.variant.as_ref()?))) }) else {
        return Status::INVALID_ARGUMENT;
    };
    let Some(run) = variant.run else {
        return Status::INVALID_ARGUMENT;
    };
    let call = Call {
        struct_size: size_of::<Call>() as u32,
        thread: 0,
        arena: session.arena,
        inputs,
        outputs,
        output_shapes: ptr::null(),
        host: ptr::null(),
    };
    // SAFETY: the variant runs on this CPU, the arena has its size and alignment, the tensors are the caller's promise,
    // and so is that nothing else runs the session now.
    unsafe {
        match session.team.is_null() {
            true => run(&call),
            false => team::run(session.team.cast(), call),
        }
    }
}

/// Ends a session: joins its workers. Its memory is the caller's alone again. Null is left alone.
///
/// # Safety
/// `session` is null or one that [`session_create_in`] made, which nothing runs now and nothing uses again.
pub unsafe extern "C" fn session_destroy(session: *mut Session) {
    // SAFETY: the caller's promise.
    if let Some(session) = unsafe { session.as_mut() }
        && !session.team.is_null()
    {
        // SAFETY: as above; the pointer goes, so that another call does nothing.
        unsafe { team::stop(core::mem::replace(&mut session.team, ptr::null_mut()).cast()) };
    }
}

/// The status in English, NUL-terminated.
pub extern "C" fn status_message(status: Status) -> *const c_char {
    status.message().as_ptr()
}

/// The model, if there is one and it speaks this version of the ABI.
///
/// # Safety
/// `model` is null or points to the first two fields of a model, and to all of it if those are this version's.
unsafe fn checked<'a>(model: *const Model) -> Result<&'a Model, Status> {
    if model.is_null() {
        return Err(Status::INVALID_ARGUMENT);
    }
    // SAFETY: the two fields are read without touching what an older model may not have.
    let (version, size) = unsafe { ((*model).abi_version, (*model).struct_size) };
    if version != ABI_VERSION || (size as usize) < size_of::<Model>() {
        return Err(Status::ABI_MISMATCH);
    }
    // SAFETY: it is a whole model.
    Ok(unsafe { &*model })
}

/// Variant `index` of a checked model, if there is one and it is whole.
///
/// # Safety
/// `model.variants` holds `variant_count` pointers, each null or to a variant.
unsafe fn variant(model: &Model, index: u32) -> Option<&Variant> {
    if index >= model.variant_count || model.variants.is_null() {
        return None;
    }
    // SAFETY: the index is in range; the size is read before the rest is touched.
    unsafe {
        let variant = *model.variants.add(index as usize);
        let whole = !variant.is_null() && (*variant).struct_size as usize >= size_of::<Variant>();
        whole.then(|| &*variant)
    }
}

/// Bytes for a session, its team, its arena and the worst padding before each; `None` if that is no size at all.
fn needed(variant: &Variant) -> Option<usize> {
    if !variant.arena_align.is_power_of_two() || variant.workers >= variant.threads.max(1) {
        return None;
    }
    let session = size_of::<Session>() + align_of::<Session>() - 1;
    let team = match variant.workers {
        0 => 0,
        _ => team_size(variant)?.checked_add(team::ALIGN - 1)?,
    };
    let padding = variant.arena_align as usize - 1;
    usize::try_from(variant.arena_size).ok()?.checked_add(session)?.checked_add(team)?.checked_add(padding)
}

/// Bytes of the variant's team; `None` if it needs none, or it is no size at all.
fn team_size(variant: &Variant) -> Option<usize> {
    if variant.workers == 0 { None } else { team::size(variant.workers.checked_add(1)?) }
}

/// `memory`, moved up to a multiple of `align`, a power of two.
///
/// # Safety
/// The bytes up to there belong to `memory`'s allocation.
unsafe fn aligned(memory: *mut c_void, align: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { memory.byte_add(memory.addr().wrapping_neg() & (align - 1)) }
}
