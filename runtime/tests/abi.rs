//! Compares `eightfold.h` with its Rust structs: layouts, status codes, feature bits.

use std::fmt::Write as _;
use std::mem::{align_of, offset_of, size_of};
use std::path::Path;
use std::process::Command;

use eightfold_runtime::HEADER;
use eightfold_runtime::abi::{ABI_VERSION, Call, Host, Model, Quant, Runtime, TensorDesc, Variant};
use eightfold_runtime::features::{AARCH64_FEATURES, X86_FEATURES};
use eightfold_runtime::status::Status;

/// Generates C assertions that a struct in the header has the layout of the Rust struct. All fields are listed, so a
/// missing field makes the sizes differ.
macro_rules! layout {
    ($c:ident = $rust:ident { $($field:ident),* $(,)? }) => {{
        // Does not compile if a field of the Rust struct is left out.
        let _ = |value: &$rust| { let $rust { $($field: _),* } = value; };
        let mut text = String::new();
        let name = stringify!($c);
        writeln!(text, "_Static_assert(sizeof({name}) == {}, \"size of {name}\");", size_of::<$rust>()).unwrap();
        writeln!(text, "_Static_assert(_Alignof({name}) == {}, \"alignment of {name}\");", align_of::<$rust>()).unwrap();
        $(
            let field = stringify!($field);
            writeln!(text, "_Static_assert(offsetof({name}, {field}) == {}, \"{name}.{field}\");", offset_of!($rust, $field)).unwrap();
        )*
        text
    }};
}

fn assertions() -> String {
    let mut c = String::from("#include \"eightfold.h\"\n");
    c += &layout!(eightfold_quant = Quant { struct_size, count, axis, reserved, scale, zero_point });
    c += &layout!(
        eightfold_tensor_desc = TensorDesc { struct_size, dtype, name, rank, reserved, dims, byte_size, quant }
    );
    c += &layout!(eightfold_host = Host { struct_size, reserved, context, wait, wake, words });
    c += &layout!(eightfold_call = Call { struct_size, thread, arena, inputs, outputs, output_shapes, host });
    c += &layout!(
        eightfold_variant = Variant {
            struct_size,
            threads,
            features,
            target,
            arena_size,
            arena_align,
            input_count,
            output_count,
            workers,
            inputs,
            outputs,
            run,
        }
    );
    c += &layout!(
        eightfold_runtime = Runtime {
            struct_size,
            abi_version,
            select,
            session_size,
            session_create_in,
            session_run,
            status_message,
            session_destroy,
        }
    );
    c += &layout!(
        eightfold_model =
            Model { abi_version, struct_size, name, provenance, variant_count, reserved, variants, runtime }
    );
    let numbers = [
        ("EIGHTFOLD_ABI_VERSION", ABI_VERSION as i32),
        ("EIGHTFOLD_OK", Status::OK.0),
        ("EIGHTFOLD_INVALID_ARGUMENT", Status::INVALID_ARGUMENT.0),
        ("EIGHTFOLD_ABI_MISMATCH", Status::ABI_MISMATCH.0),
        ("EIGHTFOLD_UNSUPPORTED_CPU", Status::UNSUPPORTED_CPU.0),
        ("EIGHTFOLD_UNSUPPORTED_THREADS", Status::UNSUPPORTED_THREADS.0),
        ("EIGHTFOLD_MEMORY_TOO_SMALL", Status::MEMORY_TOO_SMALL.0),
        ("EIGHTFOLD_MISALIGNED_ARENA", Status::MISALIGNED_ARENA.0),
        ("EIGHTFOLD_THREADS_UNAVAILABLE", Status::THREADS_UNAVAILABLE.0),
        ("EIGHTFOLD_INDEX_OUT_OF_RANGE", Status::INDEX_OUT_OF_RANGE.0),
    ];
    for (name, value) in numbers {
        writeln!(c, "_Static_assert({name} == {value}, \"{name}\");").unwrap();
    }
    for (architecture, table) in [("X86", X86_FEATURES), ("AARCH64", AARCH64_FEATURES)] {
        for feature in table {
            let name = format!("EIGHTFOLD_{architecture}_{}", feature.name.to_uppercase().replace('.', "_"));
            writeln!(c, "_Static_assert({name} == {}, \"{name}\");", feature.bit).unwrap();
        }
    }
    c
}

/// Compiles `source` without output; `None` if the machine has no compiler of this name.
fn compile(compiler: &str, args: &[&str], source: &str) -> Option<(bool, String)> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("abi_{}.c", args.concat().replace(['-', '=', '+'], "")));
    std::fs::write(&file, source).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let output = Command::new(compiler)
        .args(args)
        .args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-pedantic-errors", "-I"])
        .arg(include)
        .arg(&file)
        .output();
    match output {
        Ok(output) => Some((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())),
        Err(error) => {
            eprintln!("skipped: no C compiler ({compiler}: {error})");
            None
        }
    }
}

#[test]
fn the_header_has_the_layout_of_its_twin() {
    let source = assertions();
    assert!(source.matches("_Static_assert").count() > 90, "{source}");
    if let Some((ok, errors)) = compile("cc", &["-std=c11"], &source) {
        assert!(ok, "{errors}");
    }
}

#[test]
fn a_layout_that_differs_is_seen() {
    let source = assertions().replace("offsetof(eightfold_call, arena) == 8", "offsetof(eightfold_call, arena) == 16");
    if let Some((ok, errors)) = compile("cc", &["-std=c11", "-O1"], &source) {
        assert!(!ok && errors.contains("eightfold_call.arena"), "{errors}");
    }
}

#[test]
fn the_header_is_plain_c99_and_cpp() {
    let source = "#include \"eightfold.h\"\n#include \"eightfold.h\"\nint used = EIGHTFOLD_OK;\n";
    for args in [&["-std=c99"][..], &["-xc++", "-std=c++11"]] {
        if let Some((ok, errors)) = compile("cc", args, source) {
            // A C compiler without C++ support is not an error of the header.
            assert!(ok || errors.contains("cc1plus"), "{args:?}: {errors}");
        }
    }
}

#[test]
fn the_header_has_a_row_for_each_feature_and_status() {
    let rows = |prefix: &str| HEADER.lines().filter(|line| line.starts_with(prefix)).count();
    assert_eq!(rows("  EIGHTFOLD_X86_"), X86_FEATURES.len());
    assert_eq!(rows("  EIGHTFOLD_AARCH64_"), AARCH64_FEATURES.len());
    let codes = (0..).take_while(|&code| Status(code).message() != Status(-1).message()).count();
    assert_eq!(codes, 9);
    assert_eq!(Status(9).to_string(), "unknown status (status 9)");
}
