//! The origin of a node: the nodes of the model that it comes from.

use std::collections::HashSet;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::literal::Quoted;

/// The names of the ONNX nodes that a node comes from, in order of first mention. Fusions merge origins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin(SmallVec<[Arc<str>; 1]>);

impl Origin {
    /// Creates the origin of a node that comes from the ONNX node `name`.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Origin(SmallVec::from_elem(Arc::from(name), 1))
    }

    /// Returns the names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Returns true if there are no names, because a pass created the node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the names of `other` that are missing.
    pub fn unite(&mut self, other: &Origin) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        // Long chains become one node by thousands of steps, each of which adds one name.
        let new: Vec<Arc<str>> = if let [name] = &*other.0 {
            (!self.0.contains(name)).then(|| name.clone()).into_iter().collect()
        } else {
            let known: HashSet<&str> = self.names().collect();
            other.0.iter().filter(|name| !known.contains(&***name)).cloned().collect()
        };
        self.0.extend(new);
    }

    /// Returns the text form of at most `most` names and the number of the others, for messages.
    #[must_use]
    pub fn abridged(&self, most: usize) -> String {
        match self.0.len().checked_sub(most) {
            None | Some(0) => self.to_string(),
            Some(others) => format!("{} and {others} more", Origin(self.0[..most].into())),
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, name) in self.names().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { ", " }, Quoted(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_united_once_and_abridged_in_messages() {
        let mut origin = Origin::of("a");
        for name in ["b", "a", "c"] {
            origin.unite(&Origin::of(name));
        }
        let mut other = Origin::of("c");
        other.unite(&Origin::of("d"));
        origin.unite(&other);
        assert_eq!(origin.to_string(), r#""a", "b", "c", "d""#);
        assert_eq!(origin.abridged(4), origin.to_string());
        assert_eq!(origin.abridged(2), r#""a", "b" and 2 more"#);
    }
}
