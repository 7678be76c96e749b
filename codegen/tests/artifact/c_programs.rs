//! C programs that include the generated header and run the model, linked and loaded, with and without the runtime.

use std::fs;
use std::path::Path;
use std::process::Command;

use eightfold_codegen::header::c_header;
use eightfold_codegen::object::write_file;

use crate::{link, plus_one};

/// Compiles `tests/artifact/c/<program>.c` in a folder with the model's header, library and object file, runs it, and
/// returns its output. `None`, with a message, if there is no C compiler.
fn run(program: &str, link_with: &[&str]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    link::shared(folder.path(), "libplus_one.so")?;
    let interface = plus_one::interface();
    write_file(&folder.path().join("plus_one.o"), &plus_one::object(&interface)).unwrap();
    let header = c_header(&interface).unwrap();
    write_file(&folder.path().join("plus_one.h"), header.as_bytes()).unwrap();
    let source = format!("{program}.c");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/artifact/c");
    fs::copy(here.join(&source), folder.path().join(&source)).unwrap();

    let compiled = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-frounding-math"])
        .args(["-o", "program", &source])
        .args(link_with)
        .args(["-Wl,-rpath,$ORIGIN", "-lm", "-ldl"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{program}: {errors}");
    let output =
        Command::new(folder.path().join("program")).arg(folder.path().join("libplus_one.so")).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {}: {errors}", output.status);
    Some(String::from_utf8(output.stdout).unwrap())
}

const LIBRARY: &[&str] = &["-L.", "-lplus_one"];

#[test]
fn a_session_runs_the_model() {
    let Some(printed) = run("session", LIBRARY) else {
        return;
    };
    let expected: String = (0..16).map(|i| format!("{i}.5 {}\n", f64::from(i) / 2.0 - 0.25)).collect();
    assert_eq!(printed, format!("variant 1\n{expected}"));
}

#[test]
fn an_object_file_runs_without_the_runtime() {
    let Some(printed) = run("object", &["plus_one.o"]) else {
        return;
    };
    assert_eq!(printed, "runtime 0\nmisaligned 6\nok 0\n2 1 3 shape 1 16\n");
}

#[test]
fn a_loaded_library_describes_itself() {
    let Some(printed) = run("describe", &[]) else {
        return;
    };
    let expected = "\
abi 1 name plus one provenance made by hand|for a test variants 2 runtime 1
no-such-cpu threads 1 features 0 0 0 8000000000000000 arena 64 align 64 inputs 1 outputs 2
 x dtype 1 rank 2 dims 1 16 bytes 64 axis -1 count 1 scale 0.1 zero -3
 y dtype 1 rank 2 dims 1 16 bytes 64
 z dtype 1 rank 2 dims 1 16 bytes 64 axis 1 count 16 scale 15.5 zero 7
x86-64 threads 1 features 0 0 0 0 arena 64 align 64 inputs 1 outputs 2
 x dtype 1 rank 2 dims 1 16 bytes 64 axis -1 count 1 scale 0.1 zero -3
 y dtype 1 rank 2 dims 1 16 bytes 64
 z dtype 1 rank 2 dims 1 16 bytes 64 axis 1 count 16 scale 15.5 zero 7
";
    assert_eq!(printed, expected);
}

#[test]
fn the_hosts_floating_point_mode_neither_leaks_in_nor_is_changed() {
    let Some(printed) = run("floating_point", LIBRARY) else {
        return;
    };
    assert_eq!(printed, "host rounds up 1 flushes 1\nmodel rounds up 0 flushes 0\nmode kept 1\n");
}

#[test]
fn sessions_run_at_once_on_several_threads() {
    let Some(printed) = run("threads", LIBRARY) else {
        return;
    };
    assert_eq!(printed, "wrong 0\n");
}
