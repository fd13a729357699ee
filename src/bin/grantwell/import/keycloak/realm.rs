//! What a client of Keycloak has from its realm: scopes, lifetimes, signatures, and the roles of its service account.

use std::collections::BTreeMap;

use grantwell::core::members::Members;
use grantwell::core::realm::RealmName;
use serde_json::{Value, json};

use crate::import::client::{NO_SUCH_SIGNATURE, signing_algorithm, within_range};
use crate::import::export::{Export, placed};
use crate::import::report::{Fate, Line};
use crate::import::source::{Malformed, Source, Taken, shown};

/// A realm of Keycloak, as far as its clients have anything from it.
#[derive(Debug)]
pub(super) struct Realm {
    /// The realm here.
    pub(super) name: RealmName,
    /// The realm there; empty where the export does not say.
    pub(super) theirs: String,
    /// Whether its clients may ask for tokens at all.
    pub(super) enabled: bool,
    /// The client scopes by their names.
    pub(super) scopes: BTreeMap<String, ClientScope>,
    /// What a client has that names no scopes.
    pub(super) default_scopes: Vec<String>,
    /// The same that it may ask for.
    pub(super) optional_scopes: Vec<String>,
    /// Ids of clients whose service accounts have roles.
    pub(super) with_roles: BTreeMap<String, usize>,
    /// Settings that its clients have where they do not say.
    pub(super) settings: Vec<(&'static str, Value)>,
}

/// A client scope of a realm.
#[derive(Clone, Debug)]
pub(super) struct ClientScope {
    /// Whether a token names it.
    pub(super) is_in_tokens: bool,
    /// What it adds to tokens.
    pub(super) mappers: Vec<Value>,
}

impl Realm {
    /// The realm of an export that says nothing of one.
    pub(super) fn none(wanted: Option<&RealmName>) -> Self {
        Self {
            name: wanted.cloned().unwrap_or_else(RealmName::root),
            theirs: String::new(),
            enabled: true,
            scopes: BTreeMap::new(),
            default_scopes: Vec::new(),
            optional_scopes: Vec::new(),
            with_roles: BTreeMap::new(),
            settings: vec![("access_token_format", json!("jwt"))],
        }
    }

    /// What a realm says.
    pub(super) fn of(source: &mut Source, wanted: Option<&RealmName>, export: &mut Export) -> Result<Self, Malformed> {
        let theirs = source.text("realm")?;
        let mut realm = Self::none(wanted);
        if let Some(theirs) = theirs {
            if wanted.is_none() {
                realm.name = theirs.value.parse().map_err(|refused| {
                    theirs.malformed(format!(
                        "{refused}, and '{}' is not one; name another with --realm",
                        shown(&theirs.value)
                    ))
                })?;
            }
            say(export, &theirs, Fate::Taken, format!("realm '{}'", realm.name));
            realm.theirs = theirs.value;
        }
        if let Some(enabled) = source.flag("enabled")?
            && !enabled.value
        {
            realm.enabled = false;
            say(export, &enabled, Fate::Changed, "status: disabled, of each of its clients");
        }
        if let Some(lifespan) = source.number("accessTokenLifespan")? {
            let (seconds, fate, what) = within_range(lifespan.value);
            realm.settings.push(("access_token_lifetime", json!(seconds)));
            say(export, &lifespan, fate, what);
        }
        if let Some(alg) = source.text("defaultSignatureAlgorithm")? {
            if let Some(known) = signing_algorithm(&alg.value) {
                realm.settings.push(("access_token_signing_alg", json!(known)));
                say(export, &alg, Fate::Taken, "access_token_signing_alg");
            } else {
                say(export, &alg, Fate::LeftOut, NO_SUCH_SIGNATURE);
            }
        }
        for scope in placed("clientScopes", source.list("clientScopes")?) {
            let (name, scope) = client_scope(scope?)?;
            realm.scopes.extend(name.map(|name| (name, scope)));
        }
        let texts = |list: Option<Taken<Vec<String>>>| list.map(|list| list.value).unwrap_or_default();
        realm.default_scopes = texts(source.texts("defaultDefaultClientScopes")?);
        realm.optional_scopes = texts(source.texts("defaultOptionalClientScopes")?);
        for user in placed("users", source.list("users")?) {
            let mut user = user?;
            let roles =
                user.list("realmRoles")?.len() + user.object("clientRoles")?.map_or(0, |mut roles| roles.rest().len());
            if let Some(client) = user.text("serviceAccountClientId")? {
                realm.with_roles.insert(client.value, roles);
            }
        }
        Ok(realm)
    }

    /// Declares it, and says what its clients have from it. Root exists, and is nobody's to declare: there each client says it itself.
    pub(super) fn say(&self, export: &mut Export, has_clients: bool) {
        if !has_clients {
            return;
        }
        export.lines.push(Line {
            member: "access tokens".to_owned(),
            value: "JWT".to_owned(),
            becomes: Fate::Taken,
            what: "access_token_format: jwt, because every access token of Keycloak is a JWT".to_owned(),
        });
        if !self.name.is_root() {
            let first = [("realm", json!(self.name))];
            let members: Members = first.into_iter().chain(self.settings.iter().cloned()).collect();
            export.realms.push((self.name.clone(), members));
        }
    }

    /// What each client has to say itself, because the realm does not.
    pub(super) fn of_each_client(&self) -> &[(&'static str, Value)] {
        if self.name.is_root() { &self.settings } else { &[] }
    }
}

fn client_scope(mut scope: Source) -> Result<(Option<String>, ClientScope), Malformed> {
    let name = scope.text("name")?.map(|name| name.value);
    let is_of_openid = scope.text("protocol")?.is_none_or(|protocol| protocol.value == "openid-connect");
    let attributes = scope.any("attributes").map(|attributes| attributes.value).unwrap_or_default();
    let is_hidden = attributes.get("include.in.token.scope").and_then(Value::as_str) == Some("false");
    let mappers = scope.list("protocolMappers")?;
    Ok((name, ClientScope { is_in_tokens: is_of_openid && !is_hidden, mappers }))
}

fn say<T>(export: &mut Export, taken: &Taken<T>, becomes: Fate, what: impl Into<String>) {
    let (member, value) = (taken.member.clone(), taken.shape.clone());
    export.lines.push(Line { member, value, becomes, what: what.into() });
}
