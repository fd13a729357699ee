//! `grantwell trust explain`.

use std::fmt::Write as _;

use serde::Serialize;

use grantwell::core::assertion::AssertionProblem;
use grantwell::core::client::Client;
use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::id::ClientId;
use grantwell::core::client_auth::examination::{Check, Outcome};
use grantwell::core::trust::demand::{Demand, ShortfallReason};
use grantwell::core::trust::rule::{RuleMode, TrustRule};
use grantwell::core::trust::suggestion;
use grantwell::core::trust::written::WrittenRule;

use super::caller::{CallerArguments, Facts, KnownCaller};
use crate::columns::Columns;
use crate::failure::Failure;
use crate::output::OutputArguments;
use crate::store::Place;
use crate::terminal::{self, printable_line};

#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The client that the caller would be
    #[arg(long, value_name = "ID")]
    client: ClientId,
    #[command(flatten)]
    caller: CallerArguments,
    /// The issuer that the request would address, which the token has to be for, such as https://auth.example.com/oauth2 [default: not
    /// checked]
    #[arg(long, value_name = "URL", conflicts_with = "context")]
    audience: Option<String>,
    #[command(flatten)]
    output: OutputArguments,
}

/// What came of it.
#[derive(Serialize)]
struct Explanation<'a> {
    client_id: &'a ClientId,
    realm: &'a str,
    /// The first rule by which the caller is the client; null where it is not.
    admitted_by: Option<&'a str>,
    /// What a server looks at before any rule.
    checks: Vec<CheckRow>,
    rules: Vec<RuleRows<'a>>,
    /// A rule for this caller; null where there can be none.
    suggestion: Option<WrittenRule>,
}

#[derive(Serialize)]
struct CheckRow {
    of: &'static str,
    /// Null where it was not looked at.
    held: Option<bool>,
    why: Option<String>,
}

#[derive(Serialize)]
struct RuleRows<'a> {
    name: &'a str,
    mode: RuleMode,
    satisfied: bool,
    demands: Vec<DemandRow>,
}

#[derive(Serialize)]
struct DemandRow {
    of: String,
    held: bool,
    /// Null where it holds.
    why: Option<&'static str>,
    wanted: String,
    /// Null where it is not text.
    found: Option<String>,
}

impl Explain {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let management = store.management();
        let client = management.client(&place.realm, &self.client).await?;
        let realm = management.realm(&client.realm).await?;
        let caller = self.caller.read(&realm, self.audience.as_deref()).await?;
        let explanation = Explanation::of(&client, &caller);
        self.output.print(&explanation, Explanation::table)?;
        if explanation.admitted_by.is_some() { Ok(()) } else { Err(Failure::Told(NOT_ADMITTED)) }
    }
}

impl<'a> Explanation<'a> {
    fn of(client: &'a Client, caller: &KnownCaller) -> Self {
        let identity = caller.facts.identity();
        let method = match caller.facts {
            Facts::Token(_) => AuthMethod::WorkloadIdentity,
            Facts::Aws(_) => AuthMethod::AwsIam,
        };
        let mut checks = vec![CheckRow::of_client(client), CheckRow::of_method(client, method)];
        checks.extend(caller.checks.iter().map(|check| CheckRow::of(*check, caller.no_keys.as_deref())));
        let trust = &client.metadata.trust;
        let is_forged = caller.checks.iter().any(|check| check.of == "signature" && check.outcome.is_refused());
        let is_refused = checks.iter().any(|check| check.held == Some(false));
        let admitting = trust.admitting(identity).filter(|_| !is_refused);
        // Its issuer may let tokens be used again; the rule does not, and what cannot be remembered is used by nobody.
        let has_no_jti = match &caller.facts {
            Facts::Token(token) => !token.claims().get("jti").is_some_and(serde_json::Value::is_string),
            Facts::Aws(_) => false,
        };
        let cannot_be_once = has_no_jti && admitting.is_some_and(|rule| rule.single_use);
        if cannot_be_once {
            let why = "the rule takes each token once, and this one has no jti".to_owned();
            checks.push(CheckRow { of: "jti", held: Some(false), why: Some(why) });
        }
        let admitting = admitting.filter(|_| !cannot_be_once);
        Self {
            client_id: &client.client_id,
            realm: client.realm.as_str(),
            admitted_by: admitting.map(|rule| rule.name.as_str()),
            checks,
            rules: trust.as_slice().iter().map(|rule| RuleRows::of(rule, rule.demands(identity))).collect(),
            // Not of a token that nobody vouches for, and not where there is a rule already.
            suggestion: if admitting.is_none() && !is_forged { suggestion::rule_for(identity) } else { None },
        }
    }

    fn table(&self) -> String {
        let mut text = match self.admitted_by {
            Some(rule) if self.checks.iter().any(|check| check.held.is_none()) => {
                format!("Rule {rule} admits the caller as client {}, if what was not checked holds.\n", self.client_id)
            }
            Some(rule) => format!("Rule {rule} admits the caller as client {}.\n", self.client_id),
            None => format!("The caller is not client {}.\n", self.client_id),
        };
        let checks: Vec<Vec<String>> = self.checks.iter().map(CheckRow::cells).collect();
        let demands = self.rules.iter().map(|rule| rule.demands.iter().map(DemandRow::cells).collect());
        let demands: Vec<Vec<Vec<String>>> = demands.collect();
        let all: Vec<Vec<String>> = checks.iter().chain(demands.iter().flatten()).cloned().collect();
        let columns = Columns::fitting(&all, terminal::width());
        let rows = |rows: &[Vec<String>]| rows.iter().map(|cells| columns.row(cells)).collect::<String>();
        let _never_fails = write!(text, "\nBefore any rule\n{}", rows(&checks));
        if self.rules.is_empty() {
            text.push_str("\nThe client has no trust rules.\n");
        }
        for (rule, demands) in self.rules.iter().zip(&demands) {
            let satisfied = if rule.satisfied { "satisfied" } else { "not satisfied" };
            let observed = if rule.mode == RuleMode::Observe { ", only observed" } else { "" };
            let _never_fails = write!(text, "\nRule {}: {satisfied}{observed}\n{}", rule.name, rows(demands));
        }
        match self.suggestion.as_ref().map(serde_json::to_string) {
            Some(Ok(rule)) => {
                let _never_fails = write!(text, "\nA rule for this caller\n{}", printable_line(&rule));
            }
            _ if self.admitted_by.is_some() => {}
            _ => text.push_str("\nNo rule could be for this caller."),
        }
        text.trim_end().to_owned()
    }
}

impl CheckRow {
    fn of_client(client: &Client) -> Self {
        let held = client.is_active();
        Self { of: "client", held: Some(held), why: (!held).then(|| "the client is disabled".to_owned()) }
    }

    fn of_method(client: &Client, method: AuthMethod) -> Self {
        let held = client.allows_method(method);
        let why = || format!("the client is not registered for {}", method.as_str());
        Self { of: "method", held: Some(held), why: (!held).then(why) }
    }

    fn of(Check { of, outcome }: Check, no_keys: Option<&str>) -> Self {
        match outcome {
            Outcome::Held => Self { of, held: Some(true), why: None },
            Outcome::Failed(problem) => Self { of, held: Some(false), why: Some(in_words(problem).to_owned()) },
            Outcome::NotTrusted => {
                Self { of, held: Some(false), why: Some("the realm does not trust the token's issuer".to_owned()) }
            }
            Outcome::NotChecked if of == "signature" => Self { of, held: None, why: no_keys.map(str::to_owned) },
            Outcome::NotChecked if of == "jti" => {
                Self { of, held: None, why: Some("only the server knows whether it was used before".to_owned()) }
            }
            Outcome::NotChecked => {
                Self { of, held: None, why: Some("name the server's issuer with --audience".to_owned()) }
            }
        }
    }

    fn cells(&self) -> Vec<String> {
        let held = match self.held {
            Some(true) => "ok",
            Some(false) => "failed",
            None => "not checked",
        };
        vec![self.of.to_owned(), held.to_owned(), printable_line(self.why.as_deref().unwrap_or_default())]
    }
}

impl<'a> RuleRows<'a> {
    fn of(rule: &'a TrustRule, demands: Vec<Demand>) -> Self {
        Self {
            name: rule.name.as_str(),
            mode: rule.mode,
            satisfied: demands.iter().all(|demand| demand.why.is_none()),
            demands: demands.into_iter().map(DemandRow::of).collect(),
        }
    }
}

impl DemandRow {
    fn of(Demand { of, wanted, found, why }: Demand) -> Self {
        Self { of, held: why.is_none(), why: why.map(ShortfallReason::as_str), wanted, found }
    }

    fn cells(&self) -> Vec<String> {
        let text = match &self.found {
            Some(found) if found == &self.wanted => found.clone(),
            Some(found) => format!("wanted {}, found {found}", self.wanted),
            None => format!("wanted {}", self.wanted),
        };
        vec![printable_line(&self.of), self.why.unwrap_or("ok").to_owned(), printable_line(&text)]
    }
}

/// What is wrong with a token, whose keys are its issuer's.
fn in_words(problem: AssertionProblem) -> &'static str {
    match problem {
        AssertionProblem::Algorithm => "the issuer or its key does not sign with the token's algorithm",
        AssertionProblem::UnknownKey => "the issuer has no key of the token's kid, or none of its algorithm",
        AssertionProblem::UnnamedKey => {
            "the issuer has several keys of the token's algorithm, and the token has no kid"
        }
        AssertionProblem::Signature => "the token was not signed with a key of the issuer",
        other => other.reason().help(),
    }
}

/// The exit status where the caller is not the client.
const NOT_ADMITTED: u8 = 3;
