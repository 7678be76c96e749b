//! Every pass keeps the meaning of a graph, and does what it is there for.

mod canonicalize;
mod fuse;
mod net;
mod quantize;
