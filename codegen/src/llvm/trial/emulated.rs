//! Runs functions of an object file for another architecture, in an emulator.
//!
//! A small C program links the functions. It reads which one to call on which bytes from its standard input, and writes all
//! bytes as the function leaves them to its standard output.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex};

use super::{Runs, entry_name};
use crate::target::Arch;

/// Whether programs of this architecture run here, by an emulator. Says so once, aloud, if not.
pub(super) fn runs(arch: &'static Arch) -> bool {
    static KNOWN: LazyLock<Mutex<BTreeMap<&str, bool>>> = LazyLock::new(Mutex::default);
    let Some(emulator) = arch.emulator.filter(|_| !arch.is_host()) else { return false };
    let mut known = KNOWN.lock().expect("no test panics with it");
    *known.entry(arch.name).or_insert_with(|| {
        let starts =
            |program: &str| Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success());
        let found = starts(emulator.program) && starts(arch.linker);
        if !found {
            let packages = [emulator.package, arch.linker_package].join(", ");
            eprintln!("skipped: {} ({}, {}: packages {packages})", arch.name, emulator.program, arch.linker);
        }
        found
    })
}

/// Calls the functions of these runs; returns the bytes of all their buffers.
///
/// # Panics
/// If a tool fails, or the program does.
pub(super) fn execute(arch: &Arch, object: &[u8], runs: &Runs) -> Vec<Vec<Vec<u8>>> {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("functions.o"), object).expect("written");
    fs::write(at("main.c"), program(runs)).expect("written");
    let linked = Command::new(arch.linker)
        .args(["-O1", "-static", "-o", "main", "main.c", "functions.o"])
        .current_dir(folder.path())
        .output()
        .expect("the linker starts");
    assert!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
    let mut input = Vec::new();
    for (bytes, start) in runs.iter().flat_map(|(_, buffers)| buffers) {
        input.extend([bytes.len(), *start].map(|number| (number as u64).to_le_bytes()).concat());
        input.extend(bytes);
    }
    fs::write(at("input"), input).expect("written");
    let emulator = arch.emulator.expect("asked before");
    let ran = Command::new(emulator.program)
        .arg(at("main"))
        .stdin(Stdio::from(File::open(at("input")).expect("written above")))
        .output()
        .expect("the emulator starts");
    assert!(ran.status.success(), "{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
    let mut rest = &ran.stdout[..];
    let take = |bytes: &Vec<u8>| {
        let (taken, behind) = rest.split_at(bytes.len());
        rest = behind;
        taken.to_vec()
    };
    let mut buffers =
        runs.iter().flat_map(|(_, buffers)| buffers).map(|(bytes, _)| bytes).map(take).collect::<Vec<_>>();
    runs.iter().map(|(_, own)| buffers.drain(..own.len()).collect()).collect()
}

/// A program that makes these runs, one after the other.
fn program(runs: &Runs) -> String {
    let mut text = String::from(
        "#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n\
         static char *buffer(uint64_t head[2]) {\n\
         \x20 if (fread(head, 8, 2, stdin) != 2) exit(2);\n\
         \x20 char *bytes = aligned_alloc(64, (head[0] + 64) / 64 * 64);\n\
         \x20 if (!bytes || fread(bytes, 1, head[0], stdin) != head[0]) exit(3);\n\
         \x20 return bytes;\n}\n\
         static void run(void (*function)(char **), int count) {\n\
         \x20 char *bytes[64], *pointers[64];\n  uint64_t head[64][2];\n\
         \x20 for (int i = 0; i < count; i++) {\n\
         \x20   bytes[i] = buffer(head[i]);\n    pointers[i] = bytes[i] + head[i][1];\n  }\n\
         \x20 function(pointers);\n\
         \x20 for (int i = 0; i < count; i++) {\n\
         \x20   fwrite(bytes[i], 1, head[i][0], stdout);\n    free(bytes[i]);\n  }\n}\n",
    );
    for (index, (name, _)) in runs.iter().enumerate() {
        let _ = writeln!(text, "void f{index}(char **) __asm__(\"{}\");", entry_name(name));
    }
    text += "int main(void) {\n";
    for (index, (_, buffers)) in runs.iter().enumerate() {
        assert!(buffers.len() <= 64, "the program's tables have 64 rows");
        let _ = writeln!(text, "  run(f{index}, {});", buffers.len());
    }
    text + "  return fflush(stdout) != 0;\n}\n"
}
