//! The project's tasks, `cargo xtask TASK`: one file per task, listed in [`TASKS`].
//!
//! This crate depends on nothing that needs LLVM, because `setup` installs LLVM. The exit code is 0 on success, the
//! exit code of the failed command if there is one, and otherwise 1, or 2 for usage errors.

mod bench;
mod demo;
mod emulation;
mod guard;
mod llvm;
mod package_manager;
mod peers;
mod process;
mod python;
mod ready;
mod setup;
mod table;
mod test;
mod workspace;
mod zoo;

use std::process::ExitCode;

use process::Failure;

/// A task: its name, one line of help, and its function.
struct Task {
    name: &'static str,
    arguments: &'static str,
    summary: &'static str,
    run: fn(&[String]) -> Result<(), Failure>,
}

const TASKS: &[Task] = &[
    Task {
        name: "bench",
        arguments: "models [NAME ...] | gemm [f32] [M K N] [asm]",
        summary: "compare models with ONNX Runtime, or measure matrix products as a share of the peak",
        run: bench::run,
    },
    Task {
        name: "demo",
        arguments: "",
        summary: "compile the classifier in the repository in f32 and int8, run both, print the comparison",
        run: demo::run,
    },
    Task {
        name: "guard",
        arguments: "[--write] [--against PROGRAM] [MODEL ...]",
        summary: "check that a refactoring changes no output byte and no time of any model",
        run: guard::run,
    },
    Task {
        name: "peers",
        arguments: "[MODEL ...] [--seconds S] [--threads 1,2] [--quick] | --show FILE.json",
        summary: "compare every model with ONNX Runtime and OpenVINO in all their forms, and check the goals",
        run: peers::run,
    },
    Task {
        name: "ready",
        arguments: "",
        summary: "run all checks that a change must pass: format, clippy, tests, documentation",
        run: ready::run,
    },
    Task {
        name: "setup",
        arguments: "",
        summary: "install LLVM 19 and a C compiler if they are missing",
        run: setup::run,
    },
    Task {
        name: "test",
        arguments: "[--full] [CARGO TEST ARGUMENT ...]",
        summary: "run setup, then all tests of the workspace; --full includes those that take minutes",
        run: test::run,
    },
    Task {
        name: "zoo",
        arguments: "[NETWORK ...|all]",
        summary: "make a virtual environment with ONNX Runtime, and the benchmark networks",
        run: zoo::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        None => Err(Failure::Usage(usage())),
        Some((name, _)) if matches!(name.as_str(), "help" | "--help" | "-h") => {
            println!("{}", usage());
            Ok(())
        }
        Some((name, rest)) => match TASKS.iter().find(|task| task.name == name) {
            Some(task) => (task.run)(rest),
            None => Err(Failure::Usage(format!("no task `{name}`\n\n{}", usage()))),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            failure.exit_code()
        }
    }
}

fn usage() -> String {
    let rows: Vec<_> = TASKS
        .iter()
        .map(|task| {
            let call = format!("  {} {}", task.name, task.arguments);
            [call, task.summary.to_owned()]
        })
        .collect();
    format!("usage: cargo xtask TASK\n\n{}", table::columns(&rows, &[table::Align::Left; 2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_sorted_and_all_in_the_usage() {
        assert!(TASKS.is_sorted_by_key(|task| task.name));
        let usage = usage();
        for task in TASKS {
            assert!(usage.contains(&format!("  {}", task.name)), "{}", task.name);
            assert!(usage.contains(task.summary), "{}", task.name);
        }
    }
}
