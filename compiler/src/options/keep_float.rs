//! Nodes that the user keeps in float, by name or pattern.

use std::collections::BTreeSet;

use eightfold_ir::{Graph, Node};
use wildmatch::WildMatch;

use super::optimize::OptimizeOptions;
use crate::error::Error;

/// The maximum number of names that are suggested for an unknown one.
const SUGGESTIONS: usize = 3;
const SIMILAR: f64 = 0.5;

/// The nodes that [`OptimizeOptions::keeping_float`] keeps.
fn kept_nodes(graph: &Graph, patterns: &[String]) -> Result<BTreeSet<String>, Error> {
    let mut kept = BTreeSet::new();
    for pattern in patterns {
        let wanted = WildMatch::new(pattern);
        let found: Vec<&Node> = graph.nodes().filter(|node| names(graph, node).any(|n| wanted.matches(n))).collect();
        if found.is_empty() {
            return Err(Error::UnknownNode { got: pattern.clone(), similar: similar(graph, pattern) });
        }
        for node in found {
            // If a node is merged from several, its name keeps only itself in float.
            let own: Vec<&str> = node.origin.names().filter(|name| wanted.matches(name)).collect();
            let names = if own.is_empty() { node.origin.names().collect() } else { own };
            kept.extend(names.into_iter().map(str::to_owned));
        }
    }
    Ok(kept)
}

impl OptimizeOptions {
    /// Keeps the ONNX nodes of `graph` in float that `patterns` match, by their own names or by those of their outputs.
    /// In a pattern, `*` matches any characters and `?` matches one.
    ///
    /// # Errors
    /// [`Error::UnknownNode`] with suggestions, if a pattern matches nothing.
    pub fn keeping_float(mut self, graph: &Graph, patterns: &[String]) -> Result<Self, Error> {
        self.keep_float.extend(kept_nodes(graph, patterns)?);
        Ok(self)
    }
}

/// All names that can refer to a node.
fn names<'g>(graph: &'g Graph, node: &'g Node) -> impl Iterator<Item = &'g str> {
    let tensors = node.outputs.iter().filter_map(|id| graph.value(*id).name.as_deref());
    node.origin.names().chain(tensors)
}

/// The names most similar to `wanted`, best first.
fn similar(graph: &Graph, wanted: &str) -> Vec<String> {
    let all: BTreeSet<&str> = graph.nodes().flat_map(|node| names(graph, node)).collect();
    let mut ranked: Vec<(f64, &str)> =
        all.into_iter().map(|name| (strsim::normalized_damerau_levenshtein(wanted, name), name)).collect();
    ranked.retain(|(similarity, _)| *similarity >= SIMILAR);
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked.into_iter().take(SUGGESTIONS).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_named_by_themselves_by_their_tensors_and_by_patterns() {
        let text = "graph @g {\n input %x: 1x4xf32\n %a = map(%x) |> relu : 1x4xf32 ; \"/head/Relu\"\n \
                    %b = map(%a) |> tanh : 1x4xf32 ; \"/head/Tanh\"\n output %b\n}";
        let graph = eightfold_ir::parse(text).expect("a graph");
        let kept =
            |pattern: &str| kept_nodes(&graph, &[pattern.to_owned()]).map(|kept| kept.into_iter().collect::<Vec<_>>());
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
        assert_eq!(kept("/head/Relu").unwrap(), names(&["/head/Relu"]));
        assert_eq!(kept("b").unwrap(), names(&["/head/Tanh"]));
        assert_eq!(kept("/head/*").unwrap(), names(&["/head/Relu", "/head/Tanh"]));
        let error = |pattern| kept(pattern).expect_err("no node has this name").to_string();
        let expected =
            "the model has no node or tensor \"/head/Tan\"; the most similar names are \"/head/Tanh\", \"/head/Relu\"";
        assert_eq!(error("/head/Tan"), expected);
        assert_eq!(error("zzz*"), "the model has no node or tensor \"zzz*\"; eightfold opt MODEL prints their names");
    }
}
