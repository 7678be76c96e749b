//! The generated header: its facts, and that no name can break it.

use std::fs;
use std::process::Command;

use eightfold_codegen::header::c_header;
use eightfold_codegen::interface::Interface;

use crate::plus_one;

/// Compiles both headers together in the language that `args` select; prints a message if there is no compiler.
fn compiles(args: &[&str], headers: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let mut source = String::new();
    for (index, header) in headers.iter().enumerate() {
        fs::write(folder.path().join(format!("{index}.h")), header).unwrap();
        source += &format!("#include \"{index}.h\"\n#include \"{index}.h\"\n");
    }
    fs::write(folder.path().join("all.c"), source + "int used;\n").unwrap();
    let output = Command::new("cc")
        .args(args)
        .args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-Wtrigraphs", "-pedantic", "all.c"])
        .current_dir(folder.path())
        .output();
    match output {
        Err(error) => eprintln!("skipped: no C compiler: {error}"),
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() || errors.contains("cc1plus"), "{args:?}: {errors}");
        }
    }
}

fn hostile() -> Interface {
    let mut interface = plus_one::interface();
    let name = "*/ int x; /* \"quoted\" \\ ??/ \u{1b}[31m é %s \n #error".to_owned();
    interface.symbol_prefix = "hostile".to_owned();
    interface.provenance = format!("line\r\n{name}\n/*/");
    interface.variants[0].target = name.clone();
    interface.variants[0].inputs[0].name = name.clone();
    interface.name = name;
    interface.variants.truncate(1);
    interface
}

#[test]
fn says_what_is_known_of_the_model() {
    let header = c_header(&plus_one::interface()).unwrap();
    for line in [
        "/* plus_one.h: the model \"plus one\", made by Eightfold.",
        " * for a test",
        " *   inputs[0]  \"x\"  1x16xf32",
        " *   outputs[1]  \"z\"  1x16xf32",
        "#define PLUS_ONE_VARIANT_COUNT 2",
        " * on the calling thread, where `const void *inputs[]` and `void *outputs[]` hold one pointer per tensor:",
        "#define PLUS_ONE_THREADS 1",
        "#define PLUS_ONE_WORKERS 0",
        "#define PLUS_ONE_ARENA_SIZE 64",
        "#define PLUS_ONE_ARENA_ALIGN 64",
        "#define PLUS_ONE_INPUT_COUNT 1",
        "#define PLUS_ONE_INPUT_0_NAME \"x\"",
        "#define PLUS_ONE_INPUT_0_DTYPE EIGHTFOLD_F32",
        "#define PLUS_ONE_INPUT_0_BYTES 64",
        "#define PLUS_ONE_INPUT_0_RANK 2",
        "#define PLUS_ONE_INPUT_0_DIMS {1, 16}",
        "#define PLUS_ONE_INPUT_0_SCALE 1e-1f",
        "#define PLUS_ONE_INPUT_0_ZERO_POINT (-3)",
        "#define PLUS_ONE_OUTPUT_COUNT 2",
        "#define PLUS_ONE_OUTPUT_1_NAME \"z\"",
        "const eightfold_model *plus_one_query(void);",
    ] {
        assert!(header.lines().any(|found| found == line), "missing: {line}\n{header}");
    }
    assert!(!header.contains("OUTPUT_0_SCALE") && !header.contains("OUTPUT_1_SCALE"));
    let mut shared = plus_one::interface();
    (shared.variants[0].threads, shared.variants[0].workers) = (4, 3);
    let text = c_header(&shared).unwrap();
    assert!(
        text.contains("on 4 threads, the calling one among them, where") && text.contains("_WORKERS 3\n"),
        "{text}"
    );
    assert!(header.contains(eightfold_runtime::HEADER));
    assert_eq!(header, c_header(&plus_one::interface()).unwrap());
}

#[test]
fn compiles_beside_another_as_c_and_cpp_whatever_the_names_are() {
    let headers = [plus_one::interface(), hostile()].map(|i| c_header(&i).unwrap());
    for args in [&["-std=c99"][..], &["-std=c11"], &["-xc++", "-std=c++17"]] {
        compiles(args, &headers);
    }
}

#[test]
fn a_model_without_inputs_or_arena_has_room_for_an_array() {
    let mut interface = plus_one::interface();
    interface.variants.truncate(1);
    let variant = &mut interface.variants[0];
    variant.inputs.clear();
    variant.arena_size = 0;
    variant.arena_align = 16;
    let header = c_header(&interface).unwrap();
    assert!(header.contains("#define PLUS_ONE_ARENA_SIZE 16\n"));
    assert!(header.contains("#define PLUS_ONE_INPUT_COUNT 0\n"));
    interface.symbol_prefix = "plus one".to_owned();
    assert!(c_header(&interface).is_err());
}
