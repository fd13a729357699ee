//! What an endpoint says of itself, once: the routes, the metadata document, the log and the tests read it from there.

/// An endpoint that each realm has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What the log calls it.
    pub name: &'static str,
    /// Its path below the base path of a realm, which ends without a slash.
    pub path: &'static str,
    /// The method that it answers to.
    pub method: Method,
    /// Its own parameters, besides those of client authentication. None of them may be in a URL.
    pub parameters: &'static [&'static str],
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads a public document.
    Get,
    /// Sends a form.
    Post,
}

/// The path of the token endpoint, which an assertion may be meant for.
pub(crate) const TOKEN_PATH: &str = "access_token";
