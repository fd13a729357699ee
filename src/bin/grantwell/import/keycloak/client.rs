//! One client of Keycloak (`ClientRepresentation`).

use serde_json::json;

use super::attributes;
use super::mappers;
use super::realm::Realm;
use crate::import::client::{Client, Proof, Without};
use crate::import::report::{Fate, Line};
use crate::import::source::{Malformed, Source, Taken};

/// What becomes of a client.
pub(super) fn client(mut source: Source, realm: &Realm) -> Result<Client, Malformed> {
    let theirs = source.peek("clientId").unwrap_or_default().to_owned();
    let mut client = Client::new(&realm.name, &mut source, "clientId")?;

    // 1. Whether it can ask for tokens by itself.
    leave_out(&mut client, &theirs, realm, &mut source)?;
    if client.is_left_out() {
        return Ok(client);
    }
    let enabled = source.flag("enabled")?;
    if let Some(enabled) = enabled.as_ref().filter(|enabled| !enabled.value) {
        client.changed(enabled, "status: disabled");
    } else if let Some(enabled) = &enabled {
        client.taken(enabled, "a client here is active unless the file says otherwise");
    }
    if !realm.enabled || enabled.is_some_and(|enabled| !enabled.value) {
        client.set("status", json!("disabled"));
    }

    // 2. What it may ask for.
    client.client_name(source.text("name")?);
    let mut attributes = source.object("attributes")?.unwrap_or_else(Source::nothing);
    scopes(&mut client, &mut source, realm)?;
    client.redirect_uris(source.texts("redirectUris")?);

    // 3. How it proves who it is.
    let authenticator = source.text("clientAuthenticatorType")?;
    let keys = attributes::keys(&mut client, &mut attributes)?;
    let proof = match authenticator.as_ref().map(|authenticator| authenticator.value.as_str()) {
        None | Some("client-secret") => Proof::Either,
        Some("client-jwt") => Proof::Key,
        Some("client-secret-jwt") => {
            Proof::Other("the application sends it instead of signing with it, or signs with a key (private_key_jwt)")
        }
        Some("federated-jwt") => {
            Proof::Other("for a token of another issuer give it a trust rule, and workload_identity as its only method")
        }
        // client-x509, and those of extensions.
        Some(_) => Proof::Other("or name private_key_jwt in the file, and give its keys"),
    };
    client.proof(authenticator.as_ref(), proof);
    if matches!(proof, Proof::Key) {
        attributes::by_key(&mut client, keys, &mut attributes);
    } else {
        client.unused_keys(keys);
    }
    client.secrets(&mut source, &["secret"]);
    client.secrets(&mut attributes, &["client.secret.rotated"]);
    client.credentials(&mut source, &["registrationAccessToken"], "clients do not manage their registrations here");

    // 4. Its tokens.
    attributes::tokens(&mut client, &mut attributes)?;
    let place = format!("{}.protocolMappers", source.place());
    mappers::take(&mut client, &place, source.list("protocolMappers")?)?;
    for (name, value) in realm.of_each_client() {
        client.set_if_unset(name, value);
    }

    // 5. The rest.
    flows(&mut client, &mut source, &mut attributes)?;
    if let Some(roles) = realm.with_roles.get(&theirs).filter(|roles| **roles > 0) {
        client.add_line(Line {
            member: "roles of its service account".to_owned(),
            value: format!("list of {roles}"),
            becomes: Fate::LeftOut,
            what:
                "this server grants scopes and has no roles; what resource servers check becomes scopes of the client"
                    .to_owned(),
        });
    }
    client.without(&mut source, WITHOUT);
    client.without(&mut attributes, attributes::WITHOUT);
    client.unknown(&mut source);
    client.unknown(&mut attributes);
    Ok(client)
}

fn leave_out(client: &mut Client, id: &str, realm: &Realm, source: &mut Source) -> Result<(), Malformed> {
    let is_of_a_realm = realm.theirs == "master" && id.strip_suffix("-realm").is_some();
    let protocol = source.text("protocol")?;
    let bearer_only = source.flag("bearerOnly")?.is_some_and(|flag| flag.value);
    let is_public = source.flag("publicClient")?.is_some_and(|flag| flag.value);
    let has_service_account = source.flag("serviceAccountsEnabled")?;
    if BUILT_IN.contains(&id) || is_of_a_realm {
        client.leave_out("it is built into Keycloak");
    } else if protocol.is_some_and(|protocol| protocol.value != "openid-connect") {
        client.leave_out("it is not a client of OpenID Connect or OAuth (protocol)");
    } else if bearer_only {
        client.leave_out("it only accepts tokens (bearerOnly) and never asks for one");
    } else if is_public {
        client.leave_out("it is a public client (publicClient), and this server has no public clients");
    } else if let Some(flag) = has_service_account.filter(|flag| flag.value) {
        client.taken(&flag, "grant_types, which is client_credentials unless the file says otherwise");
    } else {
        client.leave_out("it has no service account (serviceAccountsEnabled), so it never uses client credentials, the only grant here");
    }
    Ok(())
}

/// Scopes that its tokens always have, and those that it may ask for.
fn scopes(client: &mut Client, source: &mut Source, realm: &Realm) -> Result<(), Malformed> {
    let mut default = source.texts("defaultClientScopes")?;
    let mut optional = source.texts("optionalClientScopes")?;
    if default.is_none() && optional.is_none() && !realm.default_scopes.is_empty() {
        let of_realm = |name: &str, scopes: &[String]| {
            let value = json!(scopes);
            let mut source = Source::of("the export", json!({ name: value }))?;
            source.texts(name)
        };
        default = of_realm("defaultDefaultClientScopes", &realm.default_scopes)?;
        optional = of_realm("defaultOptionalClientScopes", &realm.optional_scopes)?;
    }
    let names = default.as_ref().map(|default| default.value.clone()).unwrap_or_default();
    in_tokens(client, default, realm, true);
    in_tokens(client, optional, realm, false);
    for name in names {
        if let Some(scope) = realm.scopes.get(&name) {
            mappers::take_of_scope(client, &name, scope.mappers.clone())?;
        }
    }
    Ok(())
}

/// Takes the scopes that a token names; others only say what else Keycloak puts into it.
fn in_tokens(client: &mut Client, scopes: Option<Taken<Vec<String>>>, realm: &Realm, is_default: bool) {
    let Some(scopes) = scopes else { return };
    let is_in_tokens = |name: &String| match realm.scopes.get(name) {
        Some(scope) => scope.is_in_tokens,
        None => !NOT_IN_TOKENS.contains(&name.as_str()),
    };
    let hidden = scopes.value.iter().filter(|name| !is_in_tokens(name)).count();
    let member = scopes.member.clone();
    let scopes = scopes.map(|names| names.into_iter().filter(is_in_tokens).collect::<Vec<_>>());
    if scopes.value.is_empty() {
        client.not_taken(
            &scopes,
            "Keycloak uses these only to add claims, and does not write them into the scope of a token",
        );
        return;
    }
    client.scopes(Some(scopes), is_default);
    if hidden > 0 {
        let (are, them) = if hidden == 1 { ("is", "it") } else { ("are", "them") };
        let besides = format!(
            "{hidden} of them {are} left out: Keycloak uses {them} only to add claims, and does not write {them} into the scope of a token"
        );
        client.qualify(&member, &besides);
    }
}

/// Other ways to a token that a client may have.
fn flows(client: &mut Client, source: &mut Source, attributes: &mut Source) -> Result<(), Malformed> {
    for name in ["standardFlowEnabled", "implicitFlowEnabled", "directAccessGrantsEnabled", "directGrantsOnly"] {
        if let Some(flag) = source.flag(name)?.filter(|flag| flag.value) {
            client.not_taken(&flag, OTHER_GRANT);
        }
    }
    for name in OTHER_GRANTS {
        if let Some(flag) =
            attributes.any(name).filter(|flag| flag.value != json!("false") && flag.value != json!(false))
        {
            client.not_taken(&flag, OTHER_GRANT);
        }
    }
    Ok(())
}

const BUILT_IN: [&str; 7] = [
    "account",
    "account-console",
    "admin-cli",
    "admin-permissions",
    "broker",
    "realm-management",
    "security-admin-console",
];
/// Client scopes that every realm has and no token names, for exports that do not define them.
const NOT_IN_TOKENS: [&str; 6] = ["acr", "basic", "role_list", "roles", "service_account", "web-origins"];
const OTHER_GRANT: &str = "this server has no other grant than client credentials";
const OTHER_GRANTS: [&str; 4] = [
    "oauth2.device.authorization.grant.enabled",
    "oidc.ciba.grant.enabled",
    "standard.token.exchange.enabled",
    "oauth2.jwt.authorization.grant.enabled",
];

const WITHOUT: &[Without] = &[
    Without {
        names: &[
            "adminUrl",
            "alwaysDisplayInConsole",
            "authenticationFlowBindingOverrides",
            "baseUrl",
            "consentRequired",
            "frontchannelLogout",
            "proofKeyForCodeExchangeRequired",
            "rootUrl",
            "surrogateAuthRequired",
            "webOrigins",
        ],
        defaults: &[],
        because: "it is for signing people in, which this server does not do",
    },
    Without {
        names: &["description"],
        defaults: &[],
        because: "a registration here has a name and contacts, and no description",
    },
    Without {
        names: &["fullScopeAllowed", "defaultRoles"],
        defaults: &["true"],
        because: "this server grants scopes and has no roles",
    },
    Without {
        names: &["authorizationServicesEnabled", "authorizationSettings"],
        defaults: &[],
        because: "this server has no policies about resources; what a client may do are its scopes",
    },
    Without {
        names: &["notBefore"],
        defaults: &[],
        because: "tokens of Keycloak are not valid here, whenever they were issued",
    },
    Without {
        names: &["access", "id", "nodeReRegistrationTimeout", "origin", "registeredNodes", "type"],
        // It has an id whoever made it.
        defaults: &["-1", "true"],
        because: "it is Keycloak's own bookkeeping",
    },
    Without {
        names: &["clientTemplate", "useTemplateConfig", "useTemplateMappers", "useTemplateScope"],
        defaults: &[],
        because: "there are no templates here; what it adds to the client has to be written down",
    },
];
