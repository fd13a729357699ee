//! The attributes of a client of Keycloak: settings by the names of its extensions, all of them texts.

use serde_json::Value;

use crate::import::client::{Client, Without};
use crate::import::keys::{Keys, set_of};
use crate::import::source::{Malformed, Source, Taken};

/// Where the keys of the client are. Keycloak keeps an address or a set that it does not use any more.
pub(super) fn keys(client: &mut Client, attributes: &mut Source) -> Result<Keys, Malformed> {
    let by_url = uses(client, text(attributes, "use.jwks.url")?);
    let by_text = uses(client, text(attributes, "use.jwks.string")?);
    let mut jwks_uri = text(attributes, "jwks.url")?;
    let mut jwks = text(attributes, "jwks.string")?;
    let unused = if by_url {
        jwks.take()
    } else if by_text || jwks.is_some() {
        jwks_uri.take()
    } else {
        None
    };
    if let Some(unused) = unused {
        client.not_taken(&unused, "Keycloak does not use it, as use.jwks.url and use.jwks.string say");
    }
    Ok(Keys {
        jwks: jwks.map(|jwks| jwks.map(|text| set_of(&text))),
        jwks_uri,
        alg: text(attributes, "token.endpoint.auth.signing.alg")?,
    })
}

fn uses(client: &mut Client, flag: Option<Taken<String>>) -> bool {
    let Some(flag) = flag.filter(|flag| flag.value == "true") else { return false };
    client.taken(&flag, "it says where the keys are");
    true
}

/// Takes the keys of a client that authenticates by one.
pub(super) fn by_key(client: &mut Client, keys: Keys, attributes: &mut Source) {
    let has_keys = keys.jwks.is_some() || keys.jwks_uri.is_some();
    client.keys(keys);
    for certificate in ["jwt.credential.certificate", "jwt.credential.public.key"] {
        for taken in attributes.matching(certificate) {
            let what = if has_keys {
                "the client has its keys in one place, and this is another"
            } else {
                "a key is a JWK here; have the application give it as JWK, and name it in the file (jwks): until then the client cannot \
                 authenticate"
            };
            client.not_taken(&taken, what);
        }
    }
}

/// How its tokens are made.
pub(super) fn tokens(client: &mut Client, attributes: &mut Source) -> Result<(), Malformed> {
    if let Some(lifespan) = text(attributes, "access.token.lifespan")? {
        match lifespan.value.parse::<i64>() {
            // As long as the session, and there are no sessions here.
            Ok(..=0) => {
                client.not_taken(&lifespan, "there are no sessions here, so its tokens live as long as the realm says");
            }
            Ok(seconds) => client.lifetime(&lifespan.map(|_| seconds)),
            Err(_) => return Err(lifespan.malformed("it is a number of seconds as text, such as \"300\"")),
        }
    }
    if let Some(alg) = text(attributes, "access.token.signed.response.alg")? {
        client.token_signature(&alg);
    }
    Ok(())
}

/// An attribute as text. Clients that were written by hand have true where Keycloak writes "true".
fn text(attributes: &mut Source, name: &str) -> Result<Option<Taken<String>>, Malformed> {
    let Some(taken) = attributes.any(name) else { return Ok(None) };
    let text = match &taken.value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        _ => return Err(taken.malformed("an attribute is a text")),
    };
    Ok(Some(taken.map(|_| text)))
}

pub(super) const WITHOUT: &[Without] = &[
    Without {
        names: &[
            "dpop.bound.access.tokens",
            "tls.client.certificate.bound.access.tokens",
            "tls-client-certificate-bound-access-tokens",
        ],
        defaults: &[],
        because: "a token here is a bearer token: it is not bound to a key or a certificate",
    },
    Without { names: &["x509.*"], defaults: &[], because: "this server does not verify certificates of clients" },
    Without {
        names: &["jwt.credential.*"],
        defaults: &[],
        because: "it is for a way of authenticating that the client does not use here",
    },
    Without {
        names: &["token.endpoint.auth.signing.max.exp"],
        defaults: &[],
        because: "here the realm decides how long an assertion may be valid (assertion_max_lifetime)",
    },
    Without {
        names: &["client_credentials.use_refresh_token", "use.refresh.tokens"],
        defaults: &["true"],
        because: "this server has no refresh tokens",
    },
    Without {
        names: &["client.use.lightweight.access.token.enabled"],
        defaults: &[],
        because: "a token here has no claims about people; those of the client are access_token_claims",
    },
    Without {
        names: &["client.secret.*", "realm_client", "client.introspection.response.allow.jwt.claim.enabled"],
        defaults: &[],
        because: "it is Keycloak's own bookkeeping",
    },
    Without {
        names: &[
            "acr.loa.map",
            "authorization.*",
            "backchannel.*",
            "client.offline.*",
            "client.session.*",
            "consent.*",
            "default.acr.values",
            "display.on.consent.screen",
            "exclude.issuer.from.auth.response",
            "exclude.session.state.from.auth.response",
            "frontchannel.*",
            "id.token.*",
            "login_theme",
            "logoUri",
            "minimum.acr.value",
            "oauth2.*",
            "oidc.ciba.*",
            "pkce.code.challenge.method",
            "policyUri",
            "post.logout.redirect.uris",
            "request.object.*",
            "request.uris",
            "require.pushed.authorization.requests",
            "saml*",
            "token.response.type.bearer.lower-case",
            "tosUri",
            "user.info.*",
        ],
        defaults: &["true", "{}", "+"],
        because: "it is for signing people in, which this server does not do",
    },
];
