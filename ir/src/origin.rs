//! Which nodes of the model a node came from.

use std::collections::HashSet;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::literal::Quoted;

/// Names of the ONNX nodes that an operator came from, in order of first mention; fusions unite them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin(SmallVec<[Arc<str>; 1]>);

impl Origin {
    /// An operator that came from this node.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Origin(SmallVec::from_elem(Arc::from(name), 1))
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Whether there is no name: an operator that a pass made up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the names of `other` that are not there yet.
    pub fn unite(&mut self, other: &Origin) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        let known: HashSet<&str> = self.names().collect();
        let new: Vec<Arc<str>> = other.0.iter().filter(|name| !known.contains(&***name)).cloned().collect();
        self.0.extend(new);
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
