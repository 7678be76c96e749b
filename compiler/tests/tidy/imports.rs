//! Finds which files of a crate use definitions of other files, by the paths in the sources.
//!
//! A path such as `crate::a::b::Item` leads to the file that defines `Item`; re-exports are followed. A file that only
//! re-exports a name (`pub use`), or only declares a module, does not depend on it. Uses without a path, such as calls
//! of another file's methods, are not detected.

use std::collections::{BTreeMap, BTreeSet};

use super::File;

/// The files of a crate by module path, with their contents.
pub(crate) struct Crate {
    modules: BTreeMap<Vec<String>, Module>,
}

/// A file.
struct Module {
    path: String,
    /// Names that `use` imports, with their paths.
    uses: Vec<Use>,
    /// Other paths in the code.
    paths: Vec<Vec<String>>,
    /// The modules that it declares for tests only.
    for_tests: Vec<String>,
    /// The identifiers outside of `use`.
    words: BTreeSet<String>,
}

/// An imported name.
struct Use {
    path: Vec<String>,
    name: String,
    /// Whether it is re-exported.
    public: bool,
}

impl Crate {
    /// Reads the crate whose shipped sources are in `folder/src`.
    pub(crate) fn read(folder: &str, sources: &[File]) -> Crate {
        let start = format!("{folder}/src/");
        let files: Vec<&File> =
            sources.iter().filter(|file| file.path.starts_with(&start) && file.is_shipped()).collect();
        let root =
            ["lib.rs", "main.rs"].into_iter().find(|root| files.iter().any(|f| f.path == format!("{start}{root}")));
        let mut modules = BTreeMap::new();
        for file in files {
            modules.insert(module_path(&file.path[start.len()..], root), Module::read(file));
        }
        // A module for tests only is not shipped.
        let for_tests = |(at, module): (&Vec<String>, &Module)| {
            module.for_tests.iter().map(|name| child(at, name)).collect::<Vec<_>>()
        };
        let unshipped: Vec<Vec<String>> = modules.iter().flat_map(for_tests).collect();
        modules.retain(|at, _| !unshipped.iter().any(|test| at.starts_with(test)));
        Crate { modules }
    }

    /// For each file, the other files whose definitions it uses.
    pub(crate) fn edges(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let edges = self.modules.iter().map(|(at, module)| {
            let mut to: BTreeSet<&str> = BTreeSet::new();
            let used = module.uses.iter().filter(|used| !used.public || module.words.contains(&used.name));
            let paths = module.paths.iter().chain(used.map(|used| &used.path));
            for path in paths {
                if let Some(Found::Item(found)) = self.find(at, path, 0)
                    && found != at
                {
                    to.insert(&self.modules[found].path);
                }
            }
            (module.path.as_str(), to)
        });
        edges.collect()
    }

    /// Whether `table` declares the module of the file `row`.
    pub(crate) fn declares(&self, table: &str, row: &str) -> bool {
        let at = |path: &str| self.modules.iter().find(|(_, module)| module.path == path).map(|(at, _)| at);
        match (at(table), at(row)) {
            (Some(table), Some(row)) => row.split_last().is_some_and(|(_, parent)| parent == table),
            _ => false,
        }
    }

    /// The file that a path in module `at` leads to; `None` for another crate, or for names from macros.
    fn find<'c>(&'c self, at: &[String], path: &[String], depth: usize) -> Option<Found<'c>> {
        if depth > 8 {
            return None;
        }
        let (first, mut rest) = path.split_first()?;
        let mut place: Vec<String> = match first.as_str() {
            "crate" => Vec::new(),
            "self" => at.to_vec(),
            "super" => at.split_last()?.1.to_vec(),
            _ => {
                // A local name, if there is one: a submodule, or an import.
                return self
                    .within(at, path, depth)
                    .filter(|_| self.modules.contains_key(&child(at, first)) || self.modules[at].brings(first));
            }
        };
        while let Some(("super", behind)) = rest.split_first().map(|(word, behind)| (word.as_str(), behind)) {
            place.pop();
            rest = behind;
        }
        self.within(&place, rest, depth)
    }

    /// The file that the path `rest` in a module leads to.
    fn within<'c>(&'c self, at: &[String], rest: &[String], depth: usize) -> Option<Found<'c>> {
        let (here, module) = self.modules.get_key_value(at)?;
        let Some((name, behind)) = rest.split_first() else { return Some(Found::Module) };
        if self.modules.contains_key(&child(at, name)) {
            return self.within(&child(at, name), behind, depth);
        }
        let Some(used) = module.uses.iter().find(|used| used.name == *name) else { return Some(Found::Item(here)) };
        let onward: Vec<String> = used.path.iter().chain(behind).cloned().collect();
        // Definitions of other crates are in no file here.
        self.find(at, &onward, depth + 1)
    }
}

/// The target of a path.
enum Found<'c> {
    /// A module.
    Module,
    /// A definition in this module's file.
    Item(&'c Vec<String>),
}

fn child(at: &[String], name: &str) -> Vec<String> {
    [at, &[name.to_owned()]].concat()
}

/// `a/b.rs` is the module `a::b`; the root has the empty name: `lib.rs`, or `main.rs` if there is no library.
fn module_path(file: &str, root: Option<&str>) -> Vec<String> {
    match file {
        _ if Some(file) == root => Vec::new(),
        file => file.trim_end_matches(".rs").split('/').map(str::to_owned).collect(),
    }
}

impl Module {
    fn read(file: &File) -> Module {
        let code: String = file.shipped_lines().map(|(_, line)| format!("{line}\n")).collect();
        let tokens = tokens(&code);
        let mut module = Module {
            path: file.path.clone(),
            uses: Vec::new(),
            paths: Vec::new(),
            for_tests: for_tests(file),
            words: BTreeSet::new(),
        };
        let mut at = 0;
        while at < tokens.len() {
            let before = at.checked_sub(1).map_or("", |before| tokens[before]);
            match tokens[at] {
                "use" if tokens.get(at + 1).is_some_and(|next| is_name(next) || *next == "{") => {
                    let end = at + tokens[at..].iter().position(|token| *token == ";").unwrap_or(tokens.len() - at - 1);
                    let public = before == "pub" || before == ")";
                    let mut rest = &tokens[at + 1..end];
                    use_tree(&mut rest, &mut Vec::new(), public, &mut module.uses);
                    at = end;
                }
                token if is_name(token) && before != "::" && before != "." => {
                    let mut path = vec![token.to_owned()];
                    module.words.insert(token.to_owned());
                    while let [_, "::", next, ..] = tokens[at..]
                        && is_name(next)
                    {
                        path.push(next.to_owned());
                        at += 2;
                    }
                    if path.len() > 1 {
                        module.paths.push(path);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        module
    }

    /// Whether `use` imports this name.
    fn brings(&self, name: &str) -> bool {
        self.uses.iter().any(|used| used.name == name)
    }
}

/// The modules after `#[cfg(test)]`.
fn for_tests(file: &File) -> Vec<String> {
    let pairs = file.text.lines().zip(file.text.lines().skip(1));
    let behind = pairs.filter(|(line, _)| line.trim() == "#[cfg(test)]");
    let names = behind.filter_map(|(_, line)| Some(line.split_once("mod ")?.1.strip_suffix(';')?.to_owned()));
    names.collect()
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Identifiers, `::`, and other single characters, without strings and comments.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let length = if c.is_alphanumeric() || c == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if c == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else {
            c.len_utf8()
        };
        // `'"'` does not begin a string.
        let length = if rest.starts_with("'\"'") { 3 } else { length };
        if is_name(rest) || rest.starts_with("::") || length == 1 && !c.is_whitespace() {
            tokens.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    tokens
}

/// Parses `a::{b, c as d}` after the path `before`.
fn use_tree(rest: &mut &[&str], before: &mut Vec<String>, public: bool, uses: &mut Vec<Use>) {
    let depth = before.len();
    loop {
        match rest {
            ["{", behind @ ..] => {
                *rest = behind;
                while let Some((token, behind)) = rest.split_first() {
                    match *token {
                        "}" => {
                            *rest = behind;
                            break;
                        }
                        "," => *rest = behind,
                        _ => use_tree(rest, before, public, uses),
                    }
                }
                break;
            }
            ["::", behind @ ..] => *rest = behind,
            [name, behind @ ..] if is_name(name) && *name != "as" => {
                before.push((*name).to_owned());
                *rest = behind;
                if !matches!(rest.first(), Some(&"::")) {
                    // `a::{self}` is `a`.
                    let path: Vec<String> = match before.split_last() {
                        Some((last, parent)) if last == "self" && !parent.is_empty() => parent.to_vec(),
                        _ => before.clone(),
                    };
                    let mut name = path.last().cloned().unwrap_or_default();
                    if let ["as", alias, behind @ ..] = rest {
                        name = (*alias).to_owned();
                        *rest = behind;
                    }
                    uses.push(Use { path, name, public });
                    break;
                }
            }
            _ => {
                // A glob counts as its module.
                *rest = &rest[rest.len().min(1)..];
                break;
            }
        }
    }
    before.truncate(depth);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn paths_lead_to_the_file_that_defines() {
        let sources = [
            file("c/src/lib.rs", "mod a;\nmod b;\npub use a::inner::Deep;\n"),
            file("c/src/a.rs", "pub mod inner;\npub use inner::{Deep, other as again};\nfn own() {}\n"),
            file(
                "c/src/a/inner.rs",
                "use super::own;\nuse crate::b::{self, Thing};\nfn f() { b::call(\"crate::x\") }\n",
            ),
            file("c/src/b.rs", "use crate::Deep;\nfn g() { crate::a::again(); }\n#[cfg(test)]\nmod tests;\n"),
            file("c/src/b/tests.rs", "use super::*;\n"),
            file("d/src/lib.rs", "use c::a;\n"),
        ];
        let known = Crate::read("c", &sources);
        let edges = known.edges();
        let of = |path: &str| edges[path].iter().copied().collect::<Vec<_>>();
        assert_eq!(of("c/src/lib.rs"), [""; 0], "passes on only");
        assert_eq!(of("c/src/a.rs"), [""; 0], "passes on only");
        assert_eq!(of("c/src/a/inner.rs"), ["c/src/a.rs", "c/src/b.rs"]);
        assert_eq!(of("c/src/b.rs"), ["c/src/a/inner.rs"]);
        assert!(known.declares("c/src/a.rs", "c/src/a/inner.rs") && !known.declares("c/src/b.rs", "c/src/a.rs"));
    }
}
