//! Calls that the run function refuses, made from Rust through the loaded library.

use std::ffi::c_void;
use std::ptr;

use eightfold_runtime::abi::{Call, QueryFn};
use eightfold_runtime::status::Status;

use crate::link;

#[test]
fn a_call_that_cannot_run_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    if link::shared(folder.path(), "plus_one.so").is_none() {
        return;
    }
    // SAFETY: the library was just made; it has no constructors.
    let library = unsafe { libloading::Library::new(folder.path().join("plus_one.so")) }.unwrap();
    // SAFETY: the symbol is the query function, and the model lives as long as the library.
    let run = unsafe {
        let query: libloading::Symbol<'_, QueryFn> = library.get(b"plus_one_query").unwrap();
        let model = &*query();
        (**model.variants.add(1)).run.unwrap()
    };

    #[repr(align(64))]
    struct Arena([u8; 128]);
    let mut arena = Arena([0; 128]);
    let arena = ptr::from_mut(&mut arena.0).cast::<c_void>();
    let x = [2.0f32; 16];
    let (mut y, mut z) = ([0.0f32; 16], [0.0f32; 16]);
    let inputs = [ptr::from_ref(&x).cast::<c_void>()];
    let outputs = [ptr::from_mut(&mut y).cast::<c_void>(), ptr::from_mut(&mut z).cast()];
    let no_inputs = [ptr::null::<c_void>()];
    let no_outputs = [outputs[0], ptr::null_mut()];
    let good = || Call {
        struct_size: size_of::<Call>() as u32,
        thread: 0,
        arena,
        inputs: inputs.as_ptr(),
        outputs: outputs.as_ptr(),
        output_shapes: ptr::null(),
        host: ptr::null(),
    };
    // SAFETY: each call is valid, or one that the function must refuse.
    let status = |call: Call| unsafe { run(&call) };

    // SAFETY: null is what the function must refuse.
    assert_eq!(unsafe { run(ptr::null()) }, Status::INVALID_ARGUMENT);
    let invalid = [
        Call { struct_size: 40, ..good() },
        Call { thread: 1, ..good() },
        Call { arena: ptr::null_mut(), ..good() },
        Call { inputs: ptr::null(), ..good() },
        Call { outputs: ptr::null(), ..good() },
        Call { inputs: no_inputs.as_ptr(), ..good() },
        Call { outputs: no_outputs.as_ptr(), ..good() },
    ];
    for call in invalid {
        let shown = format!("{call:?}");
        assert_eq!(status(call), Status::INVALID_ARGUMENT, "{shown}");
    }
    assert_eq!(status(Call { arena: arena.wrapping_byte_add(32), ..good() }), Status::MISALIGNED_ARENA);
    assert_eq!((y[0], z[0]), (0.0, 0.0));
    assert_eq!(status(good()), Status::OK);
    assert_eq!((y, z), ([3.0; 16], [1.0; 16]));
    assert_eq!(status(Call { struct_size: 4096, ..good() }), Status::OK, "a newer caller");
}
