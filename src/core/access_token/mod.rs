//! Access tokens: what the client carries ([`opaque`]) and what the server keeps of it ([`record`]).

pub mod opaque;
pub mod record;
