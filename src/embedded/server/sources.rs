//! Where requests of the local server come from.

/// Who says where a request comes from, so that failed authentications can be counted by source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sources {
    /// The connection: clients connect to this server themselves. A proxy on this machine is known by what it says.
    Peers,
    /// The last element of X-Forwarded-For, which the proxy in front has appended; the others a caller may have written.
    ForwardedFor,
    /// Nobody: a proxy is in front and says nothing. Its address stands for everybody, so that a guesser would lock out all.
    Unknown,
}
