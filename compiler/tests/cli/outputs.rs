//! Output files: whole or not at all, and what is said when they cannot be.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::sandbox::{Ended, Sandbox, assert_failed};

#[test]
fn an_output_in_a_folder_that_is_not_there() {
    let sandbox = Sandbox::new();
    let error = "cannot write absent/out\n  caused by: No such file or directory (os error 2)";
    sandbox.fails("compile digits.onnx -o absent/out --target x86-64-v3", 2, error);
    sandbox.fails("calibrate digits.onnx --data digits_calibration.npz -o absent/out", 2, error);
    sandbox.fails("quantize digits.onnx --calibration-data digits_calibration.npz -o absent/out", 2, error);
    sandbox.fails("opt digits.onnx -o absent/out", 2, error);
    sandbox.fails("run digits.onnx --reference --input x.npz -o absent/out", 2, error);
}

#[test]
fn an_output_that_is_a_folder() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("out.so")).unwrap();
    let error = "cannot write out.so\n  caused by: is a directory";
    sandbox.fails("compile digits.onnx -o out.so --target x86-64-v3", 2, error);
}

#[test]
fn no_linker() {
    let sandbox = Sandbox::new();
    let arguments = "compile digits.onnx -o out.so --target x86-64-v3 --precision f32";
    let ended = sandbox.command(arguments).env("CC", "no-such-compiler").output().unwrap().into();
    let error = "no linker: \"no-such-compiler\" is not installed
  hint: install a C compiler, name one by the environment variable CC, or write --emit=object,header";
    assert_failed(&ended, arguments, 2, error);
    assert_eq!(sandbox.new_files(), [""; 0]);
    // Neither the object file nor finding ranges needs one.
    let arguments =
        "compile digits.onnx -o out --target x86-64-v3 --emit object,header --calibration-data digits_calibration.npz";
    let ended: Ended = sandbox.command(arguments).env("CC", "no-such-compiler").output().unwrap().into();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(sandbox.new_files(), ["out.h", "out.o"]);
}

#[test]
fn a_linker_that_fails_leaves_what_was_there() {
    let sandbox = Sandbox::new();
    sandbox.write("out.so", b"what was there before");
    let arguments = "compile digits.onnx -o out.so --target x86-64-v3 --precision f32";
    let ended: Ended = sandbox.command(arguments).env("CC", "false").output().unwrap().into();
    assert_failed(&ended, arguments, 2, "the linker \"false\" failed (exit status: 1):");
    assert_eq!(fs::read(sandbox.path("out.so")).unwrap(), b"what was there before");
    assert_eq!(sandbox.new_files(), ["out.so"]);
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_nothing_behind() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::ExitStatusExt as _;

    let sandbox = Sandbox::new();
    let tools = Sandbox::new();
    tools.write("slow-linker", b"#!/bin/sh\necho half > output\nexec sleep 10\n");
    fs::set_permissions(tools.path("slow-linker"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = sandbox.command("compile digits.onnx -o out.so --target x86-64-v3 --precision f32");
    command.env("CC", tools.path("slow-linker")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut compiler = command.spawn().unwrap();
    let half = || {
        let folders = sandbox.new_files();
        folders.iter().any(|folder| has_output(&sandbox.path(folder)))
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !half() {
        assert!(Instant::now() < deadline && compiler.try_wait().unwrap().is_none(), "the linker does not start");
        std::thread::sleep(Duration::from_millis(10));
    }
    let killed = std::process::Command::new("kill").args(["-INT", &compiler.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(compiler.wait().unwrap().signal(), Some(2));
    assert_eq!(sandbox.new_files(), [""; 0]);
}

/// Whether a file called `output` lies somewhere below a folder.
#[cfg(unix)]
fn has_output(folder: &std::path::Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.file_name() == "output" && entry.path().is_file() || has_output(&entry.path()))
}
