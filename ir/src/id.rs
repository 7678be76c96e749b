//! Typed indices. A graph never reuses an index, so tables keyed by index stay valid.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            pub(crate) fn new(index: usize) -> Self {
                Self(u32::try_from(index).expect("fewer than 2^32 entities in a graph"))
            }

            /// Returns the position in the graph's table. Positions are dense and start at zero.
            #[must_use]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    )*};
}

ids! {
    /// A node of a [`Graph`](crate::Graph).
    NodeId;
    /// A tensor of a [`Graph`](crate::Graph): an input, a constant, or a node's output.
    ValueId;
    /// An interned [`QuantParams`](crate::QuantParams).
    QuantId;
}
