//! Tests that every pass keeps the results of a graph and makes its rewrites.

mod canonicalize;
mod fuse;
mod net;
mod quantize;
