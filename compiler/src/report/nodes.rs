//! Nodes in messages: grouped, so that a message stays short for any number of nodes.

use std::collections::{BTreeMap, BTreeSet};

/// The maximum number of names per group in a message.
const SHOWN: usize = 3;
/// The maximum number of groups in a message.
const MOST_GROUPS: usize = 20;

/// Groups items by key, in the order in which the keys first appear.
pub(crate) fn groups<T, K: Ord>(items: &[T], key: impl Fn(&T) -> K) -> Vec<Vec<&T>> {
    let mut groups: Vec<Vec<&T>> = Vec::new();
    let mut places: BTreeMap<K, usize> = BTreeMap::new();
    for item in items {
        let place = *places.entry(key(item)).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(item);
    }
    groups
}

/// `node "a"`, or `12 nodes ("a", "b", "c" and 9 more)`; duplicate names are listed once.
pub(crate) fn names(names: &[&str]) -> String {
    let mut seen = BTreeSet::new();
    let names: Vec<&str> = names.iter().copied().filter(|name| seen.insert(*name)).collect();
    if let [name] = *names {
        return format!("node {name:?}");
    }
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} nodes ({}{more})", names.len(), shown.join(", "))
}

/// The lines of groups: after the message if there is one group, otherwise below it.
pub(crate) fn below(lines: &[String]) -> String {
    match lines {
        [line] => format!(" {line}"),
        lines => {
            let mut text: String = lines.iter().take(MOST_GROUPS).map(|line| format!("\n  {line}")).collect();
            if lines.len() > MOST_GROUPS {
                text += &format!("\n  and {} more groups", lines.len() - MOST_GROUPS);
            }
            text
        }
    }
}

/// Whether a message about these groups omits nodes.
pub(crate) fn leaves_out<T>(groups: &[Vec<&T>]) -> bool {
    groups.len() > MOST_GROUPS || groups.iter().any(|group| group.len() > SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_three_names_of_a_group() {
        assert_eq!(names(&["a"]), "node \"a\"");
        assert_eq!(names(&["a", "a"]), "node \"a\"");
        assert_eq!(names(&["a", "b", "a"]), "2 nodes (\"a\", \"b\")");
        assert_eq!(names(&["a", "b", "c", "d", "e"]), "5 nodes (\"a\", \"b\", \"c\" and 2 more)");
    }

    #[test]
    fn a_message_shows_twenty_groups() {
        let lines: Vec<String> = (0..25).map(|group| group.to_string()).collect();
        assert!(below(&lines).ends_with("\n  19\n  and 5 more groups"));
        assert_eq!(groups(&[1, 2, 1, 3], |x| *x), [vec![&1, &1], vec![&2], vec![&3]]);
    }
}
