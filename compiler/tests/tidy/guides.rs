//! Guides (`docs/guides`) name files and tests that exist, and ARCHITECTURE.md links every guide.

use std::fs;
use std::path::Path;

use super::{File, files, none, root, sources};

fn guides() -> Vec<File> {
    files().into_iter().filter(|file| file.path.starts_with("docs/guides/")).collect()
}

/// What stands between backticks, with the path of its guide.
fn quoted(guide: &File) -> impl Iterator<Item = &str> {
    // Blocks of commands are between three backticks, so between two of these pieces nothing is quoted.
    guide.text.split("```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2))
}

/// Whether it is a path from the root, without placeholders and patterns.
fn is_path(text: &str) -> bool {
    const FOLDERS: &[&str] =
        &["benches", "codegen", "compiler", "docs", "ir", "passes", "runtime", "testdata", "xtask"];
    let begins = text.split_once('/').is_some_and(|(first, _)| FOLDERS.contains(&first));
    begins && !text.contains(['<', '*', ' '])
}

#[test]
fn files_that_guides_name_exist() {
    let missing = |guide: &File| {
        let paths = quoted(guide).filter(|text| is_path(text) && !root().join(text).exists());
        let links = guide.text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        let links = links.filter(|link| !Path::new(&root()).join("docs/guides").join(link).exists());
        paths.chain(links).map(|path| format!("{}: {path}", guide.path)).collect::<Vec<_>>()
    };
    none("a guide names files that exist", guides().iter().flat_map(missing));
    let paths: usize = guides().iter().map(|guide| quoted(guide).filter(|text| is_path(text)).count()).sum();
    assert!(paths >= 60, "guides name {paths} paths");
}

#[test]
fn tests_that_guides_name_exist() {
    // The name of a test is a sentence.
    let is_test = |text: &&str| {
        text.matches('_').count() >= 3 && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let sources = sources();
    let exists = |name: &str| sources.iter().any(|file| file.text.contains(&format!("fn {name}(")));
    let missing = |guide: &File| {
        let names = quoted(guide).filter(is_test).filter(|name| !exists(name));
        names.map(|name| format!("{}: {name}", guide.path)).collect::<Vec<_>>()
    };
    none("a guide names tests that exist", guides().iter().flat_map(missing));
}

#[test]
fn architecture_links_every_guide() {
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let unlinked = guides().into_iter().filter(|guide| !architecture.contains(&format!("]({})", guide.path)));
    none("ARCHITECTURE.md links", unlinked.map(|guide| guide.path));
    assert!(guides().len() >= 6);
}
