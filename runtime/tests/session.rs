//! Tests sessions with hand-made models: selection, memory, and every error.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use eightfold_runtime::abi::{ABI_VERSION, Call, Model, Session, Variant};
use eightfold_runtime::features::FeatureSet;
use eightfold_runtime::session::{
    select, session_create_in, session_destroy, session_run, session_size, status_message,
};
use eightfold_runtime::status::Status;

const NO_SUCH_CPU: FeatureSet = FeatureSet::EMPTY.with(255);

/// Computes y = x + 1 on one float. Stores the 1 in the arena's last byte first, so that a wrong arena is detected.
unsafe extern "C" fn add_one(call: *const Call) -> Status {
    // SAFETY: the tests below call it with whole calls.
    unsafe {
        let call = &*call;
        if !call.arena.addr().is_multiple_of(64) {
            return Status::MISALIGNED_ARENA;
        }
        call.arena.cast::<u8>().add(255).write(1);
        let step = f32::from(call.arena.cast::<u8>().add(255).read());
        let x = (*call.inputs).cast::<f32>().read_unaligned();
        (*call.outputs).cast::<f32>().write_unaligned(x + step);
    }
    Status::OK
}

fn variant(features: FeatureSet, threads: u32) -> Variant {
    Variant {
        struct_size: size_of::<Variant>() as u32,
        threads,
        features,
        target: c"test".as_ptr(),
        arena_size: 256,
        arena_align: 64,
        input_count: 1,
        output_count: 1,
        workers: 0,
        inputs: ptr::null(),
        outputs: ptr::null(),
        run: Some(add_one),
    }
}

/// Calls `test` with a model that has these variants.
fn with_model(variants: &[Variant], test: impl FnOnce(&mut Model)) {
    let pointers: Vec<*const Variant> = variants.iter().map(ptr::from_ref).collect();
    test(&mut Model {
        abi_version: ABI_VERSION,
        struct_size: size_of::<Model>() as u32,
        name: c"test".as_ptr(),
        provenance: c"by hand".as_ptr(),
        variant_count: pointers.len() as u32,
        reserved: 0,
        variants: pointers.as_ptr(),
        runtime: ptr::null(),
    });
}

fn create(model: &Model, index: u32, memory: &mut [u8]) -> Result<*mut Session, Status> {
    let mut session = ptr::null_mut();
    // SAFETY: the model is complete, and the memory has the given size.
    let status = unsafe { session_create_in(model, index, memory.as_mut_ptr().cast(), memory.len(), &mut session) };
    if status == Status::OK { Ok(session) } else { Err(status) }
}

fn run(session: *mut Session, x: f32) -> f32 {
    let mut y = 0.0f32;
    let inputs = [ptr::from_ref(&x).cast::<c_void>()];
    let outputs = [ptr::from_mut(&mut y).cast::<c_void>()];
    // SAFETY: the variant has one input and one output. The session's memory is alive.
    let status = unsafe { session_run(session, inputs.as_ptr(), outputs.as_ptr()) };
    assert_eq!(status, Status::OK);
    y
}

#[test]
fn picks_the_first_variant_that_the_cpu_can_run() {
    let baseline = || variant(FeatureSet::EMPTY, 1);
    with_model(&[variant(NO_SUCH_CPU, 1), baseline(), variant(NO_SUCH_CPU, 1), baseline()], |model| {
        let from = |first: u32| {
            let mut index = first;
            // SAFETY: the model is whole.
            let status = unsafe { select(model, &mut index) };
            (status, index)
        };
        assert_eq!(from(0), (Status::OK, 1));
        assert_eq!(from(2), (Status::OK, 3));
        assert_eq!(from(4), (Status::UNSUPPORTED_CPU, 4));
        assert_eq!(from(u32::MAX), (Status::UNSUPPORTED_CPU, u32::MAX));
    });
}

#[test]
fn runs_in_memory_of_any_alignment_and_exactly_the_size_it_asks_for() {
    with_model(&[variant(FeatureSet::EMPTY, 1)], |model| {
        // SAFETY: the model is whole.
        let size = unsafe { session_size(model, 0) };
        assert_eq!(size, 24 + 7 + 256 + 63);
        let mut memory = vec![0xa5u8; size + 128];
        for offset in 0..128 {
            memory.fill(0xa5);
            let (before, rest) = memory.split_at_mut(offset);
            let (mine, after) = rest.split_at_mut(size);
            let session = create(model, 0, mine).unwrap();
            assert_eq!(run(session, 41.0), 42.0);
            assert_eq!(run(session, -1.5), -0.5);
            assert!(before.iter().chain(&*after).all(|&byte| byte == 0xa5), "offset {offset}");
        }
        assert_eq!(create(model, 0, &mut memory[..size - 1]), Err(Status::MEMORY_TOO_SMALL));
        assert_eq!(create(model, 0, &mut []), Err(Status::MEMORY_TOO_SMALL));
    });
}

#[test]
fn two_sessions_run_at_once_on_two_threads() {
    with_model(&[variant(FeatureSet::EMPTY, 1)], |model| {
        // SAFETY: the model is whole.
        let size = unsafe { session_size(model, 0) };
        let mut memories = [vec![0u8; size], vec![0u8; size]];
        let sessions = memories.each_mut().map(|memory| create(model, 0, memory).unwrap().expose_provenance());
        std::thread::scope(|scope| {
            for session in sessions {
                scope.spawn(move || {
                    let session = ptr::with_exposed_provenance_mut(session);
                    for x in 0..1000 {
                        assert_eq!(run(session, x as f32), x as f32 + 1.0);
                    }
                });
            }
        });
    });
}

/// Adds the thread numbers in the arena: each of four threads writes its number and waits for that of the next thread,
/// in a circle, like generated code.
unsafe extern "C" fn add_threads(call: *const Call) -> Status {
    const THREADS: usize = 4;
    // SAFETY: the tests below call it with whole calls of four threads.
    unsafe {
        let call = &*call;
        let Some(host) = call.host.as_ref() else { return Status::UNSUPPORTED_THREADS };
        let me = call.thread as usize;
        let word = |thread: usize| AtomicU32::from_ptr(host.words.add(16 * thread));
        let next = word(me).load(Ordering::Relaxed).wrapping_add(1);
        let x = (*call.inputs).cast::<f32>().read_unaligned();
        call.arena.cast::<f32>().add(me).write(x + me as f32);
        word(me).store(next, Ordering::SeqCst);
        host.wake.unwrap()(host.context, word(me).as_ptr());
        let others = if me == 0 { 1..THREADS } else { (me + 1) % THREADS..(me + 1) % THREADS + 1 };
        for other in others {
            loop {
                let seen = word(other).load(Ordering::Acquire);
                if seen.wrapping_sub(next) as i32 >= 0 {
                    break;
                }
                host.wait.unwrap()(host.context, word(other).as_ptr(), seen);
            }
        }
        if me == 0 {
            let sum = (0..THREADS).map(|thread| call.arena.cast::<f32>().add(thread).read()).sum::<f32>();
            (*call.outputs).cast::<f32>().write_unaligned(sum);
        }
    }
    Status::OK
}

fn of_four_threads() -> Variant {
    Variant { threads: 4, workers: 3, run: Some(add_threads), ..variant(FeatureSet::EMPTY, 4) }
}

#[test]
fn workers_run_with_the_caller_and_sleep_between() {
    with_model(&[of_four_threads()], |model| {
        // SAFETY: the model is whole.
        let size = unsafe { session_size(model, 0) };
        let mut memory = vec![0xa5_u8; size + 65];
        for (round, offset) in [0, 1, 31, 64].into_iter().enumerate() {
            memory.fill(0xa5);
            let (before, rest) = memory.split_at_mut(offset);
            let (mine, after) = rest.split_at_mut(size);
            let session = create(model, 0, mine).unwrap();
            for x in 0..2000 {
                assert_eq!(run(session, x as f32), (4 * x + 6) as f32);
                if x % 500 == round {
                    // Longer than the threads spin.
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
            }
            // SAFETY: nothing is running the session. The second call does nothing.
            unsafe {
                session_destroy(session);
                session_destroy(session);
            }
            assert!(before.iter().chain(&*after).all(|&byte| byte == 0xa5), "offset {offset}");
        }
        assert_eq!(create(model, 0, &mut memory[..size - 1]), Err(Status::MEMORY_TOO_SMALL));
    });
}

#[test]
fn sessions_with_workers_come_and_go_beside_each_other() {
    with_model(&[of_four_threads()], |model| {
        // SAFETY: the model is whole.
        let size = unsafe { session_size(model, 0) };
        let model = ptr::from_ref(model).expose_provenance();
        std::thread::scope(|scope| {
            for caller in 0..3 {
                scope.spawn(move || {
                    // SAFETY: the model outlives the scope.
                    let model = unsafe { &*ptr::with_exposed_provenance::<Model>(model) };
                    let mut memory = vec![0_u8; size];
                    for round in 0..100 {
                        let session = create(model, 0, &mut memory).unwrap();
                        for x in 0..round % 7 {
                            let x = 100 * caller + x;
                            assert_eq!(run(session, x as f32), (4 * x + 6) as f32);
                        }
                        // SAFETY: nothing is running the session.
                        unsafe { session_destroy(session) };
                    }
                });
            }
        });
    });
}

#[test]
fn a_run_that_is_refused_leaves_the_workers_ready() {
    with_model(&[of_four_threads()], |model| {
        unsafe extern "C" fn refuse(call: *const Call) -> Status {
            // SAFETY: a session's call is whole.
            let refused = unsafe { (*call).inputs.is_null() };
            // SAFETY: as above.
            if refused { Status::INVALID_ARGUMENT } else { unsafe { add_threads(call) } }
        }
        let picky = Variant { run: Some(refuse), ..of_four_threads() };
        let variants = [ptr::from_ref(&picky)];
        model.variants = variants.as_ptr();
        // SAFETY: the model is whole.
        let mut memory = vec![0_u8; unsafe { session_size(model, 0) }];
        let session = create(model, 0, &mut memory).unwrap();
        for x in 0..200 {
            // SAFETY: the function rejects null.
            let refused = unsafe { session_run(session, ptr::null(), ptr::null()) };
            assert_eq!(refused, Status::INVALID_ARGUMENT);
            assert_eq!(run(session, x as f32), (4 * x + 6) as f32);
        }
        // SAFETY: nothing is running the session.
        unsafe { session_destroy(session) };
    });
}

#[test]
fn a_variant_whose_threads_share_nothing_has_no_workers() {
    with_model(&[variant(FeatureSet::EMPTY, 4)], |model| {
        // SAFETY: the model is whole.
        let size = unsafe { session_size(model, 0) };
        assert_eq!(size, 24 + 7 + 256 + 63);
        let mut memory = vec![0_u8; size];
        assert_eq!(run(create(model, 0, &mut memory).unwrap(), 1.0), 2.0);
    });
}

#[test]
fn refuses_what_it_cannot_run() {
    let no_align = Variant { arena_align: 48, ..variant(FeatureSet::EMPTY, 1) };
    let huge = Variant { arena_size: u64::MAX, ..variant(FeatureSet::EMPTY, 1) };
    // More workers than threads.
    let crowded = Variant { workers: 1, ..variant(FeatureSet::EMPTY, 1) };
    let variants = [variant(NO_SUCH_CPU, 1), crowded, no_align, huge];
    with_model(&variants, |model| {
        let memory = &mut [0u8; 1024];
        assert_eq!(create(model, 0, memory), Err(Status::UNSUPPORTED_CPU));
        assert_eq!(create(model, 1, memory), Err(Status::INVALID_ARGUMENT));
        assert_eq!(create(model, 2, memory), Err(Status::INVALID_ARGUMENT));
        assert_eq!(create(model, 3, memory), Err(Status::INVALID_ARGUMENT));
        assert_eq!(create(model, 4, memory), Err(Status::INVALID_ARGUMENT));
        // SAFETY: the model is whole.
        let sizes = [0, 1, 2, 3, 4].map(|index| unsafe { session_size(model, index) });
        assert_eq!(sizes, [350, 0, 0, 0, 0]);
        model.abi_version = 2;
        assert_eq!(create(model, 0, memory), Err(Status::ABI_MISMATCH));
        model.abi_version = ABI_VERSION;
        model.struct_size -= 8;
        assert_eq!(create(model, 0, memory), Err(Status::ABI_MISMATCH));
    });
}

#[test]
fn refuses_null_pointers() {
    with_model(&[variant(FeatureSet::EMPTY, 1)], |model| {
        let (mut index, mut session) = (0, ptr::null_mut());
        let memory = &mut [0u8; 1024];
        let none = ptr::null_mut::<c_void>();
        // SAFETY: each pointer is null or valid, as the functions require.
        unsafe {
            assert_eq!(select(ptr::null(), &mut index), Status::INVALID_ARGUMENT);
            assert_eq!(select(model, ptr::null_mut()), Status::INVALID_ARGUMENT);
            assert_eq!(session_size(ptr::null(), 0), 0);
            let here = memory.as_mut_ptr().cast();
            assert_eq!(session_create_in(ptr::null(), 0, here, 1024, &mut session), Status::INVALID_ARGUMENT);
            assert_eq!(session_create_in(model, 0, none, 1024, &mut session), Status::INVALID_ARGUMENT);
            assert_eq!(session_create_in(model, 0, here, 1024, ptr::null_mut()), Status::INVALID_ARGUMENT);
            assert_eq!(session_run(ptr::null_mut(), ptr::null(), ptr::null()), Status::INVALID_ARGUMENT);
            session_destroy(ptr::null_mut());
            let no_variant = [ptr::null::<Variant>()];
            model.variants = no_variant.as_ptr();
            assert_eq!(session_size(model, 0), 0);
        }
    });
}

#[test]
fn messages_are_c_strings() {
    // SAFETY: the function returns a static C string.
    let text = |status| unsafe { std::ffi::CStr::from_ptr(status_message(Status(status))) };
    assert_eq!(text(0), c"ok");
    assert_eq!(text(5), c"the memory is smaller than the session's size");
    assert_eq!(text(-7), c"unknown status");
}
