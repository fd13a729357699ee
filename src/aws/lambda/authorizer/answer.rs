//! What an authorizer answers: yes or no to an HTTP API, or the IAM policy that every kind of API understands.
//!
//! The context goes on to the API's own function and its access log, in `$context.authorizer`: who is calling and with what
//! scope, or why not. Never the token.

use serde_json::{Value, json};

use super::denied::Denied;
use super::event::RequestArn;
use super::routes::RouteScopes;
use crate::core::access_token::facts::TokenFacts;
use crate::core::scope::Scope;

/// Yes or no. The gateway keeps it for every route whose identity sources are the same.
pub(super) fn simple(decision: &Result<TokenFacts, Denied>) -> Value {
    json!({"isAuthorized": decision.is_ok(), "context": context(decision)})
}

/// The whole of what the token allows, as far as it can be listed: the gateway keeps a policy, and applies it to every
/// route that is then called with the same token.
///
/// So an answer about one route must not say too much about another, and should not say too little. It names this very
/// request, and each configured route without path parameters that the token allows too, all by their exact ARN. Nothing in
/// it is a pattern: IAM's `*` spans slashes, so that `GET/orders/*` would take in `GET/orders/42/payments`. A route with path
/// parameters therefore has no place in the answer about another one, and is denied while that one is kept.
///
/// A denial lists the same: a token that does not suffice for this request keeps what it is good for.
pub(super) fn policy(decision: &Result<TokenFacts, Denied>, arn: &RequestArn<'_>, scopes: &RouteScopes) -> Value {
    let token = decision.as_ref().map_or_else(Denied::token, Some);
    let listed = token.map_or_else(Vec::new, |token| listed(&token.scope, arn, scopes));
    let statement = |effect: &str, resources: Vec<String>| json!({"Effect": effect, "Action": "execute-api:Invoke", "Resource": resources});
    let mut statements = Vec::new();
    if decision.is_ok() {
        statements.push(statement("Allow", [vec![arn.text.to_owned()], listed].concat()));
    } else {
        // Of a request whose path is a pattern this denies more: to the token that came with it, and to no other.
        statements.push(statement("Deny", vec![arn.text.to_owned()]));
        if !listed.is_empty() {
            statements.push(statement("Allow", listed));
        }
    }
    json!({
        "principalId": token.map_or("unauthenticated", |token| &token.client_id),
        "policyDocument": {"Version": "2012-10-17", "Statement": statements},
        "context": context(decision),
    })
}

fn listed(granted: &Scope, arn: &RequestArn<'_>, scopes: &RouteScopes) -> Vec<String> {
    let others = scopes.allowed(arn.api, granted).into_iter().map(|(method, path)| arn.of(method, path));
    others.filter(|other| other != arn.text).collect()
}

/// Strings only, which is what both kinds of API take.
fn context(decision: &Result<TokenFacts, Denied>) -> Value {
    match decision {
        Ok(token) => {
            json!({"client_id": token.client_id, "sub": token.sub, "scope": token.scope.to_string()})
        }
        Err(denied) => json!({"reason": denied.reason().as_str()}),
    }
}
