//! One client on its way from another product: what it becomes here, and what is said of each of its members.

use std::collections::{BTreeMap, BTreeSet};

use grantwell::core::access_token::settings::TokenLifetime;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::grant_type::GrantType;
use grantwell::core::client::id::ClientId;
use grantwell::core::client::metadata::ClientMetadata;
use grantwell::core::client::redirect_uri::RedirectUri;
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::members::{Members, names_of};
use grantwell::core::realm::{Realm, RealmName};
use grantwell::core::resource::ResourceUri;
use grantwell::core::scope::Scope;
use serde_json::{Value, json};

use super::report::{ClientReport, Fate, Line};
use super::source::{Malformed, Source, Taken, shown};

/// A client of an export.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "client_id is its name on the wire")]
pub(super) struct Client {
    pub(super) realm: RealmName,
    /// Its id where that is one here.
    pub(super) client_id: Option<ClientId>,
    /// Its id as it is there, or its place, for people.
    pub(super) name: String,
    /// Where it is in the file.
    pub(super) place: String,
    /// Why it is left out.
    pub(super) left_out: Option<String>,
    /// Why its id cannot be one here: said only of a client that would be taken with another.
    refused_id: Option<String>,
    /// What it is registered with here.
    members: BTreeMap<&'static str, Value>,
    scope: BTreeSet<String>,
    default_scope: BTreeSet<String>,
    lines: Vec<Line>,
}

/// How a client proves who it is, there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Proof {
    /// By its secret, in HTTP Basic.
    Basic,
    /// By its secret, in the body.
    Post,
    /// By its secret, in either.
    Either,
    /// By an assertion that it signs.
    Key,
    /// By something that this server does not verify: what to do about it.
    Other(&'static str),
}

/// Members of a product that have no counterpart here, for one reason.
pub(super) struct Without {
    /// Their names, or the beginnings of them with an asterisk.
    pub(super) names: &'static [&'static str],
    /// What they say where nobody has set them, besides false, 0 and nothing.
    pub(super) defaults: &'static [&'static str],
    /// Why they are left out.
    pub(super) because: &'static str,
}

impl Client {
    /// A client with the id that it has in a member.
    ///
    /// # Errors
    /// Where the id is not a text.
    pub(super) fn new(realm: &RealmName, source: &mut Source, member: &str) -> Result<Self, Malformed> {
        let id = source.text(member)?;
        let mut client = Self {
            realm: realm.clone(),
            client_id: None,
            name: id
                .as_ref()
                .filter(|id| is_a_name(&id.value))
                .map_or_else(|| source.place().to_owned(), |id| shown(&id.value)),
            place: source.place().to_owned(),
            left_out: None,
            refused_id: None,
            members: BTreeMap::new(),
            scope: BTreeSet::new(),
            default_scope: BTreeSet::new(),
            lines: Vec::new(),
        };
        let Some(id) = id else {
            client.refused_id = Some(format!("the export does not say its {member}"));
            return Ok(client);
        };
        match id.value.parse::<ClientId>() {
            Ok(client_id) => {
                client.client_id = Some(client_id);
                client.taken(&id, "client_id");
            }
            Err(refused) => {
                client.refused_id = Some(format!(
                    "its id cannot be one here, because {refused}; give it another, and have its application use that"
                ));
            }
        }
        Ok(client)
    }

    /// Leaves it out. The first reason is what is said.
    pub(super) fn leave_out(&mut self, why: impl Into<String>) {
        self.left_out.get_or_insert_with(|| why.into());
    }

    /// Says what to do about an id that the export does not have.
    pub(super) fn without_id(&mut self, why: &str) {
        self.refused_id = Some(why.to_owned());
    }

    /// Whether it is left out, now that it is known what it does.
    pub(super) fn is_left_out(&mut self) -> bool {
        self.left_out = self.left_out.take().or(self.refused_id.take());
        self.left_out.is_some()
    }

    /// Sets a member.
    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        self.members.insert(name, value);
    }

    /// Sets a member of the realm's where the client does not say otherwise.
    pub(super) fn set_if_unset(&mut self, name: &'static str, value: &Value) {
        self.members.entry(name).or_insert_with(|| value.clone());
    }

    /// A member that is set.
    pub(super) fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    pub(super) fn taken<T>(&mut self, taken: &Taken<T>, what: impl Into<String>) {
        self.say(taken, Fate::Taken, what);
    }

    pub(super) fn changed<T>(&mut self, taken: &Taken<T>, what: impl Into<String>) {
        self.say(taken, Fate::Changed, what);
    }

    pub(super) fn not_taken<T>(&mut self, taken: &Taken<T>, what: impl Into<String>) {
        self.say(taken, Fate::LeftOut, what);
    }

    /// A name for people.
    pub(super) fn client_name(&mut self, name: Option<Taken<String>>) {
        let Some(name) = name else { return };
        match checked(&ClientMetadata { client_name: Some(name.value.clone()), ..ClientMetadata::new() }) {
            Ok(()) => {
                self.set("client_name", json!(name.value));
                self.taken(&name, "client_name");
            }
            Err(refused) => self.not_taken(&name, refused),
        }
    }

    /// People who are responsible for it.
    pub(super) fn contacts(&mut self, contacts: Option<Taken<Vec<String>>>) {
        let Some(contacts) = contacts else { return };
        let fits = |contact: &String| {
            checked(&ClientMetadata { contacts: vec![contact.clone()], ..ClientMetadata::new() }).is_ok()
        };
        let all = contacts.value.len();
        let fit: Vec<&String> = contacts.value.iter().filter(|contact| fits(contact)).collect();
        self.extend("contacts", fit.iter().map(|contact| json!(contact)));
        self.say_of_list(
            &contacts,
            "contacts",
            fit.len(),
            all,
            "a contact has 1 to 256 characters, and no control characters",
        );
    }

    /// Names that a token may be granted, and is granted where a request names none.
    pub(super) fn scopes(&mut self, scopes: Option<Taken<Vec<String>>>, is_default: bool) {
        let Some(scopes) = scopes else { return };
        let mut refused = Vec::new();
        for name in &scopes.value {
            // A scope token has no space: with one it would pass for several.
            if name.parse::<Scope>().is_err() || name.contains(' ') {
                refused.push(format!("'{}'", shown(name)));
                continue;
            }
            self.scope.insert(name.clone());
            if is_default {
                self.default_scope.insert(name.clone());
            }
        }
        let into = if is_default { "scope and default_scope" } else { "scope" };
        if refused.is_empty() {
            self.taken(&scopes, into);
        } else {
            let (count, all) = (refused.len(), scopes.value.len());
            let first = refused.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
            self.changed(&scopes, format!(
                "{into}, without {count} of {all} that cannot be scopes here: {first}. A scope is printable ASCII without spaces, quotes \
                 and backslashes; give it another name, and have the resource servers ask for that"
            ));
        }
    }

    /// Scopes of which the client is granted all unless it asks for some; they have to be among its scopes.
    pub(super) fn default_scopes(&mut self, scopes: Option<Taken<Vec<String>>>) {
        let Some(scopes) = scopes else { return };
        let (fit, outside): (Vec<&String>, Vec<&String>) =
            scopes.value.iter().partition(|name| self.scope.contains(*name));
        self.default_scope.extend(fit.into_iter().cloned());
        if outside.is_empty() {
            self.taken(&scopes, "default_scope");
        } else {
            let first =
                outside.iter().take(NAMED).map(|name| format!("'{}'", shown(name))).collect::<Vec<_>>().join(", ");
            self.changed(&scopes, format!("default_scope, without what is not among its scopes: {first}"));
        }
    }

    /// How many seconds its tokens live.
    pub(super) fn lifetime(&mut self, lifetime: &Taken<i64>) {
        let (seconds, fate, what) = within_range(lifetime.value);
        self.set("access_token_lifetime", json!(seconds));
        self.say(lifetime, fate, what);
    }

    /// How it proves who it is. `taken` is the member that says so, where one does.
    pub(super) fn proof(&mut self, taken: Option<&Taken<String>>, proof: Proof) {
        let methods: &[AuthMethod] = match proof {
            Proof::Basic => &[AuthMethod::ClientSecretBasic],
            Proof::Post => &[AuthMethod::ClientSecretPost],
            Proof::Either | Proof::Other(_) => &[AuthMethod::ClientSecretBasic, AuthMethod::ClientSecretPost],
            Proof::Key => &[AuthMethod::PrivateKeyJwt],
        };
        self.set("token_endpoint_auth_methods", json!(methods));
        let Some(taken) = taken else { return };
        match proof {
            Proof::Other(advice) => self.changed(
                taken,
                format!("this server does not verify such a proof, so the client gets a secret; {advice}"),
            ),
            Proof::Either => {
                self.taken(taken, "token_endpoint_auth_methods: the secret in HTTP Basic or in the body, as there");
            }
            _ => self.taken(taken, "token_endpoint_auth_methods"),
        }
    }

    /// Whether a secret is made for it here.
    pub(super) fn gets_a_secret(&self) -> bool {
        let by_key = json!([AuthMethod::PrivateKeyJwt]);
        self.left_out.is_none()
            && self.members.get("token_endpoint_auth_methods").is_none_or(|methods| *methods != by_key)
    }

    /// Its secret.
    pub(super) fn secrets(&mut self, source: &mut Source, names: &[&str]) {
        let what = if self.gets_a_secret() {
            "a secret is never taken over: apply makes a new one, and you give it to the application"
        } else {
            "a secret is never taken over, and this client authenticates without one"
        };
        self.credentials(source, names, what);
    }

    /// Something that nobody gets to see.
    pub(super) fn credentials(&mut self, source: &mut Source, names: &[&str], what: &str) {
        for mut secret in names.iter().flat_map(|name| source.matching(name)) {
            "secret".clone_into(&mut secret.shape);
            self.not_taken(&secret, what);
        }
    }

    /// Grants besides client credentials.
    pub(super) fn grants(&mut self, grants: &Taken<Vec<String>>) {
        let others = grants.value.iter().filter(|grant| *grant != GrantType::CLIENT_CREDENTIALS).count();
        match others {
            0 => self.taken(grants, "grant_types, which is client_credentials unless the file says otherwise"),
            1 => self.changed(grants, "client_credentials, without 1 other: this server has no other grant"),
            others => {
                self.changed(
                    grants,
                    format!("client_credentials, without {others} others: this server has no other grant"),
                );
            }
        }
    }

    /// Where it has people sent back to.
    pub(super) fn redirect_uris(&mut self, uris: Option<Taken<Vec<String>>>) {
        let Some(uris) = uris else { return };
        let (all, fit) = (uris.value.len(), fitting::<RedirectUri>(&uris.value));
        self.extend("redirect_uris", fit.iter().map(|uri| json!(uri)));
        self.say_of_list(
            &uris,
            "redirect_uris, which this server keeps and does not use",
            fit.len(),
            all,
            "a sign-in URL is absolute, and has neither a fragment nor credentials",
        );
    }

    /// What its tokens are for.
    pub(super) fn resources(&mut self, resources: &Taken<Vec<String>>) {
        let known = self.member("resources").and_then(Value::as_array).map_or(0, Vec::len);
        let fit = fitting::<ResourceUri>(&resources.value);
        let room = fit.iter().take(ClientMetadata::MAX_RESOURCES.saturating_sub(known));
        let taken = room.len();
        self.extend("resources", room.map(|resource| json!(resource)));
        let rule = format!(
            "an audience is an absolute URI without credentials here (RFC 8707), and a client has at most {}",
            ClientMetadata::MAX_RESOURCES
        );
        self.say_of_list(resources, "resources", taken, resources.value.len(), &rule);
    }

    /// What its tokens are signed with.
    pub(super) fn token_signature(&mut self, alg: &Taken<String>) {
        match signing_algorithm(&alg.value) {
            Some(known) => {
                self.set("access_token_signing_alg", json!(known));
                self.taken(alg, "access_token_signing_alg");
            }
            None => self.not_taken(alg, NO_SUCH_SIGNATURE),
        }
    }

    /// Says of members that they have no counterpart.
    pub(super) fn without(&mut self, source: &mut Source, without: &[Without]) {
        for Without { names, defaults, because } in without {
            for taken in names.iter().flat_map(|name| source.matching(name)) {
                if !is_default(&taken.value, defaults) {
                    self.not_taken(&taken, *because);
                }
            }
        }
    }

    /// Says of everything that is left that it is not known.
    pub(super) fn unknown(&mut self, source: &mut Source) {
        for taken in source.rest() {
            let names = taken.value.as_object().map(|members| members.keys().take(NAMED).map(|name| shown(name)));
            let names = names.map(|names| names.collect::<Vec<_>>().join(", "));
            let of = names.map_or_else(String::new, |names| format!(", with what is in it ({names})"));
            self.not_taken(&taken, format!("it is not known here{of}"));
        }
    }

    /// What every line of these members says besides.
    pub(super) fn say_besides(&mut self, members: &BTreeSet<String>, besides: &str) {
        for line in self.lines.iter_mut().filter(|line| members.contains(&line.member)) {
            line.what = format!("{} ({besides})", line.what);
        }
    }

    /// The same where it means that what was taken is not quite what it was.
    pub(super) fn qualify(&mut self, member: &str, besides: &str) {
        for line in self.lines.iter_mut().filter(|line| line.member == member && line.becomes == Fate::Taken) {
            line.becomes = Fate::Changed;
        }
        self.say_besides(&[member.to_owned()].into(), besides);
    }

    /// Says of something that the export does not have what that means.
    pub(super) fn note(&mut self, member: &str, what: &str) {
        let (member, value) = (member.to_owned(), "not there".to_owned());
        self.lines.push(Line { member, value, becomes: Fate::LeftOut, what: what.to_owned() });
    }

    pub(super) fn add_line(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// What it is registered with, in the order of the registration.
    pub(super) fn declared(&self) -> Option<Members> {
        let client_id = self.client_id.as_ref().filter(|_| self.left_out.is_none())?;
        let mut members = self.members.clone();
        for (name, scope) in [("scope", &self.scope), ("default_scope", &self.default_scope)] {
            if !scope.is_empty() {
                members.insert(name, json!(scope.iter().map(String::as_str).collect::<Vec<_>>().join(" ")));
            }
        }
        let first = [("realm", json!(self.realm)), ("client_id", json!(client_id))];
        let status = members.remove("status").map(|status| ("status", status));
        let rest =
            names_of::<ClientMetadata>().iter().filter_map(|name| members.remove(*name).map(|value| (*name, value)));
        Some(first.into_iter().chain(status).chain(rest).collect())
    }

    /// What became of it.
    pub(super) fn report(self) -> ClientReport {
        let new_secret = self.gets_a_secret();
        ClientReport {
            realm: self.realm.to_string(),
            client_id: self.name,
            becomes: if self.left_out.is_some() { Fate::LeftOut } else { Fate::Taken },
            new_secret,
            // Of one that is left out everything is.
            members: if self.left_out.is_some() { Vec::new() } else { self.lines },
            why: self.left_out,
        }
    }

    fn extend(&mut self, name: &'static str, values: impl Iterator<Item = Value>) {
        let values: Vec<Value> = values.collect();
        if values.is_empty() {
            return;
        }
        match self.members.entry(name).or_insert_with(|| json!([])) {
            Value::Array(list) => {
                for value in values {
                    if !list.contains(&value) {
                        list.push(value);
                    }
                }
            }
            other => *other = Value::Array(values),
        }
    }

    /// What is said of a list of which only some fit.
    fn say_of_list<T>(&mut self, taken: &Taken<T>, into: &str, fit: usize, all: usize, rule: &str) {
        if fit == all {
            self.taken(taken, into);
        } else if fit == 0 {
            self.not_taken(taken, rule);
        } else {
            self.changed(taken, format!("{into}, without {} of {all}: {rule}", all - fit));
        }
    }

    fn say<T>(&mut self, Taken { member, shape, .. }: &Taken<T>, becomes: Fate, what: impl Into<String>) {
        let (member, value) = (member.clone(), shape.clone());
        self.lines.push(Line { member, value, becomes, what: what.into() });
    }
}

/// A lifetime as it can be here, and what is said of it.
pub(super) fn within_range(seconds: i64) -> (u64, Fate, String) {
    let wanted = u64::try_from(seconds).unwrap_or_default();
    let clamped = wanted.clamp(1, TokenLifetime::MAX);
    if clamped == wanted {
        (clamped, Fate::Taken, format!("access_token_lifetime, {clamped} seconds"))
    } else {
        let what =
            format!("access_token_lifetime, {clamped} seconds: a token lives 1 to {} seconds here", TokenLifetime::MAX);
        (clamped, Fate::Changed, what)
    }
}

/// The algorithm of this name, where tokens can be signed with it.
pub(super) fn signing_algorithm(name: &str) -> Option<SigningAlgorithm> {
    name.parse().ok()
}

/// Whether members of a registration are within its rules.
/// Whether a text may be an id. What looks like JSON is in a place where it does not belong, and may be anything.
fn is_a_name(id: &str) -> bool {
    !id.contains(['{', '}', '[', ']', '"'])
}

fn checked(metadata: &ClientMetadata) -> Result<(), String> {
    metadata.check(&Realm::new(RealmName::root())).map_err(|refused| refused.to_string())
}

fn fitting<T: std::str::FromStr>(texts: &[String]) -> Vec<T> {
    texts.iter().filter(|text| !has_credentials(text)).filter_map(|text| text.parse().ok()).collect()
}

/// Whether a URL has a user or a password in it, which no file may have.
fn has_credentials(text: &str) -> bool {
    let authority = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    authority.is_some_and(|authority| authority.contains('@'))
}

fn is_default(value: &Value, defaults: &[&str]) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => defaults.contains(&"true"),
        Value::Number(number) => number.as_i64() == Some(0) || defaults.contains(&number.to_string().as_str()),
        Value::String(text) => matches!(text.as_str(), "" | "false" | "0") || defaults.contains(&text.as_str()),
        Value::Array(values) => values.iter().all(|value| value.is_null() || is_default(value, defaults)),
        Value::Object(members) => members.values().all(|value| is_default(value, defaults)),
    }
}

/// Why an algorithm is not taken over.
pub(super) const NO_SUCH_SIGNATURE: &str =
    "this server does not sign with it; a token is signed with ES256, EdDSA, PS256 or RS256 (access_token_signing_alg)";
/// How many of several names are named.
const NAMED: usize = 5;
