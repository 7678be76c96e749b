//! Sessions: a variant that this CPU supports, and its arena, in memory from the caller.
//!
//! Invariant: this module does not allocate, has no globals and does not panic. A session lies entirely in the caller's
//! memory, except for the stacks of its workers. This module does not look at tensors; the variant's `run` checks the
//! pointers.

use core::ffi::{c_char, c_void};
use core::ptr;

use crate::abi::{ABI_VERSION, Call, Model, Runtime, Session, Variant};
use crate::features;
use crate::status::Status;
use crate::team;

/// The table that artifacts with a runtime refer to.
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

/// Sets `*index` to the first variant, from `*index` on, that this CPU supports.
///
/// # Errors
/// [`Status::UNSUPPORTED_CPU`] if there is none. `*index` does not change then.
///
/// # Safety
/// `model` is null or a model that an artifact's query function returned. `index` is null or writable.
pub unsafe extern "C" fn select(model: *const Model, index: *mut u32) -> Status {
    // SAFETY: the caller's promise.
    let (model, index) = match unsafe { (checked(model), index.as_mut()) } {
        (Ok(model), Some(index)) => (model, index),
        (Err(status), _) => return status,
        (_, None) => return Status::INVALID_ARGUMENT,
    };
    let cpu = features::detect();
    for candidate in *index..model.variant_count {
        // SAFETY: `model` is a model, and `checked` has checked its version.
        if let Some(variant) = unsafe { variant(model, candidate) }
            && cpu.contains(variant.features)
        {
            *index = candidate;
            return Status::OK;
        }
    }
    Status::UNSUPPORTED_CPU
}

/// Returns the number of bytes that a session of the variant `index` needs, at any alignment; 0 if there is no such
/// variant.
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

/// Creates a session of the variant `index` in `memory`, and starts its workers if it has any.
///
/// # Errors
/// [`Status::UNSUPPORTED_CPU`], [`Status::THREADS_UNAVAILABLE`], [`Status::MEMORY_TOO_SMALL`], or
/// [`Status::INVALID_ARGUMENT`] for a null pointer or an index out of range.
///
/// # Safety
/// `model` is null or a model that an artifact's query function returned. `memory` is null or `size` bytes that nothing
/// else uses during the life of the session, which ends at [`session_destroy`] if there are workers. `session` is null
/// or writable.
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
    // SAFETY: `needed` includes the session, the team, the arena and the greatest padding before each. So all of them
    // lie in the `size` bytes, which belong to the session until it is destroyed.
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
/// The status of the variant's `run`, or [`Status::INVALID_ARGUMENT`] for a null pointer.
///
/// # Safety
/// `session` is null or a session from [`session_create_in`] whose memory still exists and which no other thread is
/// running. `inputs` and `outputs` are null or have one pointer per tensor of the variant, each null or to its
/// `byte_size` bytes. Outputs do not overlap any other tensor.
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
    // SAFETY: the CPU supports the variant, and the arena has its size and alignment. The caller guarantees the
    // tensors, and that nothing else runs the session now.
    unsafe {
        match session.team.is_null() {
            true => run(&call),
            false => team::run(session.team.cast(), call),
        }
    }
}

/// Ends a session and joins its workers. After that, the memory belongs to the caller alone. Does nothing for null.
///
/// # Safety
/// `session` is null or a session from [`session_create_in`] that is not running and that nothing uses again.
pub unsafe extern "C" fn session_destroy(session: *mut Session) {
    // SAFETY: the caller's promise.
    if let Some(session) = unsafe { session.as_mut() }
        && !session.team.is_null()
    {
        // SAFETY: as above. The pointer becomes null, so a second call does nothing.
        unsafe { team::stop(core::mem::replace(&mut session.team, ptr::null_mut()).cast()) };
    }
}

/// Returns the status as an English text, NUL-terminated.
pub extern "C" fn status_message(status: Status) -> *const c_char {
    status.message().as_ptr()
}

/// Returns the model, if it is not null and has this version of the ABI.
///
/// # Safety
/// `model` is null or points to at least the first two fields of a model, and to a whole model if these have this
/// version.
unsafe fn checked<'a>(model: *const Model) -> Result<&'a Model, Status> {
    if model.is_null() {
        return Err(Status::INVALID_ARGUMENT);
    }
    // SAFETY: reads only the two fields that every version has.
    let (version, size) = unsafe { ((*model).abi_version, (*model).struct_size) };
    if version != ABI_VERSION || (size as usize) < size_of::<Model>() {
        return Err(Status::ABI_MISMATCH);
    }
    // SAFETY: it is a whole model.
    Ok(unsafe { &*model })
}

/// Returns the variant `index` of a checked model, if it exists and is complete.
///
/// # Safety
/// `model.variants` has `variant_count` pointers, each null or to a variant.
unsafe fn variant(model: &Model, index: u32) -> Option<&Variant> {
    if index >= model.variant_count || model.variants.is_null() {
        return None;
    }
    // SAFETY: the index is in range. The size is read before any other field.
    unsafe {
        let variant = *model.variants.add(index as usize);
        let whole = !variant.is_null() && (*variant).struct_size as usize >= size_of::<Variant>();
        whole.then(|| &*variant)
    }
}

/// Returns the number of bytes for a session, its team, its arena and the greatest padding before each; `None` on
/// overflow.
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

/// Returns the number of bytes of the variant's team; `None` if it needs no team, or on overflow.
fn team_size(variant: &Variant) -> Option<usize> {
    if variant.workers == 0 { None } else { team::size(variant.workers.checked_add(1)?) }
}

/// Rounds `memory` up to a multiple of `align`, a power of two.
///
/// # Safety
/// The bytes up to there belong to the allocation of `memory`.
unsafe fn aligned(memory: *mut c_void, align: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { memory.byte_add(memory.addr().wrapping_neg() & (align - 1)) }
}
