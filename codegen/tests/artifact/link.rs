//! Linking: the contents of the library, equal bytes for equal inputs, and every error.

use std::fs;
use std::path::Path;

use eightfold_codegen::object::{Linker, ObjectError, write_file};
use eightfold_codegen::target::X86_64;
use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_TEXTREL, PF_X, PT_GNU_STACK};
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _};

use crate::plus_one;

/// The library of the model; `None`, with a message, if there is no C compiler.
pub(crate) fn shared(folder: &Path, name: &str) -> Option<Vec<u8>> {
    let interface = plus_one::interface();
    let object = plus_one::object(&interface);
    let output = folder.join(name);
    match Linker::from_env(&X86_64).link_shared(&object.into(), &interface.query_symbol(), &output) {
        Ok(()) => Some(fs::read(output).unwrap()),
        Err(ObjectError::LinkerNotFound { linker, .. }) => {
            eprintln!("skipped: no linker {linker}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_library_exports_one_symbol_and_needs_no_library() {
    let folder = tempfile::tempdir().unwrap();
    let Some(bytes) = shared(folder.path(), "plus_one.so") else {
        return;
    };
    let elf = ElfFile64::<Endianness>::parse(&*bytes).unwrap();
    let (defined, undefined): (Vec<_>, Vec<_>) = elf.dynamic_symbols().partition(|symbol| symbol.is_definition());
    let exported: Vec<_> = defined.iter().map(|symbol| symbol.name().unwrap()).collect();
    assert_eq!(exported, ["plus_one_query"]);
    for symbol in undefined {
        let name = symbol.name().unwrap();
        // Without the last two it loads, and sessions of one thread run.
        let may_lack = symbol.is_weak() && ["pthread_create", "pthread_join"].contains(&name);
        assert!(may_lack || ["", "memcpy", "memset", "memmove"].contains(&name), "needs {name}");
    }
    assert_eq!(elf.symbols().count(), 0, "stripped");

    let endian = elf.endian();
    let headers = elf.elf_program_headers();
    for segment in headers.iter().filter(|segment| segment.p_type(endian) == PT_GNU_STACK) {
        assert_eq!(segment.p_flags(endian) & PF_X, 0, "executable stack");
    }
    let entries = headers.iter().find_map(|segment| segment.dynamic(endian, &*bytes).unwrap());
    for entry in entries.unwrap() {
        let tag = entry.d_tag(endian);
        for unwanted in [DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_TEXTREL] {
            assert_ne!(tag, unwanted);
        }
    }
    assert_eq!(elf.elf_header().e_type(endian), object::elf::ET_DYN);
    assert!(bytes.len() < 20_000, "{} bytes", bytes.len());
}

#[test]
fn a_note_says_what_the_library_is() {
    let folder = tempfile::tempdir().unwrap();
    let Some(bytes) = shared(folder.path(), "plus_one.so") else { return };
    let elf = ElfFile64::<Endianness>::parse(&*bytes).unwrap();
    let note = elf.section_by_name(".note.eightfold").unwrap().data().unwrap();
    let expected = b"\x0a\0\0\0\x33\0\0\0\x01\0\0\0Eightfold\0\0\0\x01\0\0\0plus_one_query\0";
    // Room for the checksum, and what fills the last word.
    assert_eq!(note, [&expected[..], &[0; 32 + 1]].concat());
}

#[test]
fn an_object_for_another_machine_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("x.so");
    let mut object = plus_one::object(&plus_one::interface());
    object[18] = 40;
    let error = Linker::from_env(&X86_64).link_shared(&object.into(), "x_query", &output).unwrap_err();
    assert_eq!(error.to_string(), "the object file is not for x86_64");
}

#[test]
fn the_object_file_needs_nothing() {
    let bytes = plus_one::object(&plus_one::interface());
    let elf = ElfFile64::<Endianness>::parse(&*bytes).unwrap();
    for symbol in elf.symbols().filter(|symbol| symbol.is_undefined()) {
        let name = symbol.name().unwrap();
        let expected = name.is_empty() || (name == "eightfold_runtime_v1" && symbol.is_weak());
        assert!(expected, "needs {name}");
    }
    let exported: Vec<_> = elf
        .symbols()
        .filter(|symbol| symbol.is_global() && symbol.is_definition())
        .map(|symbol| symbol.name().unwrap().to_owned())
        .collect();
    assert_eq!(exported, ["plus_one_query"]);
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let interface = plus_one::interface();
    assert_eq!(plus_one::object(&interface), plus_one::object(&interface));
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(first) = shared(one.path(), "a.so") else {
        return;
    };
    assert_eq!(shared(other.path(), "another name, with a comma.so").unwrap(), first);
    let mut text = first.split(|&byte| !(b' '..=b'~').contains(&byte));
    let path = one.path().to_str().unwrap();
    let home = env!("CARGO_MANIFEST_DIR");
    assert!(!text.any(|text| String::from_utf8_lossy(text).contains(path)), "contains {path}");
    let mut text = first.split(|&byte| !(b' '..=b'~').contains(&byte));
    assert!(!text.any(|text| String::from_utf8_lossy(text).contains(home)), "contains {home}");
}

#[test]
fn a_file_appears_whole_with_the_usual_mode_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.o");
    write_file(&path, b"old").unwrap();
    write_file(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    if shared(folder.path(), "model.o").is_none() {
        return;
    }
    assert_eq!(names(folder.path()), ["model.o"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let usual = folder.path().join("usual");
        fs::write(&usual, b"").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o444;
        assert_eq!(mode(&path), mode(&usual));
    }
}

#[test]
fn a_missing_linker_has_its_own_error() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("x.so");
    let linker = Linker::new(&X86_64, "eightfold-no-such-linker -m64");
    let error = linker.link_shared(&Vec::new().into(), "x_query", &output).unwrap_err();
    assert_eq!(error.to_string(), "no linker: \"eightfold-no-such-linker\" is not installed");
    assert!(matches!(error, ObjectError::LinkerNotFound { .. }));
    assert_eq!(names(folder.path()), [""; 0]);
    assert_eq!(Linker::new(&X86_64, "  "), Linker::new(&X86_64, "cc"));
}

#[test]
fn a_failing_linker_is_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("x.so");
    fs::write(&output, b"as it was").unwrap();
    match Linker::from_env(&X86_64).link_shared(&b"this is no object file".to_vec().into(), "x_query", &output) {
        Err(ObjectError::LinkerNotFound { .. }) => eprintln!("skipped: no linker"),
        Err(ObjectError::LinkFailed { stderr, .. }) => {
            assert!(stderr.contains("model.o"), "{stderr}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(&output).unwrap(), b"as it was");
    assert_eq!(names(folder.path()), ["x.so"]);
}

#[test]
fn an_unwritable_destination_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("missing/model.so");
    let expected = format!("cannot write {}", output.display());
    let linked = Linker::from_env(&X86_64).link_shared(&Vec::new().into(), "x_query", &output).unwrap_err();
    assert_eq!(linked.to_string(), expected);
    let error = write_file(&output, b"").unwrap_err();
    assert_eq!(error.to_string(), expected);
    assert!(matches!(
        error,
        ObjectError::Write { source, .. } if source.kind() == std::io::ErrorKind::NotFound
    ));
    let error = write_file(folder.path(), b"").unwrap_err();
    assert!(matches!(error, ObjectError::Write { .. }), "{error:?}");
}
