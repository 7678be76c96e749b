//! The rules of this repository that a text search can check, one test per rule.

mod cycles;
mod guides;
mod imports;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use eightfold_codegen::kernel::KERNELS;
use eightfold_codegen::schedule::SCHEDULE_PASSES;
use eightfold_ir::Op;
use eightfold_passes::PASSES;
use eightfold_passes::calibrate::OBSERVERS;
use eightfold_passes::fuse::FUSIONS;

/// A text file of the repository.
struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All text files except generated ones.
fn files() -> Vec<File> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<File>) {
        let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap().to_string_lossy();
            let hidden = name.starts_with('.') && !matches!(&*name, ".ci" | ".cargo" | ".gitignore");
            if hidden || matches!(&*name, "target" | "__pycache__" | "Cargo.lock") {
                continue;
            }
            if path.is_dir() {
                walk(&path, root, found);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                found.push(File { path, text });
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &root(), &mut found);
    found
}

fn sources() -> Vec<File> {
    files().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

impl File {
    /// Whether it is part of the product rather than a test, example or build script.
    fn is_shipped(&self) -> bool {
        let test = |part: &str| matches!(part, "tests" | "tests.rs" | "examples" | "build.rs");
        !self.path.split('/').any(test)
    }

    /// Number and text of each line, without test-only items.
    fn shipped_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        /// Inside a test-only item: its indentation, and whether its first line has passed.
        struct Test(usize, bool);
        let mut test: Option<Test> = None;
        let lines = self.text.lines().enumerate().filter(move |(_, line)| {
            let indent = line.len() - line.trim_start().len();
            match &mut test {
                None if line.trim() == "#[cfg(test)]" => test = Some(Test(indent, false)),
                None => return true,
                Some(Test(of, begun)) => {
                    let declares = !std::mem::replace(begun, true) && line.ends_with(';');
                    if declares || indent == *of && line.trim() == "}" {
                        test = None;
                    }
                }
            }
            false
        });
        lines.map(|(number, line)| (number + 1, line))
    }

    /// Number and text of each line, without test-only items and comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.shipped_lines().map(|(number, line)| (number, line.split_once("//").map_or(line, |(code, _)| code)))
    }

    /// The lines of code that satisfy `fits`, as `path:line: text`.
    fn lines_with(&self, fits: impl Fn(&str) -> bool) -> Vec<String> {
        let fitting = self.code().filter(|(_, line)| fits(line));
        fitting.map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim())).collect()
    }
}

/// The identifiers of a line.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn has_word(line: &str, word: &str) -> bool {
    words(line).any(|w| w == word)
}

/// Fails with the list of violations.
fn none(rule: &str, found: impl IntoIterator<Item = String>) {
    let found: Vec<String> = found.into_iter().collect();
    assert!(found.is_empty(), "{rule}\n  {}", found.join("\n  "));
}

#[test]
fn files_are_short() {
    let mut lengths: Vec<usize> = sources().iter().map(|file| file.text.lines().count()).collect();
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= 180, "half of the sources have at most {median} lines, expected 180");
    let long = |file: &File| file.text.lines().count() > 600;
    none("a source has at most 600 lines", sources().into_iter().filter(long).map(|file| file.path));
    let guide = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let before = guide.lines().take_while(|line| *line != "## Glossary");
    assert!(before.count() <= 300, "ARCHITECTURE.md has at most 300 lines before its glossary");
}

#[test]
fn sources_begin_with_what_they_are() {
    let undocumented = |file: &File| {
        let first = file.text.lines().find(|line| !line.starts_with("#![") && !line.trim().is_empty());
        !first.is_some_and(|line| line.starts_with("//! ") && line.len() > 8)
    };
    none("a source begins with `//!`", sources().into_iter().filter(undocumented).map(|file| file.path));
}

#[test]
fn names_say_what_things_are() {
    const EMPTY: &[&str] =
        &["common", "helper", "helpers", "info", "manager", "misc", "mod", "shared", "stuff", "util", "utils"];
    let of_file = |file: &File| {
        let mut parts = file.path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part));
        parts.any(|part| EMPTY.contains(&part)).then(|| file.path.clone())
    };
    none("no file or folder is called like this", sources().iter().filter_map(of_file));
    let vague = |line: &str| {
        let mut after = words(line).skip_while(|w| !matches!(*w, "struct" | "enum" | "trait" | "mod"));
        let name = after.nth(1).unwrap_or("");
        // The struct for a system's package manager is exempt.
        let vague = ["Manager", "Helper", "Helpers", "Util", "Utils", "Info"].iter().any(|end| name.ends_with(end));
        vague && name != "PackageManager" || EMPTY.contains(&name) && line.contains("mod ")
    };
    none("no type is called like this", sources().iter().flat_map(|file| file.lines_with(vague)));
}

#[test]
fn lints_are_expected_not_allowed() {
    let allows = |line: &str| ["#[", "#!["].iter().any(|open| line.contains(&format!("{open}allow(")));
    none("#[expect(…, reason = …)]", sources().iter().flat_map(|file| file.lines_with(allows)));
    let unreasoned = |line: &str| line.contains("#[expect(") && line.ends_with(")]") && !line.contains("reason");
    none("#[expect(…)] gives a reason", sources().iter().flat_map(|file| file.lines_with(unreasoned)));
    for manifest in files().iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        assert!(manifest.text.contains("[lints]\nworkspace = true"), "{} has lints of its own", manifest.path);
    }
}

#[test]
fn nothing_is_left_for_later() {
    let mark = |line: &&str| ["TODO", "FIXME", "XXX", "todo!", "unimplemented!"].iter().any(|m| line.contains(m));
    let marked = |file: &File| {
        let lines = file.text.lines().filter(mark).map(|line| format!("{}: {}", file.path, line.trim()));
        lines.collect::<Vec<_>>()
    };
    let own = |file: &File| file.path == "compiler/tests/tidy/main.rs";
    none("what is missing is an error or an issue", files().iter().filter(|f| !own(f)).flat_map(marked));
}

#[test]
fn no_path_is_of_one_machine() {
    let own = |line: &str| {
        let folder = |name: &str| line.contains(&format!("/{name}/"));
        let home = folder("home") && !line.contains("linuxbrew");
        home || ["work", "root", "Users"].iter().any(|name| {
            let at = format!("/{name}/");
            line.match_indices(&at).any(|(i, _)| i == 0 || !line[..i].ends_with(|c: char| c.is_alphanumeric()))
        })
    };
    let found = |file: &File| {
        let lines = file.text.lines().filter(|line| own(line)).map(|line| format!("{}: {}", file.path, line.trim()));
        lines.collect::<Vec<_>>()
    };
    none("paths hold on every machine", files().iter().flat_map(found));
}

#[test]
fn text_is_plain() {
    let untidy = |file: &File| {
        let text = &file.text;
        let trailing = text.lines().any(|line| line.ends_with([' ', '\t']));
        let end = text.ends_with('\n') && !text.ends_with("\n\n") || text.is_empty();
        (trailing || !end || text.contains('\r')).then(|| file.path.clone())
    };
    let kinds = [".rs", ".md", ".toml", ".ir", ".py", ".c", ".h"];
    let plain = |file: &&File| kinds.iter().any(|kind| file.path.ends_with(kind));
    none("no trailing spaces, one newline at the end", files().iter().filter(plain).filter_map(untidy));
}

#[test]
fn unsafe_code_is_where_it_is_expected() {
    const PLACES: &[&str] =
        &["runtime/src/", "codegen/src/llvm", "codegen/src/vector", "codegen/src/measure/", "compiler/src/artifact"];
    let elsewhere = |file: &&File| file.is_shipped() && !PLACES.iter().any(|place| file.path.starts_with(place));
    let found = |file: &File| file.lines_with(|line| has_word(line, "unsafe"));
    none("unsafe code has its few places", sources().iter().filter(elsewhere).flat_map(found));
}

#[test]
fn libraries_stay_within_their_walls() {
    /// A word, the sources where it is forbidden, and the exceptions among these.
    const WALLS: &[(&str, &[&str], &[&str])] = &[
        ("tract_onnx", &[""], &["compiler/src/session/oracle"]),
        ("prost", &[""], &["compiler/src/onnx/proto"]),
        ("inkwell", &[""], &["codegen/src/llvm", "codegen/src/vector"]),
        // An architecture's instructions: of generated code, and of the runtime.
        ("llvm.x86", &[""], &["codegen/src/vector/isa/x86"]),
        ("create_inline_asm", &[""], &["codegen/src/vector/isa/x86"]),
        ("llvm.aarch64", &[""], &["codegen/src/vector/isa/aarch64"]),
        ("core::arch", &[""], &["runtime/src/features/x86.rs", "runtime/src/linux/"]),
        ("clap", &["ir/", "passes/", "codegen/", "runtime/"], &[]),
        ("std::fs", &["ir/", "passes/"], &[]),
        ("std::io", &["ir/", "passes/"], &[]),
        ("std::env", &["ir/", "passes/"], &[]),
        ("std::net", &[""], &[]),
        ("std::thread", &["ir/", "passes/", "runtime/"], &[]),
        (
            "std::time",
            &["ir/", "codegen/"],
            &["codegen/src/llvm/peaks.rs", "codegen/src/llvm/profile.rs", "codegen/src/measure/"],
        ),
        ("println!", &["ir/", "passes/", "codegen/", "runtime/"], &["codegen/src/llvm/trial/emulated.rs"]),
        // Passes do not lower, and lowering does not rewrite.
        ("Rewrite", &["codegen/"], &[]),
        ("eightfold_codegen", &["passes/"], &[]),
    ];
    for (word, inside, but) in WALLS {
        let walled = |file: &&File| {
            let within = |places: &[&str]| places.iter().any(|place| file.path.starts_with(place));
            file.is_shipped() && within(inside) && !within(but)
        };
        let says = |line: &str| match word.contains([':', '!', '.']) {
            true => line.contains(word),
            false => has_word(line, word),
        };
        none(&format!("{word} stays where it is"), sources().iter().filter(walled).flat_map(|f| f.lines_with(says)));
    }
}

#[test]
fn generic_passes_name_no_operator() {
    const GENERIC: &[&str] = &[
        "passes/src/assign_precision.rs",
        "passes/src/common_subexpressions.rs",
        "passes/src/eliminate_dead.rs",
        "passes/src/fold_constants.rs",
        "passes/src/insert_qdq.rs",
        "passes/src/insert_qdq/plan.rs",
        "passes/src/lower_qdq.rs",
    ];
    let named = |line: &str| {
        let after = line.split("Op::").skip(1).filter_map(|rest| words(rest).next());
        after.filter(|name| !matches!(*name, "QuantizeLinear" | "DequantizeLinear")).count() > 0
    };
    let generic = |file: &&File| GENERIC.contains(&&*file.path);
    assert_eq!(sources().iter().filter(generic).count(), GENERIC.len(), "the list has gone stale");
    none("goes by the rules of operators", sources().iter().filter(generic).flat_map(|file| file.lines_with(named)));
}

#[test]
fn crates_depend_on_what_they_may() {
    const MAY: &[(&str, &str)] = &[
        ("ir", "half libm petgraph smallvec thiserror"),
        ("passes", "eightfold-ir libm smallvec thiserror"),
        ("codegen", "eightfold-ir eightfold-runtime half inkwell object rangemap smallvec tempfile thiserror"),
        ("runtime", ""),
        ("xtask", "serde serde_json"),
    ];
    for (folder, may) in MAY {
        let text = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let section = text.lines().skip_while(|line| line.trim() != "[dependencies]").skip(1);
        let names = section.take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#'));
        let names = names.filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| !name.is_empty());
        let others = names.filter(|name| !may.split(' ').any(|m| m == *name)).map(str::to_owned);
        none(&format!("{folder} depends on {may:?} alone"), others);
    }
}

#[test]
fn rows_have_their_files_and_tests() {
    let exists = |path: &str| root().join(path).exists();
    let mut wanted: BTreeMap<String, &str> = BTreeMap::new();
    for name in Op::NAMES {
        wanted.insert(format!("ir/src/op/{name}.rs"), "an operator is a file");
        wanted.insert(format!("testdata/ops/{name}.ir"), "an operator has numbers worked out by hand");
    }
    for name in PASSES.iter().map(|pass| pass.name()) {
        wanted.insert(format!("passes/src/{name}.rs"), "a pass is a file");
        wanted.insert(format!("testdata/passes/{name}"), "a pass has graphs");
    }
    for fusion in FUSIONS {
        wanted.insert(format!("testdata/passes/{}", fusion.name), "a fusion has graphs");
    }
    none("these are missing", wanted.iter().filter(|(path, _)| !exists(path)).map(|(p, why)| format!("{p}: {why}")));

    let text = fs::read_to_string(root().join("passes/tests/calibrate.rs")).unwrap();
    none("an observer has a test", OBSERVERS.iter().filter(|o| !text.contains(o.name)).map(|o| o.name.to_owned()));
    let parts = |name: &str| [".rs", "/emit.rs", "/tests.rs"].map(|part| format!("codegen/src/kernel/{name}{part}"));
    let missing = KERNELS.iter().flat_map(|family| parts(family.name)).filter(|path| !exists(path));
    none("a family of kernels is a definition, an emitter and tests", missing);
    let passes = SCHEDULE_PASSES.iter().map(|pass| pass.name());
    let parts = |name: &str| [format!("codegen/src/schedule/{name}.rs"), format!("testdata/programs/{name}")];
    let missing = passes.flat_map(parts).filter(|path| !exists(path));
    none("a schedule pass is a file, and has programs", missing);
    // Only a family's own folder and lowering name its variant.
    let by_family = |file: &File| {
        let path = file.path.as_str();
        let own = path.starts_with("codegen/src/kernel") || path.starts_with("codegen/src/lower");
        path.starts_with("codegen/src") && !own && file.is_shipped()
    };
    let asks = |line: &str| line.contains("Producer::");
    let found = sources().into_iter().filter(by_family).flat_map(|file| file.lines_with(asks));
    none("no code outside the families asks which one a call is of", found);
}

#[test]
fn testdata_is_explained() {
    let readme = fs::read_to_string(root().join("testdata/README.md")).unwrap();
    let folders = fs::read_dir(root().join("testdata")).unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.is_dir()).map(|path| path.file_name().unwrap().display().to_string());
    none("testdata/README.md explains", folders.filter(|name| !readme.contains(&format!("`{name}/"))));
}
