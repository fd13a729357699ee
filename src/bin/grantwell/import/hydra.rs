//! Ory Hydra: OAuth 2.0 clients as its admin API and its command line list them.

use std::time::Duration;

use grantwell::core::client::grant_type::GrantType;
use grantwell::core::realm::RealmName;
use serde_json::{Value, json};

use super::client::{Client, Proof, Without};
use super::export::{Export, placed};
use super::keys::Keys;
use super::source::{Malformed, Source, Taken};

/// The clients of an export: an array, a page with its items, or one.
pub(super) fn export(value: Value, realm: &RealmName) -> Result<Export, Malformed> {
    let mut export = Export::default();
    let clients = match value {
        Value::Array(clients) => placed("clients", clients).collect::<Result<Vec<_>, _>>()?,
        value => {
            let mut source = Source::of("the export", value)?;
            if source.has("client_id") {
                vec![source]
            } else {
                let clients = placed("items", source.list("items")?).collect::<Result<Vec<_>, _>>()?;
                let next = source.any("next_page_token");
                if source.flag("is_last_page")?.is_some_and(|is_last| !is_last.value)
                    && let Some(next) = next
                {
                    export.incomplete(&next.member, &next.value);
                }
                export.beside(&mut source);
                clients
            }
        }
    };
    export.clients = clients.into_iter().map(|source| client(source, realm)).collect::<Result<_, _>>()?;
    Ok(export)
}

fn client(mut source: Source, realm: &RealmName) -> Result<Client, Malformed> {
    let mut client = Client::new(realm, &mut source, "client_id")?;

    // 1. Whether it can ask for tokens by itself.
    let grants = source.texts("grant_types")?;
    let method = source.text("token_endpoint_auth_method")?;
    if !grants.as_ref().is_some_and(|grants| grants.value.iter().any(|grant| grant == GrantType::CLIENT_CREDENTIALS)) {
        client.leave_out("its grant_types do not have client_credentials, the only grant of this server");
    }
    if method.as_ref().is_some_and(|method| method.value == "none") {
        client.leave_out(
            "it is a public client (token_endpoint_auth_method is none), and this server has no public clients",
        );
    }
    if client.is_left_out() {
        return Ok(client);
    }

    // 2. What it may ask for.
    client.client_name(source.text("client_name")?);
    client.contacts(source.text("owner")?.map(|owner| owner.map(|owner| vec![owner])));
    client.contacts(source.texts("contacts")?);
    let scope = source.text("scope")?;
    let has_wildcard = scope.as_ref().is_some_and(|scope| scope.value.contains('*'));
    client.scopes(scope.map(|scope| scope.map(|scope| scope.split_whitespace().map(str::to_owned).collect())), false);
    if has_wildcard {
        client
            .qualify("scope", "Hydra may take * for any name; here it is a character like another, so list the names");
    }
    if let Some(grants) = &grants {
        client.grants(grants);
    }
    client.redirect_uris(source.texts("redirect_uris")?);

    // 3. How it proves who it is.
    let keys = Keys {
        jwks: source.any("jwks"),
        jwks_uri: source.text("jwks_uri")?,
        alg: source.text("token_endpoint_auth_signing_alg")?,
    };
    match method.as_ref().map(|method| method.value.as_str()) {
        Some("private_key_jwt") => {
            client.proof(method.as_ref(), Proof::Key);
            client.keys(keys);
        }
        of_secret => {
            let proof = match of_secret {
                // What Hydra has where nothing is registered.
                None | Some("client_secret_basic") => Proof::Basic,
                Some("client_secret_post") => Proof::Post,
                Some(_) => Proof::Other("or name private_key_jwt in the file, and give its keys"),
            };
            client.proof(method.as_ref(), proof);
            client.unused_keys(keys);
        }
    }
    client.secrets(&mut source, &["client_secret"]);
    client.credentials(&mut source, &["registration_access_token"], OF_REGISTRATION);

    // 4. Its tokens.
    if let Some(audience) = source.texts("audience")? {
        client.resources(&audience);
    }
    if let Some(lifespan) = source.text("client_credentials_grant_access_token_lifespan")? {
        client.lifetime(&seconds(lifespan)?);
    }
    if let Some(strategy) = source.text("access_token_strategy")? {
        match strategy.value.as_str() {
            format @ ("jwt" | "opaque") => {
                client.set("access_token_format", json!(format));
                client.taken(&strategy, "access_token_format");
            }
            _ => client.not_taken(&strategy, "it is neither jwt nor opaque"),
        }
    }

    // 5. The rest.
    client.without(&mut source, WITHOUT);
    client.unknown(&mut source);
    Ok(client)
}

/// A duration as Go writes it, in whole seconds.
fn seconds(lifespan: Taken<String>) -> Result<Taken<i64>, Malformed> {
    // Go has no unit above hours, where humantime has months.
    let has_units_of_go = lifespan.value.chars().all(|character| "0123456789.nuµμmsh".contains(character));
    let parsed = Some(lifespan.value.replace(['µ', 'μ'], "u"))
        .filter(|_| has_units_of_go)
        .and_then(|text| if text == "0" { Some(Duration::ZERO) } else { humantime::parse_duration(&text).ok() });
    match parsed {
        Some(duration) => Ok(lifespan.map(|_| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))),
        None => Err(lifespan.malformed("it is a duration such as 1h0m0s")),
    }
}

const OF_REGISTRATION: &str = "clients do not manage their registrations here";

const WITHOUT: &[Without] = &[
    Without {
        names: &[
            "allowed_cors_origins",
            "backchannel_logout_*",
            "frontchannel_logout_*",
            "post_logout_redirect_uris",
            "request_object_signing_alg",
            "request_uris",
            "response_types",
            "sector_identifier_uri",
            "skip_consent",
            "skip_logout_consent",
            "subject_type",
            "userinfo_signed_response_alg",
        ],
        defaults: &["code", "none", "public"],
        because: "it is for signing people in, which this server does not do",
    },
    Without {
        names: &[
            "authorization_code_grant_*",
            "device_authorization_grant_*",
            "implicit_grant_*",
            "jwt_bearer_grant_*",
            "refresh_token_grant_*",
        ],
        defaults: &[],
        because: "it is of a grant that this server does not have",
    },
    Without {
        names: &["client_uri", "logo_uri", "policy_uri", "tos_uri"],
        defaults: &[],
        because: "it is for showing the client to people, for which a registration here has a name alone",
    },
    Without { names: &["created_at", "updated_at"], defaults: &[], because: "the client is created anew" },
    Without {
        names: &["client_secret_expires_at"],
        defaults: &[],
        because: "it is about the old secret, which is not taken over; for the new secret set client_secret_expires_at",
    },
    Without {
        names: &["metadata"],
        defaults: &[],
        because: "a registration here has no free members; what tokens have to carry goes into access_token_claims",
    },
    Without { names: &["registration_client_uri"], defaults: &[], because: OF_REGISTRATION },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<i64, Malformed> {
        let mut source = Source::of("client", json!({ "lifespan": text })).expect("an object");
        seconds(source.text("lifespan").expect("a text").expect("there")).map(|taken| taken.value)
    }

    #[test]
    fn durations_are_those_of_go() {
        for (text, expected) in [
            ("1h0m0s", 3600),
            ("7m0s", 420),
            ("10s", 10),
            ("1h30m", 5400),
            ("1.5h", 5400),
            ("1500ms", 1),
            ("300ms", 0),
            ("1µs", 0),
            ("0s", 0),
            ("0", 0),
            ("326340h", 1_174_824_000),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in ["soon", "-1s", "1d", "1M", "1 h", "3600", "1y", "9999999999999999999h"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
