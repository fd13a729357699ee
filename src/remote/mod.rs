//! What is fetched from servers of other people: the keys of a client's `jwks_uri`. An operator names the address, and its
//! owner answers it, so an answer is small, soon there and from where a stranger may send this server, or it is none.

pub mod address;
pub mod fetcher;
mod freshness;
pub mod keys;
