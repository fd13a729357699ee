//! The Host header (RFC 9112 §3.2). Nothing here is decided by it; a request whose Host a proxy in front may read otherwise than
//! this server is not answered.

use std::net::Ipv6Addr;

use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Version};

/// Whether a request names its host as its version of HTTP has to: once and validly, or in HTTP/1.0 not at all.
pub(super) fn is_named(version: Version, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(HOST).iter();
    match (values.next(), values.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => is_host(host.as_bytes()),
        _ => false,
    }
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2), where a host of http is never empty (§4.2.1). Of what the grammar allows and no host has, an
/// escape is refused, and a comma: it stands between two headers that something on the way has joined.
fn is_host(value: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(value) else { return false };
    let (host, text) = (authority.host(), authority.as_str());
    let is_host = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains(['@', ',', ':', '[', ']']),
    };
    // What follows is the port, and what precedes would be a user.
    let port = text.strip_prefix(host).map(|rest| rest.strip_prefix(':').unwrap_or(rest));
    is_host && port.is_some_and(is_port)
}

/// May be empty.
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && (text.is_empty() || text.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn named(version: Version, hosts: &[&[u8]]) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_bytes(host).expect("a header value"));
        }
        is_named(version, &headers)
    }

    #[test]
    fn one_host_is_needed_but_in_http_1_0() {
        assert!(!named(Version::HTTP_11, &[]) && named(Version::HTTP_10, &[]));
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert!(named(version, &[b"a.example"]));
            assert!(!named(version, &[b"a.example", b"a.example"]) && !named(version, &[b"a.example", b"b.example"]));
            assert!(!named(version, &[b""]) && !named(version, &[b"a b"]));
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in [
            &b"localhost"[..],
            b"a.example:8080",
            b"a.example:",
            b"A.Example.",
            b"my_service:80",
            b"127.0.0.1",
            b"127.0.0.1:65535",
            b"[::1]",
            b"[2001:db8::1]:443",
            b"xn--zo-mma.example",
        ] {
            assert!(is_host(host), "{}", String::from_utf8_lossy(host));
        }
        for host in [
            &b""[..],
            b" ",
            b":8080",
            b"a.example:x",
            b"a.example:-1",
            b"a.example:65536",
            b"a.example:80:80",
            b"a.example:80 ",
            b"a b",
            b"a.example/",
            b"a.example/x",
            b"a.example?x",
            b"a.example#x",
            b"http://a.example",
            b"user@a.example",
            b"user:password@a.example:80",
            b"a%20b.example",
            b"a.example,b.example",
            b"a.example, b.example",
            b"[::1",
            b"::1",
            b"[::1]x",
            b"[]",
            b"[a.example]",
            b"[::1%25eth0]",
            b"a\"b",
            b"<a>",
            b"a\\b",
            b"a.ex\xc3\xa4mple",
            b"a\tb",
        ] {
            assert!(!is_host(host), "{}", String::from_utf8_lossy(host));
        }
    }
}
