//! ForgeRock AM and PingAM: the OAuth2Client agents of a realm, as AM's REST API, frodo and Amster give them.

use std::collections::BTreeSet;

use grantwell::core::client::grant_type::GrantType;
use grantwell::core::realm::RealmName;
use serde_json::{Value, json};

use super::client::{Client, Proof, Without};
use super::export::{Export, named, placed};
use super::keys::{Keys, set_of};
use super::source::{Malformed, Source, Taken};

/// The clients of an export: what a query answers, what frodo or Amster writes, a list of clients, or one.
pub(super) fn export(value: Value, realm: &RealmName) -> Result<Export, Malformed> {
    let mut export = Export::default();
    let sources: Vec<(Option<String>, Source)> = match value {
        Value::Array(clients) => without_names(placed("clients", clients))?,
        value => {
            let mut source = Source::of("the export", value)?;
            if is_client(&source) {
                vec![(None, source)]
            } else {
                let clients = of_container(&mut source)?;
                let more =
                    source.any("remainingPagedResults").filter(|more| more.value.as_i64().is_some_and(|more| more > 0));
                let next = source.any("pagedResultsCookie");
                if let Some(next) = more.or(next) {
                    export.incomplete(&next.member, &next.value);
                }
                for name in [
                    "resultCount",
                    "totalPagedResults",
                    "totalPagedResultsPolicy",
                    "meta",
                    "metadata",
                    "remainingPagedResults",
                ] {
                    let _of_the_answer_itself = source.any(name);
                }
                export.beside(&mut source);
                clients
            }
        }
    };
    for (name, source) in sources {
        export.clients.push(client(name, source, realm)?);
    }
    Ok(export)
}

fn of_container(source: &mut Source) -> Result<Vec<(Option<String>, Source)>, Malformed> {
    let mut clients = without_names(placed("result", source.list("result")?))?;
    for name in ["application", "client"] {
        if let Some(by_name) = source.any(name) {
            clients.extend(named(name, by_name.value)?.into_iter().map(|(name, client)| (Some(name), client)));
        }
    }
    // Amster has the id beside the client.
    let id = source.object("metadata")?.map(|mut metadata| metadata.text("entityId")).transpose()?.flatten();
    if let Some(client) = source.object("data")? {
        clients.push((id.map(|id| id.value), client));
    }
    Ok(clients)
}

fn without_names(
    clients: impl Iterator<Item = Result<Source, Malformed>>,
) -> Result<Vec<(Option<String>, Source)>, Malformed> {
    clients.map(|client| client.map(|client| (None, client))).collect()
}

fn is_client(source: &Source) -> bool {
    source.has("coreOAuth2ClientConfig") || source.has("advancedOAuth2ClientConfig")
}

fn client(name: Option<String>, mut source: Source, realm: &RealmName) -> Result<Client, Malformed> {
    if let Some(name) = name.filter(|_| !source.has("_id")) {
        source.insert("_id", json!(name));
    }
    let mut client = Client::new(realm, &mut source, "_id")?;
    let mut inherited = BTreeSet::new();
    let mut section = |name: &str| -> Result<Source, Malformed> {
        let mut section = source.object(name)?.unwrap_or_else(Source::nothing);
        let prefix = section.name_of("");
        section.map(|member, value| {
            let (value, is_inherited) = unwrapped(value);
            if is_inherited {
                inherited.insert(format!("{prefix}{member}"));
            }
            value
        });
        Ok(section)
    };
    let mut core = section("coreOAuth2ClientConfig")?;
    let mut advanced = section("advancedOAuth2ClientConfig")?;
    let mut signatures = section("signEncOAuth2ClientConfig")?;
    let mut sign_in = [section("coreOpenIDClientConfig")?, section("coreUmaClientConfig")?];
    let mut overrides = section("overrideOAuth2ClientConfig")?;
    let provider =
        source.clone().object("_provider")?.map(|mut provider| provider.object("coreOAuth2Config")).transpose()?;
    let mut provider = provider.flatten().unwrap_or_else(Source::nothing);

    // 1. Whether it can ask for tokens by itself.
    let grants = advanced.texts("grantTypes")?;
    leave_out(&mut client, &mut source, &mut core, grants.as_ref())?;
    if client.is_left_out() {
        return Ok(client);
    }
    if let Some(status) = core.text("status")? {
        if status.value == "Active" {
            client.taken(&status, "a client here is active unless the file says otherwise");
        } else {
            client.set("status", json!("disabled"));
            client.changed(&status, "status: disabled");
        }
    }

    // 2. What it may ask for.
    names(&mut client, &mut core, &mut advanced)?;
    client.contacts(advanced.texts("contacts")?);
    client.scopes(core.texts("scopes")?.map(without_descriptions), false);
    client.default_scopes(core.texts("defaultScopes")?.map(without_descriptions));
    if let Some(grants) = &grants {
        client.grants(grants);
    }
    client.redirect_uris(core.texts("redirectionUris")?);

    // 3. How it proves who it is.
    proof(&mut client, &mut advanced, &mut signatures)?;
    client.secrets(&mut core, &["userpassword*"]);

    // 4. Its tokens.
    tokens(&mut client, &mut core, &mut overrides, &mut provider)?;

    // 5. The rest.
    client.without(&mut source, OF_THE_ANSWER);
    client.without(&mut core, WITHOUT);
    client.without(&mut advanced, WITHOUT);
    client.without(&mut signatures, WITHOUT);
    client.without(&mut overrides, OVERRIDES);
    for section in &mut sign_in {
        client.without(section, SIGN_IN);
    }
    for source in [&mut source, &mut core, &mut advanced, &mut signatures, &mut overrides] {
        client.unknown(source);
    }
    client.say_besides(&inherited, "inherited there from a group; this is its present value");
    Ok(client)
}

fn leave_out(
    client: &mut Client,
    source: &mut Source,
    core: &mut Source,
    grants: Option<&Taken<Vec<String>>>,
) -> Result<(), Malformed> {
    let kind = source.object("_type")?.map(|mut kind| kind.text("_id")).transpose()?.flatten();
    if kind.is_some_and(|kind| kind.value != "OAuth2Client") {
        client.leave_out("it is another kind of agent, and not an OAuth2Client (_type)");
    }
    if core.text("clientType")?.is_some_and(|kind| kind.value.eq_ignore_ascii_case("public")) {
        client.leave_out("it is a public client (clientType), and this server has no public clients");
    }
    if !grants.is_some_and(|grants| grants.value.iter().any(|grant| grant == GrantType::CLIENT_CREDENTIALS)) {
        client.leave_out("its grantTypes do not have client_credentials, the only grant of this server");
    }
    Ok(())
}

/// A value as it is with and without the wrapping that says whether it is inherited.
fn unwrapped(value: Value) -> (Value, bool) {
    let inherited = match &value {
        Value::Object(wrapped) if wrapped.keys().all(|name| matches!(name.as_str(), "inherited" | "value")) => {
            wrapped.get("inherited").and_then(Value::as_bool)
        }
        _ => None,
    };
    match (inherited, value) {
        (Some(inherited), Value::Object(mut wrapped)) => (wrapped.remove("value").unwrap_or_default(), inherited),
        (_, value) => (value, false),
    }
}

/// Scopes may have what people read of them: `name|description`, `name|locale|description`.
fn without_descriptions(scopes: Taken<Vec<String>>) -> Taken<Vec<String>> {
    let name = |scope: String| scope.split('|').next().unwrap_or_default().trim().to_owned();
    scopes.map(|scopes| scopes.into_iter().map(name).collect())
}

/// A client has a name for each language there: the first, without its language.
fn names(client: &mut Client, core: &mut Source, advanced: &mut Source) -> Result<(), Malformed> {
    for names in [core.texts("clientName")?, advanced.texts("name")?].into_iter().flatten() {
        if client.member("client_name").is_some() {
            client.not_taken(&names, "a client has one name here");
            continue;
        }
        let several = names.value.len() > 1;
        let member = names.member.clone();
        let first = |names: Vec<String>| {
            let first = names.into_iter().next().unwrap_or_default();
            first.rsplit_once('|').map_or(first.clone(), |(_, name)| name.to_owned())
        };
        client.client_name(Some(names.map(first)));
        if several {
            client.say_besides(&[member].into(), "the first of several");
        }
    }
    Ok(())
}

fn proof(client: &mut Client, advanced: &mut Source, signatures: &mut Source) -> Result<(), Malformed> {
    let method = advanced.text("tokenEndpointAuthMethod")?;
    let location = signatures.text("publicKeyLocation")?;
    // The set is text.
    let jwks = signatures.any("jwkSet").map(|jwks| {
        jwks.map(|jwks| match &jwks {
            Value::String(text) => set_of(text),
            _ => jwks,
        })
    });
    let mut keys = Keys {
        jwks,
        jwks_uri: signatures.text("jwksUri")?,
        alg: signatures.text("tokenEndpointAuthSigningAlgorithm")?,
    };
    let proof = match method.as_ref().map(|method| method.value.as_str()) {
        // AM takes the secret of a client in either place, whatever is registered.
        None | Some("client_secret_basic" | "client_secret_post") => Proof::Either,
        Some("private_key_jwt") => Proof::Key,
        Some("none") => {
            client.leave_out(
                "it does not authenticate (tokenEndpointAuthMethod is none), and this server has no public clients",
            );
            return Ok(());
        }
        Some(_) => Proof::Other("or name private_key_jwt in the file, and give its keys"),
    };
    client.proof(method.as_ref(), proof);
    if !matches!(proof, Proof::Key) {
        // AM says RS256 of every client.
        keys.alg = keys.alg.filter(|alg| alg.value != "RS256");
        client.unused_keys(keys);
        return Ok(());
    }
    let unused = match location.as_ref().map(|location| location.value.as_str()) {
        Some("jwks_uri") => keys.jwks.take().map(|jwks| jwks.map(|_| ())),
        Some("jwks") => keys.jwks_uri.take().map(|uri| uri.map(|_| ())),
        _ => None,
    };
    if let Some(location) = location {
        client.taken(&location, "it says where the keys are");
    }
    if let Some(unused) = unused {
        client.not_taken(&unused, "AM does not use it, as publicKeyLocation says");
    }
    client.keys(keys);
    if let Some(certificate) = signatures.any("clientJwtPublicKey") {
        client.not_taken(
            &certificate,
            "a key is a JWK here; if the client signs with this one, have the application give it as JWK, and name it in the file (jwks)",
        );
    }
    Ok(())
}

fn tokens(
    client: &mut Client,
    core: &mut Source,
    overrides: &mut Source,
    provider: &mut Source,
) -> Result<(), Malformed> {
    // 0 is as the provider says.
    let of_client = core.number("accessTokenLifetime")?.filter(|lifetime| lifetime.value != 0);
    let of_provider = provider.number("accessTokenLifetime")?.filter(|lifetime| lifetime.value != 0);
    if let Some(lifetime) = of_client.or(of_provider) {
        client.lifetime(&lifetime);
    }
    let counts = overrides.flag("providerOverridesEnabled")?;
    let of_client = overrides.flag("statelessTokensEnabled")?;
    let of_provider = provider.flag("statelessTokensEnabled")?;
    let stateless = if counts.as_ref().is_some_and(|counts| counts.value) {
        of_client
    } else {
        let rest = overrides.rest();
        if let (Some(counts), false) = (&counts, rest.is_empty()) {
            client.not_taken(counts, "the overrides of the provider's settings are not in effect");
        }
        of_provider
    };
    if let Some(stateless) = stateless {
        let format = if stateless.value { "jwt" } else { "opaque" };
        client.set("access_token_format", json!(format));
        client.taken(&stateless, format!("access_token_format: {format}"));
    }
    Ok(())
}

const OF_THE_ANSWER: &[Without] = &[
    Without { names: &["_rev"], defaults: &[], because: "it is AM's own bookkeeping" },
    Without {
        names: &["_provider"],
        defaults: &[],
        because: "it has the provider's settings; a client that sets no lifetime or format of its tokens gets those of the provider",
    },
    Without {
        names: &["agentgroup"],
        defaults: &[],
        because: "there are no groups here; what the client inherits from one is taken with its present value",
    },
];

const SIGN_IN: &[Without] = &[
    Without { names: &["defaultMaxAge"], defaults: &["600"], because: FOR_PEOPLE },
    Without { names: &["*"], defaults: &[], because: FOR_PEOPLE },
];

const FOR_PEOPLE: &str = "it is for signing people in, which this server does not do";

const OVERRIDES: &[Without] = &[
    Without { names: &["issueRefreshToken*"], defaults: &[], because: "this server has no refresh tokens" },
    Without {
        names: &["tokenEncryptionEnabled"],
        defaults: &[],
        because: "this server signs tokens, and does not encrypt them",
    },
    Without {
        names: &["*"],
        defaults: &["[Empty]", "JAVA", "PROVIDER", "oauth2Scopes"],
        because: "this server has no scripts, plugins or policies of its own for a client",
    },
];

const WITHOUT: &[Without] = &[
    Without {
        names: &[
            "authorizationCodeLifetime",
            "refreshTokenLifetime",
            "refreshTokenGracePeriod",
            "tokenExchangeAuthLevel",
        ],
        defaults: &[],
        because: "it is for a grant that this server does not have",
    },
    Without {
        names: &["secretLabelIdentifier"],
        defaults: &[],
        because: "it is where AM keeps the secret, which is not taken over",
    },
    Without {
        names: &["mTLS*", "tlsClient*"],
        defaults: &[],
        because: "this server does not verify certificates of clients, and a token is not bound to one",
    },
    Without {
        names: &["jwkStoreCacheMissCacheTime", "jwksCacheTimeout"],
        defaults: &["60000", "3600000"],
        because: "here the headers of the keys' server decide how long fetched keys are used",
    },
    Without {
        names: &["tokenIntrospection*"],
        defaults: &["A128CBC-HS256", "JSON", "RS256", "RSA-OAEP-256"],
        because: "a resource server asks for the form of its answer with the Accept header",
    },
    Without {
        names: &["clientUri", "descriptions", "logoUri", "policyUri", "tosURI", "softwareIdentity", "softwareVersion"],
        defaults: &[],
        because: "it is for showing the client to people, for which a registration here has a name alone",
    },
    Without {
        names: &["customProperties"],
        defaults: &[],
        because: "a registration here has no free members; what tokens have to carry goes into access_token_claims",
    },
    Without { names: &["updateAccessToken"], defaults: &[], because: "clients do not manage their registrations here" },
    Without {
        names: &[
            "authorizationResponse*",
            "backchannel_logout_*",
            "clientJwtPublicKey",
            "idToken*",
            "isConsentImplied",
            "javascriptOrigins",
            "loopbackInterfaceRedirection",
            "mixUpMitigation",
            "requestParameter*",
            "requestUris",
            "require_pushed_authorization_requests",
            "responseTypes",
            "sectorIdentifierUri",
            "subjectType",
            "userinfo*",
        ],
        defaults: &[
            "A128CBC-HS256",
            "JSON",
            "Pairwise",
            "Public",
            "RS256",
            "RSA-OAEP-256",
            "code",
            "code id_token",
            "code token",
            "code token id_token",
            "device_code",
            "device_code id_token",
            "id_token",
            "none",
            "public",
            "token",
            "token id_token",
        ],
        because: FOR_PEOPLE,
    },
];
