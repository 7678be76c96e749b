//! Immutable bytes that several owners share: of a tensor, a packed constant, or a file in memory.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// The object that keeps the bytes alive.
type Owner = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Immutable bytes. Cloning and slicing share them. Comparison compares the contents.
#[derive(Clone)]
pub struct Bytes {
    owner: Owner,
    range: Range<usize>,
}

impl Bytes {
    /// Shares all bytes of `owner`, which stays alive while any part of them is used. `as_ref` must return the same
    /// bytes each time.
    #[must_use]
    pub fn of(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let range = 0..owner.as_ref().len();
        Bytes { owner: Arc::new(owner), range }
    }

    /// Returns the bytes in `range`; `None` if the range exceeds the bytes.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Option<Self> {
        self.get(range.clone())?;
        let start = self.range.start;
        Some(Bytes { owner: Arc::clone(&self.owner), range: start + range.start..start + range.end })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::of(bytes)
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Bytes::of(bytes.to_vec())
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        let same = Arc::ptr_eq(&self.owner, &other.owner) && self.range == other.range;
        same || **self == **other
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_what_they_are_parts_of() {
        let whole = Bytes::from(vec![1, 2, 3, 4]);
        let part = whole.part(1..3).expect("within");
        assert_eq!(*part, [2, 3]);
        assert_eq!(part.as_ptr(), whole[1..].as_ptr());
        assert_eq!(part.part(1..2).as_deref(), Some(&[3][..]));
        assert_eq!(part, Bytes::from(vec![2, 3]));
        assert!(part.part(1..3).is_none(), "beyond the part, though not beyond the whole");
    }
}
