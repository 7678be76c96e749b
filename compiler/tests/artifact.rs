//! Loads and runs artifacts, and rejects every kind of bad file.
//!
//! The artifacts are compiled from C, so that each can be wrong in one respect.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use eightfold::artifact::{Artifact, ArtifactError, Damage, RunError, UnsupportedVariant};
use eightfold_codegen::interface::{Interface, Quantization, Tensor, Variant};
use eightfold_codegen::object::Linker;
use eightfold_codegen::target::X86_64;
use eightfold_ir::DType;
use eightfold_runtime::features::FeatureSet;
use eightfold_runtime::status::Status;
use tempfile::TempDir;

/// A folder with an artifact in it.
struct Fixture {
    _folder: TempDir,
    path: PathBuf,
}

impl Fixture {
    fn load(&self) -> Result<Artifact, ArtifactError> {
        Artifact::load(&self.path)
    }

    /// The error of loading it, without the path.
    fn refused(&self) -> String {
        let error = self.load().unwrap_err().to_string();
        error.replace(self.path.to_str().unwrap(), "FILE")
    }

    /// Another file in the same folder.
    fn beside(&self, name: &str, bytes: &[u8]) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        Fixture { _folder: folder, path }
    }
}

fn object(folder: &Path, macros: &[&str]) -> Option<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let compiled = Command::new("cc")
        .args(["-c", "-O1", "-fPIC", "-Wall", "-Werror", "-o", "fixture.o", "-I"])
        .arg(here.join("../runtime/include"))
        .args(macros.iter().map(|name| format!("-D{name}")))
        .arg(here.join("tests/artifact/fixture.c"))
        .current_dir(folder)
        .output();
    let Ok(compiled) = compiled else {
        eprintln!("skipped: no C compiler");
        return None;
    };
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let object = fs::read(folder.join("fixture.o")).unwrap();
    fs::remove_file(folder.join("fixture.o")).unwrap();
    Some(object)
}

/// The artifact of `fixture.c` compiled with these macros; `None`, with a message, if there is no C compiler.
fn fixture(macros: &[&str]) -> Option<Fixture> {
    let folder = tempfile::tempdir().unwrap();
    let object = object(folder.path(), macros)?;
    let path = folder.path().join("fixture.so");
    Linker::from_env(&X86_64).link_shared(&object.into(), "fixture_query", &path).unwrap();
    Some(Fixture { _folder: folder, path })
}

fn floats(values: [f32; 4]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn a_good_artifact_says_what_it_offers() {
    let Some(fixture) = fixture(&[]) else { return };
    let tensor =
        |name: &str, quantization| Tensor { name: name.to_owned(), dtype: DType::F32, dims: vec![2, 2], quantization };
    let quantization = Quantization { axis: None, scale: vec![0.25], zero_point: vec![-7] };
    let expected = Interface {
        name: "fixture".to_owned(),
        symbol_prefix: "fixture".to_owned(),
        provenance: "by hand".to_owned(),
        variants: vec![Variant {
            target: "by-hand".to_owned(),
            features: FeatureSet::EMPTY,
            threads: 1,
            workers: 0,
            arena_size: 64,
            arena_align: 64,
            inputs: vec![tensor("fixture", None)],
            outputs: vec![tensor("y", Some(quantization))],
        }],
    };
    assert_eq!(*fixture.load().unwrap().interface(), expected);
    assert_eq!(fixture.load().unwrap().supported_variant(), Some(0));
}

#[test]
fn a_session_runs_and_outlives_what_it_was_made_from() {
    let Some(fixture) = fixture(&[]) else { return };
    let artifact = fixture.load().unwrap();
    let mut session = artifact.session().unwrap();
    drop(artifact);
    fs::remove_file(&fixture.path).unwrap();
    let mut outputs = session.output_buffers();
    assert_eq!(outputs, [vec![0; 16]]);
    for first in [1.0, -2.5] {
        session.run(&[&floats([first, 2.0, 3.0, 4.0])], &mut outputs).unwrap();
        assert_eq!(outputs[0], floats([first + 1.0, 3.0, 4.0, 5.0]));
    }
    assert_eq!(session.variant().target, "by-hand");
}

#[test]
fn sessions_of_one_artifact_run_at_once() {
    let Some(fixture) = fixture(&[]) else { return };
    let artifact = fixture.load().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let mut session = artifact.session().unwrap();
            scope.spawn(move || {
                let mut outputs = session.output_buffers();
                for run in 0..5000 {
                    let x = [thread * 10_000 + run; 4].map(|x| x as f32);
                    session.run(&[&floats(x)], &mut outputs).unwrap();
                    assert_eq!(outputs[0], floats(x.map(|x| x + 1.0)));
                }
            });
        }
    });
}

#[test]
fn a_run_with_the_wrong_tensors_is_refused_by_name() {
    let Some(fixture) = fixture(&[]) else { return };
    let mut session = fixture.load().unwrap().session().unwrap();
    let x = floats([0.0; 4]);
    let mut good = session.output_buffers();
    let mut refused = |inputs: &[&[u8]], outputs: &mut [Vec<u8>]| session.run(inputs, outputs).unwrap_err().to_string();
    assert_eq!(refused(&[], &mut good), "expected 1 inputs, got 0");
    assert_eq!(refused(&[&x, &x], &mut good), "expected 1 inputs, got 2");
    assert_eq!(refused(&[&x], &mut []), "expected 1 outputs, got 0");
    assert_eq!(refused(&[&x[..15]], &mut good), "input \"fixture\" (2x2xf32): expected 16 bytes, got 15");
    assert_eq!(refused(&[&x], &mut [vec![0; 20]]), "output \"y\" (2x2xf32): expected 16 bytes, got 20");
    assert_eq!(good, [vec![0; 16]]);
}

#[test]
fn the_models_own_status_comes_through() {
    let Some(fixture) = fixture(&["STATUS=5"]) else { return };
    let mut session = fixture.load().unwrap().session().unwrap();
    let mut outputs = session.output_buffers();
    let error = session.run(&[&floats([0.0; 4])], &mut outputs).unwrap_err();
    assert_eq!(error, RunError::Status(Status::MEMORY_TOO_SMALL));
}

#[test]
fn a_missing_file_is_named() {
    let error = Artifact::load(Path::new("/no/such/model.so")).unwrap_err();
    assert_eq!(error.to_string(), "cannot open /no/such/model.so");
    assert!(matches!(error, ArtifactError::Open { source, .. } if source.kind() == std::io::ErrorKind::NotFound));
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Artifact::load(folder.path()), Err(ArtifactError::Open { .. })));
}

#[test]
fn files_of_other_kinds_are_no_shared_library() {
    let Some(fixture) = fixture(&[]) else { return };
    for bytes in [&b""[..], b"\x7f", b"\x08\x07\x12\x07pytorch", b"#!/bin/sh\nexit 1\n"] {
        assert_eq!(fixture.beside("other.so", bytes).refused(), "FILE is no shared library");
    }
}

#[test]
fn a_library_that_is_not_ours_is_refused_before_its_constructors_run() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("constructor_ran");
    let constructor = format!("CONSTRUCTOR=\"{}\"", trace.display());
    let Some(foreign) = library_with_libc(&["NO_NOTE", &constructor]) else { return };
    assert_eq!(foreign.refused(), "FILE is a shared library, but no compiled eightfold model");
    assert!(!trace.exists(), "its code ran");
    // The same library does leave the trace when it is loaded, so the check above is meaningful.
    let Some(ours) = library_with_libc(&[&constructor]) else { return };
    ours.load().unwrap();
    assert!(trace.exists());
}

/// Links like a user would: by hand, with the C library, exporting everything.
fn library_with_libc(macros: &[&str]) -> Option<Fixture> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("by_hand.o"), object(folder.path(), macros)?).unwrap();
    let linked =
        Command::new("cc").args(["-shared", "-o", "by_hand.so", "by_hand.o"]).current_dir(folder.path()).status();
    assert!(linked.unwrap().success());
    let path = folder.path().join("by_hand.so");
    Some(Fixture { _folder: folder, path })
}

#[test]
fn an_artifact_without_the_runtime_runs_as_well() {
    let Some(fixture) = library_with_libc(&[]) else { return };
    let mut session = fixture.load().unwrap().session().unwrap();
    let mut outputs = session.output_buffers();
    session.run(&[&floats([1.0; 4])], &mut outputs).unwrap();
    assert_eq!(outputs[0], floats([2.0; 4]));
}

#[test]
fn a_truncated_file_never_loads() {
    let Some(fixture) = fixture(&[]) else { return };
    let bytes = fs::read(&fixture.path).unwrap();
    for length in (4..bytes.len()).step_by(97).chain([63, 64, bytes.len() - 1]) {
        let cut = fixture.beside("cut.so", &bytes[..length]);
        match cut.load().unwrap_err() {
            ArtifactError::Truncated { expected, got, .. } => {
                assert!(got == length as u64 && got < expected, "{length}: {got} {expected}");
            }
            error => panic!("{length}: {error}"),
        }
    }
    let message = fixture.beside("cut.so", &bytes[..10]).refused();
    assert_eq!(message, "FILE is truncated: expected at least 64 bytes, got 10");
}

#[test]
fn damaged_headers_give_an_error_and_no_crash() {
    let Some(fixture) = fixture(&["NO_NOTE"]) else { return };
    let bytes = fs::read(&fixture.path).unwrap();
    let e_shoff = usize::from_le_bytes(bytes[40..48].try_into().unwrap());
    // All of the ELF header and of the section headers: no byte there may bring the reader down. The file has no note,
    // so that none of them can get it as far as being loaded.
    for position in (4..64).chain(e_shoff..bytes.len()) {
        let mut bytes = bytes.clone();
        bytes[position] = !bytes[position];
        fs::write(&fixture.path, &bytes).unwrap();
        fixture.load().unwrap_err();
    }
}

#[test]
fn code_for_another_machine_is_named() {
    let Some(fixture) = fixture(&[]) else { return };
    let with = |position: usize, value: u8| {
        let mut bytes = fs::read(&fixture.path).unwrap();
        bytes[position] = value;
        fixture.beside("other.so", &bytes).refused()
    };
    let here = std::env::consts::ARCH;
    assert_eq!(with(18, 40), format!("FILE is code for arm, this machine is {here}"));
    assert_eq!(with(18, 99), format!("FILE is code for machine 99, this machine is {here}"));
    assert_eq!(with(5, 2), format!("FILE is code for big-endian, this machine is {here}"));
}

#[test]
fn an_object_file_must_be_linked_first() {
    let folder = tempfile::tempdir().unwrap();
    let Some(bytes) = object(folder.path(), &[]) else { return };
    let path = folder.path().join("model.o");
    fs::write(&path, bytes).unwrap();
    let fixture = Fixture { _folder: folder, path };
    let expected = "FILE is an object file of a compiled model; it must be linked into a shared library";
    assert_eq!(fixture.refused(), expected);
}

#[test]
fn another_abi_version_is_refused_by_the_note_and_by_the_model() {
    for spoiled in ["NOTE_ABI=2", "MODEL_ABI=2"] {
        let Some(fixture) = fixture(&[spoiled]) else { return };
        assert_eq!(fixture.refused(), "FILE has version 2 of the c interface, expected 1", "{spoiled}");
    }
}

#[test]
fn descriptors_that_contradict_themselves_are_refused() {
    let cases = [
        ("MODEL_SIZE=40", Damage::StructSize),
        ("NO_MODEL", Damage::Symbol),
        ("NOTE_SYMBOL=\"absent_query\"", Damage::Symbol),
        ("NOTE_OWNER=\"Ninefold!\"", Damage::Note),
        ("DTYPE=8", Damage::ElementType),
        ("BYTES=17", Damage::Tensor),
        ("NAME=0", Damage::NullPointer),
        ("NAME=\"\\xff\"", Damage::Text),
        ("RUN=0", Damage::Variant),
        ("THREADS=0", Damage::Variant),
        ("WORKERS=1", Damage::Variant),
    ];
    for (spoiled, expected) in cases {
        let Some(fixture) = fixture(&[spoiled]) else { return };
        match fixture.load() {
            Err(ArtifactError::Damaged { damage, .. }) => assert_eq!(damage, expected, "{spoiled}"),
            other => panic!("{spoiled}: {other:?}"),
        }
    }
}

#[test]
fn a_cpu_without_the_features_is_told_which() {
    let Some(fixture) = fixture(&["FEATURES={0,0,0,1ull<<63}"]) else { return };
    let artifact = fixture.load().unwrap();
    assert_eq!(artifact.supported_variant(), None);
    let error = artifact.session().unwrap_err();
    let expected = "this cpu can run none of the artifact's variants: by-hand needs features unknown here";
    assert_eq!(error.to_string(), expected);
    let status = |result| match result {
        Err(ArtifactError::Session { status, .. }) => status,
        other => panic!("{other:?}"),
    };
    assert_eq!(status(artifact.session_of(0)), Status::UNSUPPORTED_CPU);
    assert_eq!(artifact.session_of(1).unwrap_err().to_string(), "expected a variant below 1, got 1");

    let variants = vec![UnsupportedVariant { target: "a".to_owned(), missing: vec!["avx512f", "avx512vnni"] }];
    let error = ArtifactError::NoSupportedVariant { variants }.to_string();
    assert!(error.ends_with("variants: a needs avx512f, avx512vnni"), "{error}");
}

#[test]
fn a_session_has_the_workers_that_the_variant_needs() {
    for (macros, workers) in [(&["THREADS=3"][..], 0), (&["THREADS=3", "WORKERS=2"], 2)] {
        let Some(fixture) = fixture(macros) else { return };
        let artifact = fixture.load().unwrap();
        let mut session = artifact.session().unwrap();
        assert_eq!((session.variant().threads, session.variant().workers), (3, workers));
        let mut outputs = session.output_buffers();
        for first in 0..100 {
            session.run(&[&floats([first as f32, 2.0, 3.0, 4.0])], &mut outputs).unwrap();
            assert_eq!(outputs[0], floats([first as f32 + 1.0, 3.0, 4.0, 5.0]));
        }
    }
}
