//! Unique names.

use std::collections::BTreeMap;

/// The names in use.
#[derive(Default)]
pub(crate) struct Names {
    /// Each name with the next number to append: thousands of nodes can ask for the same name.
    given: BTreeMap<String, usize>,
}

impl Names {
    /// Reserves the name; returns whether it was free.
    pub(crate) fn take(&mut self, name: &str) -> bool {
        let free = !self.given.contains_key(name);
        if free {
            self.given.insert(name.to_owned(), 1);
        }
        free
    }

    /// Reserves `wanted`, with a number appended if it is in use.
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

    /// Whether the name is in use.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// Frees a name.
    pub(crate) fn give_back(&mut self, name: &str) {
        self.given.remove(name);
    }
}
