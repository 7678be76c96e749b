//! Checks that the README's programs run and its commands exist.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::{Ended, Sandbox};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn readme() -> String {
    fs::read_to_string(workspace().join("README.md")).expect("README.md is there")
}

/// The first code block in a language.
fn block(readme: &str, language: &str) -> String {
    let start = readme.find(&format!("\n```{language}\n")).expect("a block") + language.len() + 5;
    let length = readme[start..].find("\n```").expect("its end");
    readme[start..start + length + 1].to_owned()
}

/// The output of a program in the sandbox; `None`, with a message, if it is not installed.
fn printed(sandbox: &Sandbox, program: &str, arguments: &[&str]) -> Option<String> {
    match Command::new(program).args(arguments).current_dir(sandbox.path("")).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED: no {program}");
            None
        }
        ran => {
            let ended: Ended = ran.expect("the program starts").into();
            assert_eq!(ended.code, Some(0), "{program}: {ended:?}");
            Some(ended.stdout)
        }
    }
}

#[test]
fn the_programs_run_and_agree() {
    let (readme, sandbox) = (readme(), Sandbox::new());
    assert!(readme.contains("`eightfold compile digits.onnx -o digits.so --emit=shared,header`"));
    sandbox.stdout("compile digits.onnx -o digits.so --emit=shared,header");
    sandbox.write("program.c", block(&readme, "c").as_bytes());
    sandbox.write("program.py", block(&readme, "python").as_bytes());
    let flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "program.c", "./digits.so", "-o", "program"];
    printed(&sandbox, "cc", &flags).expect("a C compiler, which the build needs too");
    let logits = printed(&sandbox, "./program", &[]).expect("just built");
    assert_eq!(logits.lines().count(), 10);
    assert!(logits.starts_with("0: ") && logits.contains("\n9: "), "{logits}");
    if let Some(theirs) = printed(&sandbox, "python3", &["program.py"]) {
        assert_eq!(theirs, logits);
    }
}

#[test]
fn every_command_shown_is_understood() {
    let (readme, sandbox) = (readme(), Sandbox::new());
    for (from, to) in
        [("digits.onnx", "model.onnx"), ("digits_calibration.npz", "samples.npz"), ("digits_test.npz", "test.npz")]
    {
        fs::copy(sandbox.path(from), sandbox.path(to)).unwrap();
    }
    let lines = readme.lines().filter_map(|line| line.strip_prefix("$ eightfold "));
    let commands: Vec<&str> = lines.filter(|command| !command.contains("testdata/")).collect();
    assert!(commands.len() >= 4, "{commands:?}");
    for command in commands {
        // Commands that need an oracle parse without one, and report that.
        if command.contains("--oracle") && cfg!(not(feature = "oracle")) {
            let ended = sandbox.run(command);
            assert!(ended.code == Some(2) && ended.stderr.contains("built without tract"), "{command}: {ended:?}");
        } else {
            sandbox.stdout(command);
        }
    }
    let graphs = readme.lines().filter_map(|line| line.strip_prefix("$ eightfold opt --passes fuse "));
    for graph in graphs {
        sandbox.stdout(&format!("opt --passes fuse {}", workspace().join(graph).display()));
    }
}
