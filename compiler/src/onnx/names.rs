//! Names that nothing else has.

use std::collections::BTreeMap;

/// The names given so far.
#[derive(Default)]
pub(crate) struct Names {
    /// Each with the number to try next behind it: thousands of nodes can want the same name.
    given: BTreeMap<String, usize>,
}

impl Names {
    /// Whether the name was free; it is given now.
    pub(crate) fn take(&mut self, name: &str) -> bool {
        let free = !self.given.contains_key(name);
        if free {
            self.given.insert(name.to_owned(), 1);
        }
        free
    }

    /// `wanted`, with a number behind it if it is given already.
    pub(crate) fn unique(&mut self, wanted: &str) -> String {
        if self.take(wanted) {
            return wanted.to_owned();
        }
        let mut next = self.given[wanted];
        let name = loop {
            let name = format!("{wanted}.{next}");
            next += 1;
            if self.take(&name) {
                break name;
            }
        };
        self.given.insert(wanted.to_owned(), next);
        name
    }

    /// Whether the name is given.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// Takes a name back.
    pub(crate) fn give_back(&mut self, name: &str) {
        self.given.remove(name);
    }
}
