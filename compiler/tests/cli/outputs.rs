//! Output files: written completely or not at all, and the errors if that is impossible.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use eightfold::dataset::read_npy;
use eightfold_codegen::object::has_runtime;
use eightfold_codegen::target::AARCH64;
use eightfold_ir::Tensor;

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

/// Each verb that writes a file, called with one of its inputs as the output.
#[test]
fn an_output_that_is_an_input() {
    let sandbox = Sandbox::new();
    sandbox.write_npz("x.npz", &[("image", Tensor::f32(&[1, 1, 8, 8], &[0.5; 64]))]);
    sandbox.stdout("calibrate digits.onnx --data digits_calibration.npz --calibrator minmax -o table");
    sandbox.stdout("compile digits.onnx -o net.so");
    fs::hard_link(sandbox.path("digits.onnx"), sandbox.path("digits_same.onnx")).unwrap();
    fs::hard_link(sandbox.path("digits.onnx"), sandbox.path("digits_same")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("digits_calibration.npz", sandbox.path("digits_link")).unwrap();
    let before = contents(&sandbox);
    for (arguments, output, input) in [
        ("compile digits.onnx --emit object -o", "digits_same", "digits.onnx"),
        (
            "compile digits.onnx --calibration-data digits_calibration.npz --emit ir -o",
            "digits_link",
            "digits_calibration.npz",
        ),
        ("compile digits.onnx --calibration-table table --emit ir -o", "table", "table"),
        ("calibrate digits.onnx --data digits_calibration.npz -o", "digits_same", "digits.onnx"),
        ("calibrate digits.onnx --data digits_calibration.npz -o", "digits_link", "digits_calibration.npz"),
        ("quantize digits.onnx --calibration-table table -o", "digits.onnx", "digits.onnx"),
        ("quantize digits.onnx --calibration-table table -o", "digits_same.onnx", "digits.onnx"),
        ("quantize digits.onnx --calibration-table table -o", "table", "table"),
        ("opt digits.onnx -o", "digits_same", "digits.onnx"),
        ("opt digits.onnx --passes simplify --calibration-table table -o", "table", "table"),
        ("run digits.onnx --input x.npz -o", "x.npz", "x.npz"),
        ("run digits.onnx --input x.npz -o", "digits_same", "digits.onnx"),
    ] {
        let error = format!(
            "cannot write {output}\n  caused by: it is the same file as the input {input}, which would be lost"
        );
        sandbox.fails(&format!("{arguments} {output}"), 2, &error);
    }
    // Dumps are outputs, too.
    let graph = sandbox.stdout("opt digits.onnx --full");
    sandbox.write("00-fuse.ir", graph.as_bytes());
    let error = "cannot write ./00-fuse.ir
  caused by: it is the same file as the input 00-fuse.ir, which would be lost";
    let arguments = "opt --passes fuse 00-fuse.ir --dump-after all --dump-dir .";
    sandbox.fails(arguments, 2, error);
    assert_eq!(fs::read_to_string(sandbox.path("00-fuse.ir")).unwrap(), graph);
    fs::remove_file(sandbox.path("00-fuse.ir")).unwrap();
    assert!(contents(&sandbox) == before);
    let error = "net: the output and the tuning file need different names";
    sandbox.fails("compile digits.onnx --tune --tuning-file net -o net", 2, error);
}

/// Names and contents of all files.
fn contents(sandbox: &Sandbox) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(sandbox.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// A link stays a link, a device stays a device, and what can be neither replaced nor written directly is rejected.
#[cfg(unix)]
#[test]
fn an_output_that_is_no_regular_file() {
    use std::os::unix::fs::{FileTypeExt as _, symlink};
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("far")).unwrap();
    sandbox.write("far/old.ir", b"old");
    symlink("far/old.ir", sandbox.path("to_old.ir")).unwrap();
    symlink("far/new.ir", sandbox.path("to_new.ir")).unwrap();
    for (link, target) in [("to_old.ir", "far/old.ir"), ("to_new.ir", "far/new.ir")] {
        sandbox.stdout(&format!("opt digits.onnx -o {link}"));
        assert!(fs::symlink_metadata(sandbox.path(link)).unwrap().is_symlink());
        assert!(fs::read_to_string(sandbox.path(target)).unwrap().starts_with("graph @"));
    }
    symlink("round.ir", sandbox.path("round.ir")).unwrap();
    assert_eq!(sandbox.run("opt digits.onnx -o round.ir").code, Some(2));

    let (kind, before) = (|| fs::metadata("/dev/null").unwrap(), fs::metadata("/dev/null").unwrap().file_type());
    for arguments in [
        "compile digits.onnx --target x86-64-v3",
        "opt digits.onnx",
        "calibrate digits.onnx --data digits_calibration.npz",
    ] {
        sandbox.stdout(&format!("{arguments} -o /dev/null"));
        assert!(kind().file_type().is_char_device() && kind().file_type() == before);
    }

    let made = std::process::Command::new("mkfifo").arg(sandbox.path("pipe")).status().unwrap();
    assert!(made.success());
    let error = "cannot write pipe\n  caused by: it is a pipe, expected a regular file";
    sandbox.fails("opt digits.onnx -o pipe", 2, error);
    let _listening = std::os::unix::net::UnixListener::bind(sandbox.path("socket")).unwrap();
    let error = "cannot write socket\n  caused by: it is a socket, expected a regular file";
    sandbox.fails("opt digits.onnx -o socket", 2, error);

    // A file that the shell redirects to is not replaced.
    let log = fs::File::create(sandbox.path("log")).unwrap();
    let ended = sandbox.command("opt digits.onnx -o /dev/stdout").stdout(log).output().unwrap();
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("standard output or standard error goes to this file"));
    assert_eq!(fs::read(sandbox.path("log")).unwrap(), b"");
}

#[test]
fn the_extension_decides_the_form() {
    let sandbox = Sandbox::new();
    let compile = "compile digits.onnx --target x86-64-v3 -o";
    for (output, begins) in [
        ("out.so", "\u{7f}ELF"),
        ("out.o", "\u{7f}ELF"),
        ("out.h", "/*"),
        ("out.s", "\t.text"),
        ("out.ll", "; ModuleID"),
        ("out.ir", "graph @"),
        ("out.program", "program"),
    ] {
        let report = sandbox.json(&format!("{compile} {output}"));
        let form = output.strip_prefix("out.").unwrap();
        assert_eq!((&report["outputs"][0]["form"], &report["symbol"]), (&form.into(), &"out_query".into()));
        let bytes = fs::read(sandbox.path(output)).unwrap();
        assert!(bytes.starts_with(begins.as_bytes()), "{output}: {:?}", String::from_utf8_lossy(&bytes[..40]));
    }
    for (arguments, error) in [
        ("out.o --emit shared", "out.o: expected a shared library (.so), .o is for an object file"),
        (
            "out.h --emit shared,ir",
            "out.h: expected a shared library (.so) or a graph in text form (.ir), .h is for a C header",
        ),
        (
            "out.onnx",
            "out.onnx: the extension names no form, expected one of .so, .o, .h, .s, .ll, .ir, .program, or --emit",
        ),
        ("- --emit shared", "-o -: standard output takes text only, machine code needs a file"),
        ("- --emit ir,program", "-o -: standard output takes one form, --emit names several"),
        ("-", "-o -: choose the form to print with --emit: header, asm, llvm-ir, ir or program"),
    ] {
        sandbox.fails(&format!("{compile} {arguments}"), 2, error);
    }
    // A dot in a name begins an extension only if the extension names a form.
    sandbox.stdout(&format!("{compile} net_1.0 --emit ir,header"));
    assert_eq!(sandbox.new_files().iter().filter(|file| file.starts_with("net")).count(), 2);
    let header = fs::read_to_string(sandbox.path("net_1.0.h")).unwrap();
    assert!(header.contains("const eightfold_model *net_1_0_query(void);"), "{header}");

    sandbox.write_npz("x.npz", &[("image", Tensor::f32(&[1, 1, 8, 8], &[0.5; 64]))]);
    sandbox.stdout("run digits.onnx --input x.npz -o y.npy");
    assert_eq!(read_npy(&sandbox.path("y.npy")).unwrap().shape()[..], [1, 10]);
    let error = "y.so: expected named arrays (.npz) or one array (.npy), .so is for a shared library";
    sandbox.fails("run digits.onnx --input x.npz -o y.so", 2, error);
    let error = "y.npz: expected an ONNX model (.onnx), .npz is for named arrays";
    sandbox.fails("quantize digits.onnx --calibration-data digits_calibration.npz -o y.npz", 2, error);
    let error = "y.so: expected another name, .so is for a shared library";
    sandbox.fails("calibrate digits.onnx --data digits_calibration.npz -o y.so", 2, error);
    for (verb, what) in [
        ("run digits.onnx --input x.npz", "arrays"),
        ("quantize digits.onnx --calibration-data digits_calibration.npz", "an ONNX model"),
    ] {
        let error = format!("-o -: standard output takes text only, {what} needs a file");
        sandbox.fails(&format!("{verb} -o -"), 2, &error);
    }
}

#[test]
fn text_goes_to_standard_output_and_the_report_beside_it() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run("compile digits.onnx --target x86-64-v3 -o - --emit ir");
    assert!(ended.code == Some(0) && eightfold_ir::parse(&ended.stdout).is_ok(), "{ended:?}");
    assert!(ended.stderr.contains("  symbol      digits_query\n"), "{}", ended.stderr);
    let table = sandbox.stdout("calibrate digits.onnx --data digits_calibration.npz -o -");
    assert!(table.starts_with("eightfold calibration table 1\n"), "{table}");
    assert!(eightfold_ir::parse(&sandbox.stdout("opt digits.onnx --full -o -")).is_ok());
    assert_eq!(sandbox.new_files(), [""; 0]);
}

#[test]
fn no_linker() {
    let sandbox = Sandbox::new();
    let arguments = "compile digits.onnx -o out.so --target x86-64-v3 --precision f32";
    let ended = sandbox.command(arguments).env("CC", "no-such-compiler").output().unwrap().into();
    let error = "no linker: \"no-such-compiler\" is not installed
  hint: install a C compiler, name one in the environment variable CC, or use --emit=object,header";
    assert_failed(&ended, arguments, 2, error);
    assert_eq!(sandbox.new_files(), [""; 0]);
    // Neither the object file nor calibration needs a linker.
    let arguments =
        "compile digits.onnx -o out --target x86-64-v3 --emit object,header --calibration-data digits_calibration.npz";
    let ended: Ended = sandbox.command(arguments).env("CC", "no-such-compiler").output().unwrap().into();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(sandbox.new_files(), ["out.h", "out.o"]);
}

#[test]
fn cross_compilation_names_the_linker_of_the_architecture() {
    let sandbox = Sandbox::new();
    let arguments = "compile digits.onnx -o out.so --target aarch64 --precision f32";
    // A folder without programs, where `cc` would not help either.
    let empty = tempfile::tempdir().unwrap();
    let ended: Ended = sandbox.command(arguments).env("PATH", empty.path()).output().unwrap().into();
    let error = match has_runtime(&AARCH64) {
        true => {
            "no linker: \"aarch64-linux-gnu-gcc\" is not installed
  hint: install a C compiler (Debian: gcc-aarch64-linux-gnu), name one in the environment variable \
             CC_aarch64_unknown_linux_gnu, or use --emit=object,header"
        }
        false => "this compiler was built without the runtime for aarch64, so it makes no shared libraries for it",
    };
    assert_failed(&ended, arguments, 2, error);
    assert_eq!(sandbox.new_files(), [""; 0]);
    // An object file needs no linker. Calibration runs on this machine.
    let arguments = "compile digits.onnx -o out.o --target aarch64-i8mm --calibration-data digits_calibration.npz";
    let ended: Ended = sandbox.command(arguments).env("PATH", empty.path()).output().unwrap().into();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let elf = fs::read(sandbox.path("out.o")).unwrap();
    assert_eq!(elf[18..20], AARCH64.elf_machine.to_le_bytes());
}

#[test]
fn code_of_another_architecture_does_not_run_here() {
    let sandbox = Sandbox::new();
    let foreign = if AARCH64.is_host() { "x86-64-v2" } else { "aarch64" };
    for arguments in ["bench digits.onnx --precision f32", "compile digits.onnx -o out.so --precision f32 --tune"] {
        let arguments = format!("{arguments} --target {foreign}");
        let ended = sandbox.run(&arguments);
        assert!(ended.code == Some(2) && ended.stderr.contains(foreign), "{arguments}: {ended:?}");
    }
    assert_eq!(sandbox.new_files(), [""; 0]);
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
    tools.write(
        "slow-linker",
        b"#!/bin/sh\necho half > output\nfor i in 1 2 3 4 5 6 7 8 9; do echo more > more.$i 2>&-; sleep 1; done\n",
    );
    fs::set_permissions(tools.path("slow-linker"), fs::Permissions::from_mode(0o755)).unwrap();
    for (name, number) in [("-INT", 2), ("-TERM", 15), ("-HUP", 1), ("-QUIT", 3)] {
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
        let killed = std::process::Command::new("kill").args([name, &compiler.id().to_string()]).status().unwrap();
        assert!(killed.success());
        assert_eq!(compiler.wait().unwrap().signal(), Some(number));
        assert_eq!(sandbox.new_files(), [""; 0], "{name}");
    }
}

/// Whether a folder contains a file called `output`, at any depth.
#[cfg(unix)]
fn has_output(folder: &std::path::Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.file_name() == "output" && entry.path().is_file() || has_output(&entry.path()))
}

#[test]
fn schedule_passes_run_on_the_text_of_a_program() {
    let sandbox = Sandbox::new();
    let list = sandbox.stdout("list schedule-passes");
    assert!(["choose", "bands", "parallel", "pack", "plan"].iter().all(|pass| list.contains(pass)), "{list}");
    let compile = "compile digits.onnx --target x86-64-v3 -o digits.program --dump-after all --dump-dir dumps";
    sandbox.stdout(compile);
    let dumps: Vec<String> = fs::read_dir(sandbox.path("dumps"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let packed = dumps.iter().find(|name| name.ends_with("-pack.program")).expect("a dump");
    let whole = fs::read_to_string(sandbox.path("digits.program")).unwrap();
    // The remaining pass after the dump gives the program that is compiled, as its snapshot shows.
    sandbox.stdout(&format!("opt dumps/{packed} --passes plan -o again.program"));
    let again = fs::read_to_string(sandbox.path("again.program")).unwrap();
    let said =
        |text: &str| text.lines().filter(|line| !line.starts_with("  ; ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(said(&again), said(&whole));
    let same = sandbox.stdout(&format!("opt dumps/{packed} --passes plan --check again.program"));
    assert_eq!(same.trim(), "the same program as in again.program");
    let two = format!("; run: parallel\n; threads: 2\n{again}");
    sandbox.write("two.program", two.as_bytes());
    assert!(sandbox.stdout("opt two.program").contains(" threads=2 {"));

    let failed = |arguments: &str, code: i32, expected: &str| {
        let run = sandbox.run(arguments);
        assert!(run.code == Some(code) && run.stderr.contains(expected), "{}", run.stderr);
    };
    failed(
        "opt again.program --passes fuse",
        2,
        "--passes: expected one of share_copies, update_in_place, words, winograd, fit_weights, choose, bands, parallel, pack, plan for a program, got fuse",
    );
    sandbox.write("cut.program", &whole.as_bytes()[..whole.len() / 2]);
    failed("opt cut.program --passes plan", 4, "cut.program: line ");
    sandbox.write("torn.program", whole.replacen("<- f32 %0[", "<- f32 %99[", 1).as_bytes());
    failed("opt torn.program --passes plan", 4, "torn.program: call 3: there is no %99");
    sandbox.write("none.program", format!("; threads: 0\n{whole}").as_bytes());
    failed("opt none.program --passes plan", 4, "none.program: expected a number from 1 in \"threads: 0\"");
}
