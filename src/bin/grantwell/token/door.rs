//! A door that AWS guards: an endpoint whose callers AWS has verified by their signature (SigV4) before this server sees them. It is a Lambda
//! function URL or an HTTP API, and takes the form of a token request, without any proof in it.

use std::str::FromStr;

use url::{Host, Url};

use grantwell::core::realm::RealmName;
use grantwell::http::routes::base_paths;

use super::http::confidential;
use super::server::Endpoint;
use crate::failure::Failure;

/// The address of a door, and who verifies the signature there.
#[derive(Debug)]
pub(super) struct Door {
    url: Url,
    pub(super) service: Service,
    /// Where the host does not say it, it is the process's own.
    pub(super) region: Option<String>,
}

/// Which of AWS's services stands in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Service {
    /// A Lambda function URL
    Lambda,
    /// API Gateway
    ExecuteApi,
}

impl Door {
    /// The door at this URL. Service and region are read off the host, where AWS has made its name.
    ///
    /// # Errors
    /// A [`Failure`] that says what to give.
    pub(super) fn parse(url: &str, service: Option<Service>, region: Option<String>) -> Result<Self, Failure> {
        let failure = |what: &str| Failure::new(format!("--door: {what}"));
        let url = confidential(url)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(failure("give the URL without a query and a fragment"));
        }
        if url.path().contains("/oauth2") {
            return Err(failure(
                "give the URL up to the realm's path, such as https://ID.lambda-url.REGION.on.aws, and the realm by --realm",
            ));
        }
        let (known, own_region) = match url.host() {
            Some(Host::Domain(host)) => by_host(host),
            _ => (None, None),
        };
        let service = service.or(known).unwrap_or(Service::ExecuteApi);
        Ok(Self { service, region: region.or_else(|| own_region.map(str::to_owned)), url })
    }

    /// An endpoint of a realm at this door.
    pub(super) fn url_of(&self, endpoint: Endpoint, base_path: &str) -> String {
        format!("{}{base_path}/{}", self.url.as_str().trim_end_matches('/'), endpoint.path())
    }
}

impl Service {
    /// As a signature names it.
    pub(super) fn signing_name(self) -> &'static str {
        match self {
            Self::Lambda => "lambda",
            Self::ExecuteApi => "execute-api",
        }
    }
}

/// The path of a realm below the public URL, as its issuer has it.
///
/// # Errors
/// A [`Failure`] where the issuer is not one of a realm.
pub(super) fn base_path_of(issuer: &str) -> Result<String, Failure> {
    let url: Option<Url> = issuer.parse().ok();
    let path = url.as_ref().map_or("", Url::path).trim_end_matches('/');
    let named = path.rsplit_once("/realms/root/realms/").and_then(|(_, name)| RealmName::from_str(name).ok());
    let realm = named.unwrap_or_else(RealmName::root);
    let longest = base_paths(&realm).filter(|base| path.ends_with(base)).max_by_key(String::len);
    longest.ok_or_else(|| Failure::new(format!("--issuer: {NOT_AN_ISSUER}")))
}

/// `ID.lambda-url.REGION.on.aws`, `ID.execute-api.REGION.amazonaws.com`: the last two labels or three are the partition's.
fn by_host(host: &str) -> (Option<Service>, Option<&str>) {
    let labels: Vec<_> = host.split('.').collect();
    match labels.as_slice() {
        [_, "lambda-url", region, "on", "aws"] => (Some(Service::Lambda), Some(region)),
        [_, "execute-api", region, "amazonaws", "com"] | [_, "execute-api", region, "amazonaws", "com", "cn"] => {
            (Some(Service::ExecuteApi), Some(region))
        }
        [_, "execute-api", region, "api", "aws"] => (Some(Service::ExecuteApi), Some(region)),
        _ => (None, None),
    }
}

const NOT_AN_ISSUER: &str = "this is not the issuer of a realm, such as https://auth.example.com/am/oauth2/realms/root/realms/alpha; or name the realm by --realm";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_and_region_are_read_off_names_that_aws_makes() {
        for (url, service, region) in [
            ("https://abc.lambda-url.eu-west-1.on.aws/", Service::Lambda, Some("eu-west-1")),
            ("https://abc.execute-api.us-gov-west-1.amazonaws.com", Service::ExecuteApi, Some("us-gov-west-1")),
            ("https://abc.execute-api.cn-north-1.amazonaws.com.cn/prod", Service::ExecuteApi, Some("cn-north-1")),
            ("https://abc.execute-api.eu-west-1.api.aws", Service::ExecuteApi, Some("eu-west-1")),
            // Whoever has registered these is not AWS: nothing is believed of the name.
            ("https://abc.lambda-url.eu-west-1.on.aws.example.com", Service::ExecuteApi, None),
            ("https://tokens.example.com", Service::ExecuteApi, None),
        ] {
            let door = Door::parse(url, None, None).expect("a door");
            assert_eq!((door.service, door.region.as_deref()), (service, region), "{url}");
        }
        let told = Door::parse("https://abc.lambda-url.eu-west-1.on.aws", Some(Service::ExecuteApi), Some("x".into()));
        let told = told.expect("a door");
        assert_eq!((told.service, told.region.as_deref()), (Service::ExecuteApi, Some("x")));
    }

    #[test]
    fn a_door_is_an_address_without_anything_that_would_be_sent_or_lost() {
        for url in [
            "http://abc.lambda-url.eu-west-1.on.aws",
            "https://user@abc.lambda-url.eu-west-1.on.aws",
            "https://abc.lambda-url.eu-west-1.on.aws/?a=b",
            "https://abc.lambda-url.eu-west-1.on.aws/#a",
            "https://abc.lambda-url.eu-west-1.on.aws/am/oauth2/realms/root/realms/alpha/access_token",
            "abc.lambda-url.eu-west-1.on.aws",
        ] {
            assert!(Door::parse(url, None, None).is_err(), "{url}");
        }
        let with_stage = Door::parse("https://abc.execute-api.us-east-1.amazonaws.com/prod/", None, None);
        let endpoint = with_stage.expect("a door").url_of(Endpoint::Token, "/am/oauth2/realms/root");
        assert_eq!(endpoint, "https://abc.execute-api.us-east-1.amazonaws.com/prod/am/oauth2/realms/root/access_token");
    }

    #[test]
    fn the_path_of_a_realm_is_read_off_its_issuer() {
        for (issuer, path) in [
            ("https://a.example/am/oauth2/realms/root/realms/alpha", "/am/oauth2/realms/root/realms/alpha"),
            ("https://a.example/oauth2/realms/root/realms/oauth2", "/oauth2/realms/root/realms/oauth2"),
            ("https://a.example/oauth2/x/am/oauth2/realms/root", "/am/oauth2/realms/root"),
            ("https://a.example/base/am/oauth2", "/am/oauth2"),
            ("https://a.example/oauth2", "/oauth2"),
        ] {
            assert_eq!(base_path_of(issuer).expect("an issuer"), path, "{issuer}");
        }
        for issuer in ["https://a.example", "https://a.example/am", "alpha", ""] {
            assert!(base_path_of(issuer).is_err(), "{issuer}");
        }
    }
}
