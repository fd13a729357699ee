//! Auth0: clients of the Management API, with the grants and APIs of the tenant where the file has them.

use std::cell::Cell;
use std::collections::BTreeMap;

use grantwell::core::client::grant_type::GrantType;
use grantwell::core::realm::RealmName;
use serde_json::{Value, json};

use super::client::{Client, NO_SUCH_SIGNATURE, Proof, Without, signing_algorithm};
use super::export::{Export, placed};
use super::source::{Malformed, Source, Taken, shown};

/// The clients of an export: an array, a page of them, a tenant as the Deploy CLI has it, or one client.
pub(super) fn export(value: Value, realm: &RealmName) -> Result<Export, Malformed> {
    let mut export = Export::default();
    let mut tenant = Tenant::default();
    let clients = match value {
        Value::Array(clients) => placed("clients", clients).collect::<Result<Vec<_>, _>>()?,
        value => {
            let mut source = Source::of("the export", value)?;
            if source.has("client_id") {
                vec![source]
            } else {
                let clients = placed("clients", source.list("clients")?).collect::<Result<Vec<_>, _>>()?;
                tenant = Tenant::of(&mut source)?;
                let page = [source.number("start")?, source.number("limit")?, source.number("length")?];
                if let Some(total) = source.number("total")? {
                    let last = page[0]
                        .as_ref()
                        .map_or(0, |start| start.value)
                        .saturating_add(i64::try_from(clients.len()).unwrap_or(i64::MAX));
                    if last < total.value || page[0].as_ref().is_some_and(|start| start.value > 0) {
                        export.incomplete(&total.member, &json!(total.value));
                    }
                }
                if let Some(next) = source.any("next") {
                    export.incomplete(&next.member, &next.value);
                }
                export.beside(&mut source);
                clients
            }
        }
    };
    tenant.count_names(&clients);
    for source in clients {
        export.clients.push(client(source, realm, &tenant)?);
    }
    for grant in tenant.grants.iter().filter(|grant| !grant.is_used.get()) {
        export.not_taken(&grant.line, "the export has no client of its client_id, or several of that name");
    }
    Ok(export)
}

/// What a tenant has beside its clients and clients have to do with.
#[derive(Debug, Default)]
struct Tenant {
    grants: Vec<Grant>,
    apis: BTreeMap<String, Api>,
    has_grants: bool,
    /// How many clients there are of each name: the Deploy CLI has the name of a client where the API has its id.
    names: BTreeMap<String, usize>,
}

/// What a client may ask an API for.
#[derive(Debug)]
struct Grant {
    client: String,
    audience: Option<Taken<String>>,
    scope: Option<Taken<Vec<String>>>,
    allows_all: bool,
    is_for_people: bool,
    line: Taken<Value>,
    /// Whether a client of the export has it.
    is_used: Cell<bool>,
}

/// An API, which Auth0 calls a resource server.
#[derive(Debug, Default)]
struct Api {
    scopes: Vec<String>,
    lifetime: Option<Taken<i64>>,
    alg: Option<Taken<String>>,
}

impl Tenant {
    fn of(source: &mut Source) -> Result<Self, Malformed> {
        let mut tenant = Self::default();
        for name in ["clientGrants", "client_grants"] {
            tenant.has_grants |= source.names(name);
            for (index, grant) in placed(name, source.list(name)?).enumerate() {
                tenant.grants.push(Grant::of(grant?, format!("{name}[{index}]"))?);
            }
        }
        for name in ["resourceServers", "resource_servers"] {
            for (index, api) in placed(name, source.list(name)?).enumerate() {
                let (identifier, api) = Api::of(api?, &format!("{name}[{index}]"))?;
                tenant.apis.extend(identifier.map(|identifier| (identifier, api)));
            }
        }
        Ok(tenant)
    }

    fn count_names(&mut self, clients: &[Source]) {
        for client in clients {
            if let Some(name) = client.peek("name") {
                *self.names.entry(name.to_owned()).or_default() += 1;
            }
        }
    }

    /// The grants of a client by its id, or by its name where no other has it.
    fn of_client(&self, id: &str, name: Option<&str>) -> Vec<&Grant> {
        let name = name.filter(|name| self.names.get(*name) == Some(&1));
        let grants: Vec<&Grant> =
            self.grants.iter().filter(|grant| grant.client == id || name == Some(grant.client.as_str())).collect();
        for grant in &grants {
            grant.is_used.set(true);
        }
        grants
    }
}

impl Grant {
    fn of(source: Source, member: String) -> Result<Self, Malformed> {
        let mut source = source.called(format!("{member}."));
        let client = match source.text("client_id")? {
            None => source.text("client_name")?,
            by_id => by_id,
        };
        Ok(Self {
            client: client.map(|client| client.value).unwrap_or_default(),
            audience: source.text("audience")?,
            scope: source.texts("scope")?,
            allows_all: source.flag("allow_all_scopes")?.is_some_and(|flag| flag.value),
            is_for_people: source.text("subject_type")?.is_some_and(|kind| kind.value == "user"),
            line: source.as_member(member, "object".to_owned()).map(|()| Value::Null),
            is_used: Cell::new(false),
        })
    }
}

impl Api {
    fn of(source: Source, member: &str) -> Result<(Option<String>, Self), Malformed> {
        let mut source = source.called(format!("{member}."));
        let identifier = source.text("identifier")?.map(|identifier| identifier.value);
        let mut scopes = Vec::new();
        for scope in placed(&format!("{member}.scopes"), source.list("scopes")?) {
            scopes.extend(scope?.text("value")?.map(|value| value.value));
        }
        Ok((identifier, Self { scopes, lifetime: source.number("token_lifetime")?, alg: source.text("signing_alg")? }))
    }
}

fn client(mut source: Source, realm: &RealmName, tenant: &Tenant) -> Result<Client, Malformed> {
    let id = source.peek("client_id").unwrap_or_default().to_owned();
    let mut client = Client::new(realm, &mut source, "client_id")?;
    let name = source.text("name")?;
    if id.is_empty() {
        client.without_id(
            "the export does not say its client_id; the Deploy CLI does with AUTH0_EXPORT_IDENTIFIERS=true",
        );
        client.name = name.as_ref().map_or(client.name, |name| shown(&name.value));
    }
    let grants = tenant.of_client(&id, name.as_ref().map(|name| name.value.as_str()));

    // 1. Whether it can ask for tokens by itself.
    let grant_types = source.texts("grant_types")?;
    let method = source.text("token_endpoint_auth_method")?;
    leave_out(&mut client, &mut source, grant_types.as_ref(), method.as_ref())?;
    if client.is_left_out() {
        return Ok(client);
    }

    // 2. What it may ask for, and what its tokens are for.
    client.client_name(name);
    if let Some(grant_types) = &grant_types {
        client.grants(grant_types);
    }
    client.redirect_uris(source.texts("callbacks")?);
    let apis = scopes(&mut client, &grants, tenant_apis(&grants, &tenant.apis));
    if !tenant.has_grants {
        client.note(
            "clientGrants",
            "what the client may ask for is not in the export: add its scope and resources to the file, or export its \
             client grants too, as clientGrants beside clients",
        );
    } else if grants.is_empty() {
        client.note("clientGrants", "the export has no grant of the client, so it may not ask for any scope");
    }

    // 3. How it proves who it is.
    proof(&mut client, &mut source, method.as_ref())?;
    client.secrets(&mut source, &["client_secret"]);
    client.credentials(
        &mut source,
        &["encryption_key", "signing_keys"],
        "keys of Auth0 are never taken over: a realm here has its own",
    );

    // 4. Its tokens.
    tokens(&mut client, &mut source, &apis)?;

    // 5. The rest.
    client.without(&mut source, WITHOUT);
    client.unknown(&mut source);
    Ok(client)
}

fn leave_out(
    client: &mut Client,
    source: &mut Source,
    grants: Option<&Taken<Vec<String>>>,
    method: Option<&Taken<String>>,
) -> Result<(), Malformed> {
    let kind = source.text("app_type")?;
    let is_machine = kind.as_ref().is_some_and(|kind| kind.value == "non_interactive");
    let has_grant = grants.map(|grants| grants.value.iter().any(|grant| grant == GrantType::CLIENT_CREDENTIALS));
    if source.flag("global")?.is_some_and(|global| global.value) {
        client.leave_out("it is built into Auth0 (global)");
    } else if method.is_some_and(|method| method.value == "none") {
        client.leave_out(
            "it is a public client (token_endpoint_auth_method is none), and this server has no public clients",
        );
    } else if kind.as_ref().is_some_and(|kind| matches!(kind.value.as_str(), "spa" | "native")) {
        client.leave_out("it runs in browsers or on devices of people (app_type), where no secret can be kept");
    } else if !has_grant.unwrap_or(is_machine) {
        client.leave_out("its grant_types do not have client_credentials, the only grant of this server");
    } else if let Some(kind) = kind {
        client.not_taken(&kind, "a client here has no type: what it may do are its scopes");
    }
    Ok(())
}

/// The APIs that grants are for.
fn tenant_apis<'a>(grants: &[&Grant], apis: &'a BTreeMap<String, Api>) -> Vec<Option<&'a Api>> {
    grants.iter().map(|grant| grant.audience.as_ref().and_then(|audience| apis.get(&audience.value))).collect()
}

/// Takes the scopes and audiences of grants; the APIs that the client may ask for.
fn scopes<'a>(client: &mut Client, grants: &[&Grant], apis: Vec<Option<&'a Api>>) -> Vec<&'a Api> {
    let mut of_client = Vec::new();
    for (grant, api) in grants.iter().zip(apis) {
        if grant.is_for_people {
            client.not_taken(
                &grant.line,
                "it is for what the client does for people (subject_type), and here it acts for itself",
            );
            continue;
        }
        if let Some(audience) = &grant.audience {
            client.resources(&audience.clone().map(|audience| vec![audience]));
        }
        client.scopes(grant.scope.clone(), false);
        if grant.allows_all {
            match api {
                Some(api) => client.scopes(Some(grant.line.clone().map(|_| api.scopes.clone())), false),
                None => client.not_taken(
                    &grant.line,
                    "it allows all scopes of its API (allow_all_scopes), which the export does not have; add them to the file",
                ),
            }
        }
        of_client.extend(api);
    }
    of_client
}

fn proof(client: &mut Client, source: &mut Source, method: Option<&Taken<String>>) -> Result<(), Malformed> {
    if let Some(mut methods) = source.object("client_authentication_methods")? {
        let by_key = methods.any("private_key_jwt");
        if let Some(by_key) = by_key {
            client.proof(None, Proof::Key);
            client.changed(
                &by_key,
                "token_endpoint_auth_methods: private_key_jwt, without its keys: Auth0 does not export them as JWK. Have the application \
                 give its public key as JWK, and name it in the file (jwks): until then the client cannot authenticate",
            );
        } else {
            let other = methods.rest().into_iter().next();
            client.proof(None, Proof::Either);
            if let Some(other) = other {
                client.changed(
                    &other,
                    "this server does not verify such a proof, so the client gets a secret; or name private_key_jwt in the file, and give its keys",
                );
            }
        }
        for other in methods.rest() {
            client.not_taken(&other, "the client has another proof");
        }
        return Ok(());
    }
    let proof = match method.map(|method| method.value.as_str()) {
        None => Proof::Either,
        Some("client_secret_basic") => Proof::Basic,
        Some("client_secret_post") => Proof::Post,
        Some("private_key_jwt") => Proof::Key,
        Some(_) => Proof::Other("or name private_key_jwt in the file, and give its keys"),
    };
    client.proof(method, proof);
    Ok(())
}

fn tokens(client: &mut Client, source: &mut Source, apis: &[&Api]) -> Result<(), Malformed> {
    // A token for an API is a JWT.
    client.set("access_token_format", json!("jwt"));
    let of_client = source.object("jwt_configuration")?;
    let mut of_client = of_client.unwrap_or_else(Source::nothing);
    let own = of_client.number("lifetime_in_seconds")?;
    // Of several the shortest: no token outlives what its API allows.
    let shortest = apis.iter().filter_map(|api| api.lifetime.as_ref()).min_by_key(|lifetime| lifetime.value);
    match (shortest, own) {
        (Some(lifetime), own) => {
            client.lifetime(lifetime);
            if let Some(own) = own {
                client.not_taken(&own, "it is for ID tokens; access tokens live as long as their API says");
            }
        }
        (None, Some(own)) => {
            client.lifetime(&own);
            client.qualify(
                &own.member,
                "in Auth0 it is for ID tokens; the API decides how long access tokens live, and it is not in the export",
            );
        }
        (None, None) => {}
    }
    let algs: Vec<&Taken<String>> = apis.iter().filter_map(|api| api.alg.as_ref()).collect();
    match algs.as_slice() {
        [] => {}
        [first, others @ ..] if others.iter().all(|other| other.value == first.value) => client.token_signature(first),
        several => {
            for alg in several {
                client.not_taken(
                    alg,
                    "its APIs have several; a client's tokens are signed with one (access_token_signing_alg)",
                );
            }
        }
    }
    if let Some(alg) = of_client.text("alg")? {
        let why = match signing_algorithm(&alg.value) {
            Some(_) => "it is for ID tokens; the API decides how access tokens are signed",
            None => NO_SUCH_SIGNATURE,
        };
        client.not_taken(&alg, why);
    }
    client.without(
        &mut of_client,
        &[Without { names: &["scopes", "secret_encoded"], defaults: &["true"], because: "it is for ID tokens" }],
    );
    client.unknown(&mut of_client);
    Ok(())
}

const WITHOUT: &[Without] = &[
    Without {
        names: &[
            "addons",
            "allowed_*",
            "client_aliases",
            "cross_origin_*",
            "custom_login_page*",
            "form_template",
            "initiate_login_uri",
            "is_first_party",
            "is_token_endpoint_ip_header_trusted",
            "logout_*",
            "mobile",
            "native_social_login",
            "oidc_*",
            "organization_*",
            "default_organization",
            "refresh_token",
            "require_pushed_authorization_requests",
            "session_transfer",
            "signed_request_object",
            "skip_non_verifiable_callback_uri_confirmation_prompt",
            "sso",
            "sso_disabled",
            "token_exchange",
            "web_origins",
        ],
        defaults: &["true"],
        because: "it is for signing people in, which this server does not do",
    },
    Without {
        names: &["description", "logo_uri"],
        defaults: &[],
        because: "it is for showing the client to people, for which a registration here has a name alone",
    },
    Without {
        names: &["client_metadata"],
        defaults: &[],
        because: "a registration here has no free members; what tokens have to carry goes into access_token_claims",
    },
    Without {
        names: &["token_quota"],
        defaults: &[],
        because: "a quota here is token_quota, as 1000/hour or 10000/day; write it into the file",
    },
    Without {
        names: &["require_proof_of_possession"],
        defaults: &[],
        because: "a token here is a bearer token: it is not bound to a key or a certificate",
    },
    Without {
        names: &["callback_url_template", "config_route", "created_at", "tenant", "updated_at"],
        defaults: &[],
        because: "it is Auth0's own bookkeeping",
    },
];
