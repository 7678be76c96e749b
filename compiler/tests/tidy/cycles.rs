//! Dependencies between files, and between folders, have no cycles.
//!
//! Dependencies come from [`imports`](super::imports): a file depends on the files that define the names it uses. Two
//! rules:
//! - Files have no cycles, except for a table and its rows: a table names its rows by `mod`, and rows use the table's
//!   definitions.
//! - The entries of a folder have no cycles; a folder includes all files in it and the file of its name.
//!
//! To break a cycle, decide which direction is right, and move the definition.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::Crate;
use super::{none, sources};

const CRATES: &[&str] = &["ir", "passes", "codegen", "runtime", "compiler", "xtask"];

/// Tables, by path prefix: `kernel/` has the kernel families, each with its emitter.
const TABLES: &[&str] = &[
    "codegen/src/cpu.rs",
    "codegen/src/kernel.rs",
    "codegen/src/kernel/",
    "codegen/src/vector/isa.rs",
    "codegen/src/program.rs",
    "codegen/src/schedule.rs",
    "compiler/src/onnx/adapt.rs",
    "ir/src/op.rs",
    "passes/src/calibrate.rs",
    "passes/src/canonicalize.rs",
    "passes/src/fuse.rs",
    "passes/src/lib.rs",
    "passes/src/lower_qdq.rs",
];

/// For each node, its dependencies.
type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn files_name_each_other_one_way() {
    let mut tables: BTreeSet<&str> = TABLES.iter().copied().collect();
    let graph = read(|known, from, to| {
        let table = TABLES.iter().find(|table| from.starts_with(**table)).filter(|_| known.declares(from, to));
        table.inspect(|table| _ = tables.remove(**table));
        table.is_none().then(|| (from.to_owned(), to.to_owned()))
    });
    check(&graph);
    none("no table is called like this", tables.into_iter().map(str::to_owned));
}

#[test]
fn folders_name_each_other_one_way() {
    check(&read(|_, from, to| siblings(from, to)));
}

/// The graph of the dependencies between files of all crates, mapped by `arrow`.
fn read(mut arrow: impl FnMut(&Crate, &str, &str) -> Option<(String, String)>) -> Graph {
    let sources = sources();
    let mut graph = Graph::new();
    for folder in CRATES {
        let known = Crate::read(folder, &sources);
        for (from, named) in known.edges() {
            for (from, to) in named.into_iter().filter_map(|to| arrow(&known, from, to)) {
                graph.entry(from).or_default().insert(to);
            }
        }
    }
    graph
}

/// The entries of a common folder that contain `from` and `to`; `None` if they are the same.
fn siblings(from: &str, to: &str) -> Option<(String, String)> {
    // `a.rs` belongs to the folder `a`, and the root of a crate to its `src`.
    let parts = |path: &'_ str| -> Vec<String> {
        let path = path.trim_end_matches(".rs").trim_end_matches("/lib").trim_end_matches("/main");
        path.split('/').map(str::to_owned).collect()
    };
    let (from, to) = (parts(from), parts(to));
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    Some((from.get(..=same)?.join("/"), to.get(..=same)?.join("/")))
}

/// Fails if the graph has cycles.
fn check(graph: &Graph) {
    let arrows = graph.iter().flat_map(|(from, named)| named.iter().map(move |to| (from, to)));
    let closing = arrows.filter(|(from, to)| reaches(graph, to, from));
    none("these arrows run in cycles", closing.map(|(from, to)| format!("{from} -> {to}")));
}

/// Whether there is a path from one node to another.
fn reaches(graph: &Graph, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut ahead = vec![from];
    while let Some(at) = ahead.pop() {
        if at == to {
            return true;
        }
        let named = graph.get(at).into_iter().flatten().map(String::as_str);
        ahead.extend(named.filter(|next| seen.insert(next)));
    }
    false
}

#[test]
fn cycles_are_found() {
    let graph = |arrows: &[(&str, &str)]| {
        let mut graph = Graph::new();
        arrows.iter().for_each(|(from, to)| _ = graph.entry((*from).to_owned()).or_default().insert((*to).to_owned()));
        graph
    };
    let fails = |graph: &Graph| std::panic::catch_unwind(|| check(graph)).is_err();
    assert!(fails(&graph(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")])));
    assert!(!fails(&graph(&[("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")])));
    let between = |from: &str, to: &str| siblings(from, to).map(|(a, b)| format!("{a} {b}"));
    assert_eq!(between("c/src/a/x.rs", "c/src/b.rs").as_deref(), Some("c/src/a c/src/b"));
    assert_eq!(between("c/src/a.rs", "c/src/a/x.rs"), None);
    assert_eq!(between("c/src/lib.rs", "c/src/b.rs"), None);
}
