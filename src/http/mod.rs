//! HTTP around the protocol: which path is which endpoint ([`routes`]), what a request says ([`request`]), and what an
//! answer looks like ([`response`]).

mod media_type;
pub mod request;
pub mod response;
pub mod routes;
