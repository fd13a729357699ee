//! Protocol mappers of Keycloak: what it adds to tokens. An audience and a fixed claim are known here, too.

use grantwell::core::access_token::claims::CustomClaims;
use serde_json::{Map, Value, json};

use crate::import::client::Client;
use crate::import::export::placed;
use crate::import::source::{Malformed, Source, Taken, shown};

/// Takes the mappers of the client itself: of each something is said.
pub(super) fn take(client: &mut Client, place: &str, mappers: Vec<Value>) -> Result<(), Malformed> {
    for (index, source) in placed(place, mappers).enumerate() {
        let mut mapper = Mapper::of(source?, format!("protocolMappers[{index}]"))?;
        if !mapper.take(client) {
            client.not_taken(&mapper.line, "it adds claims to tokens that this server does not know");
        }
    }
    Ok(())
}

/// Takes those of a client scope that mean something here. The others, as a realm's own scopes have them, are about people.
pub(super) fn take_of_scope(client: &mut Client, scope: &str, mappers: Vec<Value>) -> Result<(), Malformed> {
    let place = format!("clientScopes '{}'.protocolMappers", shown(scope));
    for (index, source) in placed(&place, mappers).enumerate() {
        Mapper::of(source?, format!("clientScopes.{}.protocolMappers[{index}]", shown(scope)))?.take(client);
    }
    Ok(())
}

/// A protocol mapper.
struct Mapper {
    kind: String,
    config: Map<String, Value>,
    line: Taken<()>,
}

impl Mapper {
    fn of(mut source: Source, member: String) -> Result<Self, Malformed> {
        let kind = source.text("protocolMapper")?.map(|kind| kind.value).unwrap_or_default();
        let config = source.object("config")?.map(|mut config| config.rest()).unwrap_or_default();
        let config = config
            .into_iter()
            .map(|taken| (taken.member.trim_start_matches("config.").to_owned(), taken.value))
            .collect();
        let line = source.as_member(member, shown(&kind));
        Ok(Self { kind, config, line })
    }

    /// Takes it where it is known here; whether it was.
    fn take(&mut self, client: &mut Client) -> bool {
        match self.kind.as_str() {
            "oidc-audience-mapper" => self.audience(client),
            "oidc-hardcoded-claim-mapper" => self.claim(client),
            _ => return false,
        }
        true
    }

    fn audience(&self, client: &mut Client) {
        if self.text("access.token.claim") == Some("false") {
            client.not_taken(&self.line, "it does not add to access tokens");
            return;
        }
        let audiences =
            ["included.custom.audience", "included.client.audience"].into_iter().filter_map(|name| self.text(name));
        let audiences: Vec<String> = audiences.map(str::to_owned).collect();
        if audiences.is_empty() {
            client.not_taken(&self.line, "it names no audience");
        } else {
            client.resources(&self.line.clone().map(|()| audiences));
        }
    }

    fn claim(&self, client: &mut Client) {
        let (Some(name), Some(text)) = (self.text("claim.name"), self.text("claim.value")) else {
            client.not_taken(&self.line, "it names no claim, or no value");
            return;
        };
        if self.text("access.token.claim") == Some("false") {
            client.not_taken(&self.line, "it does not add to access tokens");
            return;
        }
        let value = match self.text("jsonType.label") {
            None | Some("String") => Some(json!(text)),
            Some("boolean") => text.parse::<bool>().ok().map(Value::from),
            Some("int" | "long") => text.parse::<i64>().ok().map(Value::from),
            Some(_) => serde_json::from_str(text).ok(),
        };
        let Some(value) = value.filter(|_| !name.contains(['.', '\\'])) else {
            client.not_taken(
                &self.line,
                "its name has dots, or its value is not of its type; write it into access_token_claims yourself",
            );
            return;
        };
        client.claim(&self.line, name, value);
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.config.get(name).and_then(Value::as_str)
    }
}

impl Client {
    fn claim(&mut self, taken: &Taken<()>, name: &str, value: Value) {
        let mut claims = self.member("access_token_claims").and_then(Value::as_object).cloned().unwrap_or_default();
        claims.insert(name.to_owned(), value);
        match Value::Object(claims.clone()).to_string().parse::<CustomClaims>() {
            Ok(_) => {
                self.set("access_token_claims", Value::Object(claims));
                self.taken(taken, "access_token_claims");
            }
            Err(refused) => self.not_taken(taken, refused.to_string()),
        }
    }
}
