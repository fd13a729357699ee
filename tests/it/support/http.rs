//! HTTP as a well-behaved client speaks it (ureq), and byte by byte for what such a client cannot send.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Map, Value};
use ureq::Agent;

use grantwell::core::endpoint::Method;
use grantwell::http::routes::ENDPOINTS;

use super::cli::Registered;
use super::server::Server;
use super::{NOTICED_WITHIN, poll};

/// The media type of a form.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// The form of a token request.
pub(crate) const GRANT: &str = "grant_type=client_credentials";

const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// A request before it is sent.
#[derive(Clone)]
pub(crate) struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

/// An answer: header names in lower case, in the order of the wire.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// An open connection, for requests that arrive piecemeal.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

/// Every endpoint that takes a form, by its path, with a form that it answers 200 to.
pub(crate) fn form_endpoints() -> impl Iterator<Item = (&'static str, &'static str)> {
    ENDPOINTS.into_iter().filter(|endpoint| endpoint.method == Method::Post).map(|endpoint| {
        let form = if endpoint.parameters.contains(&"grant_type") { GRANT } else { "token=none" };
        (endpoint.path, form)
    })
}

impl Request {
    /// A request without headers and body.
    pub(crate) fn new(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: Vec::new(), body: None }
    }

    /// A POST of a form. The text goes out as it is.
    pub(crate) fn form(path: &str, form: impl AsRef<[u8]>) -> Self {
        Self::new("POST", path).header("Content-Type", FORM).body(form)
    }

    /// With one more header; the same name again is a second header.
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// With HTTP Basic.
    pub(crate) fn by(self, client: &Registered) -> Self {
        self.header("Authorization", client.basic())
    }

    /// With this body.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// Sends it by an ordinary client.
    pub(crate) fn send(&self, server: &Server) -> Answer {
        self.try_send(server).unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.path))
    }

    /// Sends it by an ordinary client, to a server that may die meanwhile.
    pub(crate) fn try_send(&self, server: &Server) -> Result<Answer, ureq::Error> {
        static AGENT: LazyLock<Agent> = LazyLock::new(|| {
            Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .proxy(None)
                .timeout_global(Some(ANSWERED_WITHIN))
                .build()
                .new_agent()
        });
        let mut request =
            ureq::http::Request::builder().method(self.method).uri(format!("{}{}", server.url(), self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value.as_slice());
        }
        let answer = match &self.body {
            Some(body) => AGENT.run(request.body(body.as_slice())?)?,
            None => AGENT.run(request.body(())?)?,
        };
        let (parts, mut body) = answer.into_parts();
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        Ok(Answer { status: parts.status.as_u16(), headers: headers.collect(), body: body.read_to_vec()? })
    }

    /// Sends exactly what was said and nothing else, save Host, Content-Length and `Connection: close`.
    pub(crate) fn send_raw(&self, server: &Server) -> Answer {
        let mut connection = Connection::open(server);
        connection.send(&self.to_bytes(server));
        connection.answer(self.method != "HEAD")
    }

    /// The request on the wire.
    pub(crate) fn to_bytes(&self, server: &Server) -> Vec<u8> {
        let mut wire = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", self.method, self.path).into_bytes();
        let has = |name: &str| self.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        if !has("host") {
            wire.extend(format!("Host: {}\r\n", server.address()).bytes());
        }
        if let Some(body) = &self.body
            && !has("content-length")
            && !has("transfer-encoding")
        {
            wire.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
        }
        for (name, value) in &self.headers {
            wire.extend(name.bytes());
            wire.extend(b": ");
            wire.extend(value);
            wire.extend(b"\r\n");
        }
        wire.extend(b"\r\n");
        wire.extend(self.body.iter().flatten());
        wire
    }
}

impl Connection {
    /// Connects.
    pub(crate) fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address()).expect("the server accepts");
        stream.set_read_timeout(Some(ANSWERED_WITHIN)).expect("a socket option");
        stream.set_write_timeout(Some(ANSWERED_WITHIN)).expect("a socket option");
        stream.set_nodelay(true).expect("a socket option");
        Self { stream: BufReader::new(stream) }
    }

    /// Sends some bytes. A server that has answered early may have stopped reading: that is no failure of the test.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Reads the next answer, interim ones (1xx) left out.
    pub(crate) fn answer(&mut self, has_body: bool) -> Answer {
        loop {
            let answer = Answer::read(&mut self.stream, has_body).expect("a whole answer");
            if !(100..200).contains(&answer.status) {
                return answer;
            }
        }
    }

    /// Reads the status of an answer whose connection may be reset after it, because the server has not read all that was
    /// sent.
    pub(crate) fn status(&mut self) -> u16 {
        Answer::read(&mut self.stream, false).expect("an answer's head").status
    }

    /// Whether the server has closed it, after the last answer that was read.
    pub(crate) fn is_at_its_end(&mut self) -> bool {
        self.stream.read(&mut [0]).is_ok_and(|length| length == 0)
    }

    /// Whether nothing more comes: the server has closed it, or reset it because there was something that it did not read.
    pub(crate) fn is_over(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(length) => length == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Reads the status of an interim answer such as `100 Continue`, which has neither headers nor body.
    pub(crate) fn interim(&mut self) -> u16 {
        Answer::read(&mut self.stream, false).expect("an interim answer").status
    }
}

impl Answer {
    fn read(stream: &mut impl BufRead, has_body: bool) -> io::Result<Self> {
        let status_line = read_line(stream)?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {status_line:?}")))?;
        let mut answer = Self { status, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = read_line(stream)?;
            let Some((name, value)) = line.split_once(':') else { break };
            answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if !has_body || (100..200).contains(&status) {
            return Ok(answer);
        }
        if let Some(length) = answer.header("content-length") {
            let length = length.parse::<usize>().map_err(io::Error::other)?;
            answer.body.resize(length, 0);
            stream.read_exact(&mut answer.body)?;
        } else {
            stream.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// The value of a header; panics where it appears more than once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert_eq!(values.next(), None, "{name} appears once: {self:?}");
        first
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Headers and body without what differs from one second to the next.
    pub(crate) fn comparable(&self) -> (u16, Vec<(String, String)>, Vec<u8>) {
        let mut headers = self.headers.clone();
        headers.retain(|(name, _)| name != "date" && name != "x-request-id");
        headers.sort();
        (self.status, headers, self.body.clone())
    }

    /// Asserts what every answer of every endpoint has in common (RFC 6749 §5.1).
    #[track_caller]
    pub(crate) fn assert_common(&self) {
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        assert_eq!(self.header("pragma"), Some("no-cache"), "{self:?}");
        self.assert_plain();
    }

    /// Asserts what a public document has, which anybody may keep for so many seconds.
    #[track_caller]
    pub(crate) fn assert_kept_for(&self, seconds: u64) {
        assert_eq!(self.header("cache-control"), Some(&*format!("public, max-age={seconds}")), "{self:?}");
        assert_eq!(self.header("pragma"), None, "{self:?}");
        self.assert_plain();
    }

    #[track_caller]
    fn assert_plain(&self) {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let id = self.header("x-request-id");
        assert!(id.is_some_and(|id| id.len() == 36 && id.matches('-').count() == 4), "{self:?}");
        for (name, _) in &self.headers {
            // No CORS (T-05), no cookies, no word about the software.
            let unwanted =
                name.starts_with("access-control") || ["set-cookie", "server", "x-powered-by"].contains(&&**name);
            assert!(!unwanted, "{name}: {self:?}");
        }
    }

    /// Asserts a refusal: exactly this status and error code, and every header that belongs to it.
    #[track_caller]
    pub(crate) fn assert_refused(&self, status: u16, error: &str) {
        assert_eq!((self.status, self.json()["error"].as_str()), (status, Some(error)), "{self:?}");
        self.assert_common();
        let body = self.json();
        let members: Vec<_> = body.as_object().into_iter().flat_map(Map::keys).collect();
        assert_eq!(members, ["error", "error_description"], "E-05: {self:?}");
        let description = body["error_description"].as_str().expect("text");
        // RFC 6749 Appendix A.7 and A.8.
        assert!(!description.is_empty(), "{self:?}");
        assert!(
            [error, description]
                .iter()
                .all(|text| text.bytes().all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e))),
            "E-01: {self:?}"
        );
        assert!(!self.text().contains("canary"), "E-01: echoes the request: {self:?}");
        assert_eq!(self.header("www-authenticate").is_some(), status == 401, "{self:?}");
        assert_eq!(self.header("allow").is_some(), status == 405, "{self:?}");
        assert_eq!(self.header("retry-after").is_some(), [429, 503].contains(&status), "{self:?}");
    }

    /// Asserts `400:error`.
    #[track_caller]
    pub(crate) fn assert_400(&self, error: &str) {
        self.assert_refused(400, error);
    }

    /// Asserts `401:ic` with the challenge of `realm`.
    #[track_caller]
    pub(crate) fn assert_401(&self, realm: &str) {
        self.assert_refused(401, "invalid_client");
        let challenge = format!(r#"Basic realm="{realm}", charset="UTF-8""#);
        assert_eq!(self.header("www-authenticate"), Some(challenge.as_str()), "E-02: {self:?}");
    }

    /// Asserts that the source has failed too often, and gives the seconds it is told to wait.
    #[track_caller]
    pub(crate) fn assert_429(&self) -> u64 {
        self.assert_refused(429, "temporarily_unavailable");
        self.header("retry-after").and_then(|seconds| seconds.parse().ok()).expect("seconds")
    }

    /// Asserts a successful token answer, member by member, and gives the token, of whatever form.
    #[track_caller]
    pub(crate) fn assert_granted(&self, scope: &str) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        self.assert_common();
        let body = self.json();
        let mut members: Vec<_> = body.as_object().expect("an object").keys().collect();
        members.sort();
        assert_eq!(members, ["access_token", "expires_in", "scope", "token_type"], "R-01, G-06: {body}");
        assert_eq!(body["token_type"], "Bearer");
        assert!(body["expires_in"].as_u64().is_some_and(|seconds| seconds > 0), "{body}");
        assert_eq!(body["scope"], scope);
        body["access_token"].as_str().expect("text").to_owned()
    }

    /// Asserts a successful answer with an opaque token, and gives the token.
    #[track_caller]
    pub(crate) fn assert_token(&self, scope: &str) -> String {
        let token = self.assert_granted(scope);
        let random = token.strip_prefix("gwt_").unwrap_or_else(|| panic!("the prefix of a token: {token}"));
        assert!(
            random.len() == 43 && random.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
            "{token}"
        );
        token
    }

    /// Asserts exactly `{"active":false}`.
    #[track_caller]
    pub(crate) fn assert_inactive(&self) {
        assert_eq!((self.status, self.text().as_str()), (200, r#"{"active":false}"#));
        self.assert_common();
    }

    /// Asserts an active token and gives the answer's body.
    #[track_caller]
    pub(crate) fn assert_active(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.assert_common();
        let body = self.json();
        assert_eq!(body["active"], true, "{body}");
        body
    }
}

impl Server {
    /// Asks for a token with Basic under the client's own base; `parameters` are added to the grant type.
    pub(crate) fn token_request(&self, client: &Registered, parameters: &str) -> Answer {
        let form = format!("grant_type=client_credentials&{parameters}");
        Request::form(&format!("{}/access_token", client.base()), form).by(client).send(self)
    }

    /// A token that must be granted.
    #[track_caller]
    pub(crate) fn token(&self, client: &Registered, scope: &str) -> String {
        let parameters = format!("scope={}", scope.replace('+', "%2B").replace(' ', "+"));
        self.token_request(client, &parameters).assert_token(scope)
    }

    /// Introspects under the caller's own base.
    pub(crate) fn introspect(&self, caller: &Registered, token: &str) -> Answer {
        Request::form(&format!("{}/introspect", caller.base()), format!("token={token}")).by(caller).send(self)
    }

    /// Revokes under the caller's own base.
    pub(crate) fn revoke(&self, caller: &Registered, token: &str) -> Answer {
        Request::form(&format!("{}/token/revoke", caller.base()), format!("token={token}")).by(caller).send(self)
    }

    /// Waits until a token is inactive to `caller`, and asserts the answer.
    pub(crate) fn wait_until_inactive(&self, what: &str, caller: &Registered, token: &str) {
        let answer = poll(what, NOTICED_WITHIN, || {
            Some(self.introspect(caller, token))
                .filter(|answer| answer.status != 200 || answer.json()["active"] == false)
        });
        answer.assert_inactive();
    }

    /// Waits until a client cannot authenticate, and asserts the answer.
    pub(crate) fn wait_until_refused(&self, what: &str, client: &Registered) {
        let answer =
            poll(what, NOTICED_WITHIN, || Some(self.token_request(client, "")).filter(|answer| answer.status != 200));
        answer.assert_401(&client.realm);
    }

    /// Waits until a client gets a token.
    pub(crate) fn wait_until_granted(&self, what: &str, client: &Registered, parameters: &str) -> Answer {
        poll(what, NOTICED_WITHIN, || {
            Some(self.token_request(client, parameters)).filter(|answer| answer.status == 200)
        })
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}
