//! Issuers whose tokens a realm trusts: an operator's to set.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::core::conversions::text_conversions;
use crate::core::declaration::ManagedBy;
use crate::core::keys::jwk_set::JwkSet;
use crate::core::keys::jws_algorithm::JwsAlgorithm;
use crate::core::keys::remote::{CaCertificates, JwksUri};
use crate::core::source::ClientSource;

/// An issuer that a realm trusts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedIssuer {
    /// What operators call it.
    pub name: IssuerName,
    /// What its tokens say in `iss`; for SPIFFE the trust domain, `spiffe://example.org`.
    pub issuer: IssuerUrl,
    /// What is known of its tokens. Who is AWS is told by [`IssuerUrl::is_sts`] alone.
    #[serde(default)]
    pub kind: IssuerKind,
    /// Where its keys are.
    pub keys: IssuerKeys,
    /// What its tokens may be signed with; as each key allows where there are none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub algs: BTreeSet<JwsAlgorithm>,
    /// How many seconds may have passed since a token was made; until its `exp` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
    /// Whether each token is good once.
    #[serde(default)]
    pub single_use: bool,
    /// The file that declares it, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<ManagedBy>,
}

/// What is known of an issuer's tokens: what a rule has to pin, and how they are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssuerKind {
    /// AWS STS (outbound identity federation).
    Aws,
    /// GitHub Actions.
    Github,
    /// GitLab CI/CD.
    Gitlab,
    /// A cluster of Amazon EKS.
    Eks,
    /// A cluster of Kubernetes.
    Kubernetes,
    /// A trust domain of SPIFFE.
    Spiffe,
    /// Any other issuer of OpenID Connect.
    #[default]
    Oidc,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssuerKeys {
    /// In the record: nothing is fetched.
    Jwks(JwkSet),
    /// At an address.
    JwksUri(JwksUri),
    /// Where its metadata document says (OpenID Connect Discovery 1.0 §4).
    Discovery {
        /// Whether it may be an address of a private network.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        allow_private_network: bool,
        /// The authorities that its certificate is checked by; those that everybody trusts where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ca: Option<CaCertificates>,
    },
    /// Where its metadata document says, of an issuer of AWS STS that nobody has registered. Never in a record.
    #[serde(skip)]
    Unregistered {
        /// Where the token comes from that names the issuer.
        asked_from: Option<ClientSource>,
    },
}

/// An issuer's name in a realm: 1 to 64 characters of `[A-Za-z0-9_.-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IssuerName(String);

/// An issuer identifier of somebody else, as it was written, and compared character by character (RFC 7519 §4.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IssuerUrl(String);

/// The text is not a name of an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an issuer's name has 1 to 64 characters of A-Z, a-z, 0-9, _, . and -")]
pub struct MalformedIssuerName;

/// The text is not an issuer identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an issuer is an https URL exactly as its tokens have it in iss, such as https://token.actions.githubusercontent.com: at most 2048 \
     characters, the host in lower case and without a dot at its end, without a user name, a query, a fragment or the port 443; or the \
     trust domain of SPIFFE, such as spiffe://example.org"
)]
pub struct MalformedIssuerUrl;

impl TrustedIssuer {
    /// The most seconds that an issuer's tokens may be let be old: a day. Where they may be older, only their `exp` counts.
    pub const LONGEST_AGE: u64 = 86_400;

    /// An issuer of whose tokens is believed what its kind says: what signs them, how old they may be, and whether each is good once.
    pub fn new(name: IssuerName, issuer: IssuerUrl, kind: IssuerKind, keys: IssuerKeys) -> Self {
        let (max_age, single_use) = kind.use_of_tokens();
        let algs = kind.algorithms().iter().copied().collect();
        Self { name, issuer, kind, keys, algs, max_age, single_use, managed_by: None }
    }

    /// An issuer of AWS STS that nobody has registered. Every account that lets its roles ask for tokens has one, so it says nothing
    /// of who owns the account: only a rule that demands an organization may go by it. `None` for any other issuer.
    pub fn of_sts(issuer: IssuerUrl) -> Option<Self> {
        let name = issuer.sts_id()?.parse().ok()?;
        Some(Self::new(name, issuer, IssuerKind::Aws, IssuerKeys::Unregistered { asked_from: None }))
    }

    /// The same, named by a token that comes from `source`. Where nobody has registered the issuer, it is looked up on behalf of
    /// whoever is there.
    #[must_use]
    pub fn asked_from(mut self, source: Option<ClientSource>) -> Self {
        if let IssuerKeys::Unregistered { asked_from } = &mut self.keys {
            *asked_from = source;
        }
        self
    }

    /// Whether an operator has registered it.
    pub fn is_registered(&self) -> bool {
        !matches!(self.keys, IssuerKeys::Unregistered { .. })
    }
}

impl IssuerKind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Aws, Self::Github, Self::Gitlab, Self::Eks, Self::Kubernetes, Self::Spiffe, Self::Oidc];

    /// Its name in records and options.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Eks => "eks",
            Self::Kubernetes => "kubernetes",
            Self::Spiffe => "spiffe",
            Self::Oidc => "oidc",
        }
    }

    /// The issuer of this kind, where there is one that nearly everybody means.
    pub fn issuer(self) -> Option<IssuerUrl> {
        let url = match self {
            Self::Github => IssuerUrl::GITHUB,
            Self::Gitlab => IssuerUrl::GITLAB,
            Self::Aws | Self::Eks | Self::Kubernetes | Self::Spiffe | Self::Oidc => return None,
        };
        url.parse().ok()
    }

    /// What tokens of this kind are signed with, where whoever issues them lets callers choose from a closed list.
    fn algorithms(self) -> &'static [JwsAlgorithm] {
        match self {
            Self::Aws => &[JwsAlgorithm::Es384, JwsAlgorithm::Rs256],
            Self::Github | Self::Gitlab | Self::Eks | Self::Kubernetes | Self::Spiffe | Self::Oidc => &[],
        }
    }

    /// How old tokens of this kind may be, in seconds, and whether each is good once. A token that is a file is read again and again
    /// until it is over; any other is asked for when it is needed.
    fn use_of_tokens(self) -> (Option<u64>, bool) {
        match self {
            Self::Eks | Self::Kubernetes | Self::Gitlab | Self::Spiffe => (None, false),
            Self::Aws | Self::Github | Self::Oidc => (Some(TOKEN_MAX_AGE), true),
        }
    }
}

impl IssuerKeys {
    /// Where keys are that nobody says otherwise of.
    pub const DISCOVERY: Self = Self::Discovery { allow_private_network: false, ca: None };
}

impl IssuerName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl IssuerUrl {
    /// The issuer of the workflows of github.com.
    pub const GITHUB: &str = "https://token.actions.githubusercontent.com";
    /// The issuer of the jobs of gitlab.com.
    pub const GITLAB: &str = "https://gitlab.com";

    /// The identifier as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether AWS STS issues under this name: `https://UUID.tokens.sts.global.api.aws` to the letter, as IAM names the issuer of an
    /// account. Nothing else is AWS, whatever its tokens say and whoever has registered it.
    pub fn is_sts(&self) -> bool {
        self.sts_id().is_some()
    }

    /// Whether it is a trust domain of SPIFFE, whose tokens have no `iss`.
    pub fn is_spiffe(&self) -> bool {
        self.0.starts_with(SPIFFE)
    }

    /// The trust domain of a workload by its SPIFFE ID (SPIFFE-ID §2), which is the `sub` of its token. `None` where that is none,
    /// or is the trust domain itself, which is not a workload.
    pub fn of_spiffe_id(id: &str) -> Option<Self> {
        let (trust_domain, path) = id.strip_prefix(SPIFFE)?.split_once('/')?;
        let is_fit = id.len() <= MAX_LENGTH && is_trust_domain(trust_domain) && path.split('/').all(is_spiffe_segment);
        is_fit.then(|| Self(format!("{SPIFFE}{trust_domain}")))
    }

    /// Where its metadata document is (OpenID Connect Discovery 1.0 §4.1). `None` for a trust domain of SPIFFE, which has none.
    pub fn metadata_url(&self) -> Option<String> {
        let base = self.0.strip_suffix('/').unwrap_or(&self.0);
        (!self.is_spiffe()).then(|| format!("{base}/.well-known/openid-configuration"))
    }

    /// The kind that the name alone tells.
    pub fn known_kind(&self) -> Option<IssuerKind> {
        let is_eks = || {
            let region_and_id = self.0.strip_prefix("https://oidc.eks.")?;
            let (host, _) = region_and_id.split_once("/id/")?;
            let region = EKS_SUFFIXES.into_iter().find_map(|suffix| host.strip_suffix(suffix))?;
            (!region.contains(['/', '.', ':'])).then_some(IssuerKind::Eks)
        };
        match self.0.as_str() {
            _ if self.is_sts() => Some(IssuerKind::Aws),
            _ if self.is_spiffe() => Some(IssuerKind::Spiffe),
            Self::GITLAB => Some(IssuerKind::Gitlab),
            // An enterprise may have its own, below.
            url if url.strip_prefix(Self::GITHUB).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) => {
                Some(IssuerKind::Github)
            }
            _ => is_eks(),
        }
    }

    /// What tells the issuer of one account from those of all others.
    fn sts_id(&self) -> Option<&str> {
        let id = self.0.strip_prefix("https://")?.strip_suffix(STS_DOMAIN)?;
        let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_uuid = id.split('-').map(str::len).eq(UUID_PARTS) && id.split('-').all(is_hex);
        is_uuid.then_some(id)
    }
}

impl FromStr for IssuerName {
    type Err = MalformedIssuerName;

    fn from_str(text: &str) -> Result<Self, MalformedIssuerName> {
        let well_formed = (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
        if well_formed { Ok(Self(text.to_owned())) } else { Err(MalformedIssuerName) }
    }
}

impl FromStr for IssuerUrl {
    type Err = MalformedIssuerUrl;

    /// What the URL standard would leave out or write in another way is refused: what is shown is what is compared, and there is one
    /// way to write each issuer.
    fn from_str(text: &str) -> Result<Self, MalformedIssuerUrl> {
        let is_fit = text.len() <= MAX_LENGTH
            && match text.strip_prefix(SPIFFE) {
                Some(trust_domain) => is_trust_domain(trust_domain),
                None => is_https_issuer(text),
            };
        if is_fit { Ok(Self(text.to_owned())) } else { Err(MalformedIssuerUrl) }
    }
}

text_conversions!(IssuerName, IssuerUrl);

impl fmt::Display for IssuerKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

fn is_https_issuer(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _port)| host);
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'?' | b'#'))
        && !authority.contains(['@', '%'])
        && !host.ends_with('.');
    // Upper case, the default port, dots in the path, other spellings of a number: the standard writes them in another way.
    let is_as_written =
        |url: Url| url.as_str() == text || (rest == authority && url.as_str().strip_suffix('/') == Some(text));
    is_plain && Url::parse(text).is_ok_and(is_as_written)
}

/// SPIFFE-ID §2.1.
fn is_trust_domain(text: &str) -> bool {
    let is_of_domain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    (1..=255).contains(&text.len()) && text.bytes().all(is_of_domain)
}

/// SPIFFE-ID §2.2.
fn is_spiffe_segment(text: &str) -> bool {
    let is_of_segment = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !matches!(text, "" | "." | "..") && text.bytes().all(is_of_segment)
}

/// Seconds that a token may be old that is asked for when it is needed.
const TOKEN_MAX_AGE: u64 = 600;
const MAX_LENGTH: usize = 2048;
const SPIFFE: &str = "spiffe://";
const STS_DOMAIN: &str = ".tokens.sts.global.api.aws";
const UUID_PARTS: [usize; 5] = [8, 4, 4, 4, 12];
const EKS_SUFFIXES: [&str; 2] = [".amazonaws.com", ".amazonaws.com.cn"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::realm::{Realm, RealmName};

    const STS: &str = "https://a1d2b0fd-1177-4468-9351-2f0a9b7c7230.tokens.sts.global.api.aws";

    fn url(text: &str) -> IssuerUrl {
        text.parse().unwrap_or_else(|_| panic!("{text:?} is an issuer"))
    }

    #[test]
    fn an_issuer_is_written_in_one_way() {
        for text in [
            IssuerUrl::GITHUB,
            "https://token.actions.githubusercontent.com/",
            "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE",
            "https://kubernetes.default.svc.cluster.local",
            "https://10.0.0.1:6443",
            "https://[2001:db8::1]:8443/a/",
            "https://xn--80ak6aa92e.com",
            "https://a.example/%7Ea/B",
            "spiffe://example.org",
            "spiffe://prod_1.example-2.org",
        ] {
            assert_eq!(text.parse::<IssuerUrl>().map(String::from), Ok(text.to_owned()));
        }
        for text in [
            "",
            "https://",
            "https:///",
            "http://a.example",
            "HTTPS://a.example",
            "https:a.example",
            "https:/a.example",
            " https://a.example",
            "https://a.example ",
            "https://a.exam\nple",
            "https://A.example",
            "https://a.example.",
            "https://a.example.:8443",
            "https://a.example./b",
            "https://a.example:443",
            "https://a.example:443/b",
            "https://a.example:",
            "https://a.example:0443",
            "https://a.example:99999",
            "https://user@a.example",
            "https://user:secret@a.example",
            "https://@a.example",
            "https://a.example@b.example",
            "https://a%2eexample",
            "https://a.example%00",
            "https://\u{430}.example",
            "https://a.example/\u{e9}",
            "https://a.example?b",
            "https://a.example/?",
            "https://a.example#b",
            "https://a.example\\b",
            "https://a.example/b/../c",
            "https://a.example/./c",
            "https://a.example/%2e%2e/c",
            "https://0x7f.1",
            "https://2130706433",
            "https://127.1",
            "https://[2001:DB8::1]",
            "https://[2001:db8:0::1]",
            "spiffe://",
            "spiffe://Example.org",
            "spiffe://example.org/",
            "spiffe://example.org/workload",
            "spiffe://example.org:443",
            "spiffe://user@example.org",
            "spiffe://ex\u{e4}mple.org",
            "spiffe://example.org%2f",
            "SPIFFE://example.org",
            &format!("https://a.example/{}", "x".repeat(2048)),
            &format!("spiffe://{}", "x".repeat(256)),
        ] {
            assert_eq!(text.parse::<IssuerUrl>(), Err(MalformedIssuerUrl), "{text:?}");
        }
        for (one, other) in [
            ("https://a.example", "https://a.example/"),
            ("https://a.example/b", "https://a.example/B"),
            ("https://a.example/b", "https://a.example/b/"),
            ("https://a.example/b", "https://a.example/%62"),
            ("https://a.example", "https://a.example:8443"),
            ("https://apple.com", "https://xn--pple-43d.com"),
        ] {
            assert_ne!(url(one), url(other));
        }
    }

    #[test]
    fn aws_is_one_form_to_the_letter() {
        assert!(url(STS).is_sts());
        assert_eq!(url(STS).known_kind(), Some(IssuerKind::Aws));
        for text in [
            format!("{STS}/"),
            format!("{STS}/a"),
            format!("{STS}:8443"),
            format!("{STS}.example.com"),
            STS.replace(".aws", ".aws.example.com"),
            STS.replace("global.api", "global-api"),
            STS.replace("global", "us-east-1"),
            STS.replace("a1d2b0fd-", "a1d2b0fd"),
            STS.replace("a1d2b0fd-", "a1d2b0f-d"),
            STS.replace("a1d2", "g1d2"),
            STS.replace("a1d2b0fd-1177-4468-9351-2f0a9b7c7230", "*"),
            STS.replace("https://", "https://x."),
            STS.replace("https://", "https://x-"),
            STS.replace("2f0a9b7c7230", "2f0a9b7c7230-"),
            "https://tokens.sts.global.api.aws".to_owned(),
            "https://sts.amazonaws.com".to_owned(),
            "https://sts.global.api.aws".to_owned(),
        ] {
            assert!(!text.parse::<IssuerUrl>().is_ok_and(|issuer| issuer.is_sts()), "{text}");
        }
        for text in [
            STS.replace("a1d2", "A1D2"),
            STS.replace("https://", "https://user@"),
            format!("{STS}."),
            format!("{STS}:443"),
            STS.replace("https", "http"),
            STS.replace("-1177", "%2d1177"),
        ] {
            assert_eq!(text.parse::<IssuerUrl>(), Err(MalformedIssuerUrl), "{text}");
        }
    }

    #[test]
    fn an_issuer_of_aws_that_nobody_registered_has_tokens_that_are_new_and_good_once() {
        let issuer = TrustedIssuer::of_sts(url(STS)).expect("of AWS");
        assert_eq!(issuer.name.as_str(), "a1d2b0fd-1177-4468-9351-2f0a9b7c7230");
        assert_eq!((issuer.kind, issuer.max_age, issuer.single_use), (IssuerKind::Aws, Some(600), true));
        assert_eq!(issuer.algs, [JwsAlgorithm::Es384, JwsAlgorithm::Rs256].into());
        assert!(!issuer.is_registered());
        serde_json::to_value(&issuer).expect_err("it is in no record");
        assert_eq!(TrustedIssuer::of_sts(url(IssuerUrl::GITHUB)), None);
        assert_eq!(TrustedIssuer::of_sts(url("spiffe://example.org")), None);
    }

    #[test]
    fn names_tell_their_kind_where_they_can() {
        for (text, kind) in [
            (IssuerUrl::GITHUB, Some(IssuerKind::Github)),
            ("https://token.actions.githubusercontent.com/octo-inc", Some(IssuerKind::Github)),
            ("https://token.actions.githubusercontent.com.example.com", None),
            ("https://token.actions.githubusercontent.com:8443", None),
            (IssuerUrl::GITLAB, Some(IssuerKind::Gitlab)),
            ("https://gitlab.example.com", None),
            ("https://oidc.eks.eu-west-1.amazonaws.com/id/ABC", Some(IssuerKind::Eks)),
            ("https://oidc.eks.cn-north-1.amazonaws.com.cn/id/ABC", Some(IssuerKind::Eks)),
            ("https://oidc.eks.example.com/id/ABC.amazonaws.com/id/A", None),
            ("https://oidc.eks.a.example.com:1.amazonaws.com/id/A", None),
            ("https://oidc.eks.eu-west-1.amazonaws.com", None),
            ("spiffe://example.org", Some(IssuerKind::Spiffe)),
            ("https://a.example", None),
        ] {
            let known = text.parse::<IssuerUrl>().ok().and_then(|issuer| issuer.known_kind());
            assert_eq!(known, kind, "{text}");
        }
    }

    #[test]
    fn the_issuer_of_a_workload_is_its_trust_domain() {
        for (id, issuer) in [
            ("spiffe://example.org/ns/orders/sa/api", Some("spiffe://example.org")),
            ("spiffe://example.org/A-b_c.d", Some("spiffe://example.org")),
            ("spiffe://example.org", None),
            ("spiffe://example.org/", None),
            ("spiffe://example.org/a/", None),
            ("spiffe://example.org//a", None),
            ("spiffe://example.org/a/../b", None),
            ("spiffe://example.org/.", None),
            ("spiffe://example.org/a?b", None),
            ("spiffe://example.org/a%2fb", None),
            ("spiffe://Example.org/a", None),
            ("spiffe://example.org:1/a", None),
            ("spiffe://u@example.org/a", None),
            ("spiffe:///a", None),
            ("https://example.org/a", None),
            ("system:serviceaccount:orders:api", None),
        ] {
            assert_eq!(IssuerUrl::of_spiffe_id(id).as_ref().map(IssuerUrl::as_str), issuer, "{id}");
        }
    }

    #[test]
    fn a_metadata_document_is_below_its_issuer() {
        for (issuer, document) in [
            ("https://a.example", Some("https://a.example/.well-known/openid-configuration")),
            ("https://a.example/", Some("https://a.example/.well-known/openid-configuration")),
            ("https://a.example/b/c", Some("https://a.example/b/c/.well-known/openid-configuration")),
            ("https://a.example/b/", Some("https://a.example/b/.well-known/openid-configuration")),
            ("spiffe://example.org", None),
        ] {
            assert_eq!(url(issuer).metadata_url().as_deref(), document);
        }
    }

    #[test]
    fn a_realm_finds_an_issuer_by_every_character_of_it_and_by_its_name() {
        let mut realm = Realm::new(RealmName::root());
        let keys = || IssuerKeys::Discovery { allow_private_network: false, ca: None };
        let name = |text: &str| text.parse::<IssuerName>().expect("a name");
        for (text, issuer) in [("one", "https://a.example"), ("two", "https://a.example/")] {
            realm.settings.trusted_issuers.push(TrustedIssuer::new(name(text), url(issuer), IssuerKind::Oidc, keys()));
        }
        let found = |issuer: &str| realm.trusted_issuer(&url(issuer)).map(|issuer| issuer.name.as_str());
        assert_eq!(found("https://a.example"), Some("one"));
        assert_eq!(found("https://a.example/"), Some("two"));
        assert_eq!(found("https://a.example/b"), None);
        assert_eq!(found(STS), None);
        let named = |text: &str| realm.trusted_issuer_named(&name(text)).map(|issuer| issuer.issuer.as_str());
        assert_eq!((named("two"), named("Two")), (Some("https://a.example/"), None));
    }

    #[test]
    fn a_record_with_an_issuer_that_nobody_knows_how_to_read_is_not_read() {
        let mut realm = Realm::new(RealmName::root());
        let keys = IssuerKeys::Discovery { allow_private_network: false, ca: None };
        realm.settings.trusted_issuers =
            vec![TrustedIssuer::new("a".parse().expect("a name"), url("https://a.example"), IssuerKind::Github, keys)];
        let record = serde_json::to_value(&realm).expect("JSON");
        assert_eq!(serde_json::from_value::<Realm>(record.clone()).expect("reads back"), realm);
        for (member, value) in [
            ("kind", serde_json::json!("azure")),
            ("keys", serde_json::json!({ "elsewhere": {} })),
            ("keys", serde_json::json!({ "unregistered": { "asked_from": null } })),
            ("issuer", serde_json::json!("https://A.example")),
            ("algs", serde_json::json!(["none"])),
        ] {
            let mut other = record.clone();
            other["trusted_issuers"][0][member] = value;
            serde_json::from_value::<Realm>(other).expect_err(member);
        }
        let mut older = record;
        older.as_object_mut().expect("an object").remove("trusted_issuers");
        assert!(serde_json::from_value::<Realm>(older).expect("reads").settings.trusted_issuers.is_empty());
    }
}
