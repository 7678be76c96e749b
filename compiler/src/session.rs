//! Models that run on data: compiled into this process, loaded, or evaluated; one beside the other, tensor by tensor.

pub mod executable;
pub mod layers;
mod oracle;
