//! Whom a token is for: rows X-* of docs/protocol-cases.md (RFC 8707).

use serde_json::{Value, json};

use crate::support::cli::{Registered, percent_encode_all};
use crate::support::http::{Answer, Request};
use crate::support::jwt::{parts, verify};
use crate::support::shared::{ALPHA, STATELESS_JWT, STORED_JWT, issuer, shared};
use crate::support::{NOTICED_WITHIN, each_row, poll};

const ORDERS: &str = "https://api.example.com/orders";
const BILLING: &str = "https://api.example.com/billing?tenant=1";
const URN: &str = "urn:example:reports";

/// A client of each form that is registered for `resources`.
fn clients(id: &str, resources: &[&str]) -> [Registered; 3] {
    let resources = resources.iter().flat_map(|resource| ["--resource", resource]);
    let settings: Vec<&str> =
        ["--scope", "read write", "--default-scope", "write"].into_iter().chain(resources).collect();
    let register = |form: &str, more: &[&str]| {
        shared().store.register("alpha", &format!("{id}-{form}"), &[&settings[..], more].concat())
    };
    [register("opaque", &[]), register("stored", &STORED_JWT), register("stateless", &STATELESS_JWT)]
}

fn ask(client: &Registered, resources: &[&str]) -> Answer {
    let named: Vec<String> = resources.iter().map(|value| format!("resource={}", percent_encode_all(value))).collect();
    shared().server.token_request(client, &named.join("&"))
}

/// `aud` as introspection and, in a JWT, the token itself say it.
#[track_caller]
fn audience(client: &Registered, answer: &Answer) -> Value {
    let token = answer.assert_granted("write");
    let aud = shared().server.introspect(client, &token).assert_active()["aud"].clone();
    if !token.starts_with("gwt_") {
        assert_eq!(parts(&token).1["aud"], aud);
    }
    aud
}

#[test]
fn x_01_x_02_x_06_a_token_is_for_the_resources_named_or_else_the_first_registered() {
    for client in &clients("x01", &[ORDERS, BILLING, URN]) {
        each_row(
            [
                ("X-06 none", (vec![], json!(ORDERS))),
                ("X-01 the default", (vec![ORDERS], json!(ORDERS))),
                ("X-01 another", (vec![BILLING], json!(BILLING))),
                ("X-01 no URL", (vec![URN], json!(URN))),
                ("X-02 two", (vec![ORDERS, BILLING], json!([ORDERS, BILLING]))),
                ("X-02 two, the other way round", (vec![BILLING, ORDERS], json!([BILLING, ORDERS]))),
                ("X-02 all", (vec![URN, ORDERS, BILLING], json!([URN, ORDERS, BILLING]))),
                ("X-02 one, twice", (vec![BILLING, BILLING], json!(BILLING))),
                ("X-02 two, one of them twice", (vec![ORDERS, URN, ORDERS], json!([ORDERS, URN]))),
                ("X-03 an empty one", (vec![""], json!(ORDERS))),
                ("X-03 an empty one beside another", (vec!["", BILLING], json!(BILLING))),
                ("X-03 another beside an empty one", (vec![BILLING, ""], json!(BILLING))),
            ],
            |(named, expected)| assert_eq!(audience(client, &ask(client, &named)), expected),
        );
    }
}

#[test]
fn x_03_x_04_a_resource_that_is_none_or_not_the_clients_is_invalid_target() {
    let long = format!("https://api.example.com/{}", "x".repeat(600));
    for client in &clients("x03", &[ORDERS, BILLING]) {
        each_row(
            [
                ("X-03 relative", vec!["/orders"]),
                ("X-03 without a scheme", vec!["//api.example.com/orders"]),
                ("X-03 a word", vec!["canary"]),
                ("X-03 a fragment", vec!["https://api.example.com/orders#canary"]),
                ("X-03 an empty fragment", vec!["https://api.example.com/orders#"]),
                ("X-03 a space", vec!["https://api.example.com/or ders"]),
                ("X-03 a quotation mark", vec!["https://api.example.com/\"canary\""]),
                ("X-03 a control character", vec!["https://api.example.com/orders\n"]),
                ("X-03 not ASCII", vec!["https://api.example.com/é"]),
                ("X-03 too long", vec![&long]),
                ("X-04 another's", vec!["https://canary.example/"]),
                ("X-04 a slash more", vec!["https://api.example.com/orders/"]),
                ("X-04 another case", vec!["https://API.example.com/orders"]),
                ("X-04 its port named", vec!["https://api.example.com:443/orders"]),
                ("X-04 another scheme", vec!["http://api.example.com/orders"]),
                ("X-04 a part of one", vec!["https://api.example.com"]),
                ("X-04 below one", vec!["https://api.example.com/orders/1"]),
                ("X-04 another query", vec!["https://api.example.com/billing?tenant=2"]),
                ("X-04 the issuer", vec!["http://127.0.0.1/oauth2"]),
                ("X-04 one of its own, then another's", vec![ORDERS, "https://canary.example/"]),
                ("X-04 another's, then its own", vec!["https://canary.example/", ORDERS]),
                ("X-02 two in one", vec!["https://api.example.com/orders https://api.example.com/billing"]),
            ],
            |named| ask(client, &named).assert_400("invalid_target"),
        );
    }
}

#[test]
fn x_11_audience_is_another_name_for_resource() {
    let (orders, billing) = (percent_encode_all(ORDERS), percent_encode_all(BILLING));
    for client in &clients("x11", &[ORDERS, BILLING, URN]) {
        let ask = |parameters: &str| shared().server.token_request(client, parameters);
        each_row(
            [
                ("X-11 as Auth0 has it", (format!("audience={billing}"), json!(BILLING))),
                ("X-11 no URL", (format!("audience={URN}"), json!(URN))),
                ("X-11 as Hydra has it", (format!("audience={billing}+{URN}"), json!([BILLING, URN]))),
                ("X-11 more spaces than one", (format!("audience=%20{billing}%20%20{URN}%20"), json!([BILLING, URN]))),
                ("X-11 one twice", (format!("audience={URN}+{URN}"), json!(URN))),
                ("X-11 empty", ("audience=".to_owned(), json!(ORDERS))),
                ("X-11 empty beside resource", (format!("audience&resource={URN}"), json!(URN))),
                ("X-11 beside an empty resource", (format!("audience={URN}&resource="), json!(URN))),
                ("X-11 both the same", (format!("audience={URN}&resource={URN}"), json!(URN))),
                (
                    "X-11 both the same in another order",
                    (format!("audience={URN}+{orders}&resource={orders}&resource={URN}"), json!([ORDERS, URN])),
                ),
            ],
            |(parameters, expected)| assert_eq!(audience(client, &ask(&parameters)), expected),
        );
        each_row(
            [
                ("X-11 not the client's", "audience=https%3A%2F%2Fcanary.example".to_owned()),
                ("X-11 one of two not the client's", format!("audience={URN}+https%3A%2F%2Fcanary.example")),
                ("X-11 no URI", "audience=canary".to_owned()),
                ("X-11 a space", "audience=+".to_owned()),
                ("X-11 a tab between two", format!("audience={URN}%09{orders}")),
                ("X-11 a comma between two", format!("audience={URN},{orders}")),
                ("X-11 another than resource", format!("audience={URN}&resource={orders}")),
                ("X-11 more than resource", format!("audience={URN}+{orders}&resource={orders}")),
                ("X-11 less than resource", format!("audience={URN}&resource={orders}&resource={URN}")),
                ("X-11 right, and resource wrong", format!("audience={URN}&resource=canary")),
            ],
            |parameters| ask(&parameters).assert_400("invalid_target"),
        );
        ask(&format!("audience={URN}&audience={orders}")).assert_400("invalid_request");
        let in_query = format!("{ALPHA}/access_token?audience={URN}");
        let request = Request::form(&in_query, "grant_type=client_credentials").by(client);
        request.send(&shared().server).assert_400("invalid_request");
    }
    shared().server.token_request(&shared().app, "audience=urn%3Acanary").assert_400("invalid_target");
}

#[test]
fn x_06_a_client_without_resources_gets_tokens_for_the_issuer_and_may_name_none() {
    for client in &clients("x06", &[]) {
        let issuer = issuer(ALPHA);
        assert_eq!(audience(client, &ask(client, &[])), json!(issuer));
        for named in [ORDERS, issuer.as_str()] {
            ask(client, &[named]).assert_400("invalid_target");
        }
    }
    // Under the other name of the realm the issuer is another, and so is the audience.
    let client = &shared().stateless_app;
    let base = format!("/am{ALPHA}");
    let request = Request::form(&format!("{base}/access_token"), "grant_type=client_credentials").by(client);
    let token = request.send(&shared().server).assert_granted("write");
    verify(&token, &shared().server.jwks(&base), &self::issuer(&base), &self::issuer(&base));
}

#[test]
fn a_resource_is_looked_at_after_the_client_and_the_scope() {
    let [client, ..] = clients("x-order", &[ORDERS]);
    let named = "resource=https%3A%2F%2Fcanary.example";
    shared().server.token_request(&client.with_secret("wrong"), named).assert_401("alpha");
    shared().server.token_request(&client, &format!("scope=canary&{named}")).assert_400("invalid_scope");
    // Nobody puts it where logs are.
    let path = format!("{ALPHA}/access_token?{named}");
    let request = Request::form(&path, "grant_type=client_credentials").by(&client);
    request.send(&shared().server).assert_400("invalid_request");
}

#[test]
fn a_resource_that_a_client_loses_is_refused_and_is_no_audience_of_its_tokens() {
    let shared = shared();
    let [_, client, _] = clients("x-lost", &[ORDERS, BILLING]);
    let token = ask(&client, &[BILLING]).assert_granted("write");
    let of_both = ask(&client, &[ORDERS, BILLING]).assert_granted("write");
    shared.store.client("update", &client, &["--resource", ORDERS]);
    let refused = poll("the change is noticed", NOTICED_WITHIN, || {
        Some(ask(&client, &[BILLING])).filter(|answer| answer.status != 200)
    });
    refused.assert_400("invalid_target");
    shared.server.introspect(&client, &token).assert_inactive();
    assert_eq!(shared.server.introspect(&client, &of_both).assert_active()["aud"], ORDERS);
    assert_eq!(audience(&client, &ask(&client, &[])), json!(ORDERS));
}
