//! Rules, and what they say of callers.

mod schema;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::aws::AwsCaller;
use super::identity::{Identity, IssuerToken};
use super::issuer::{IssuerKeys, IssuerKind, IssuerUrl, TrustedIssuer};
use super::role_arn::RoleArn;
use super::rule::TrustRules;
use super::sts::STS_CLAIMS;

const STS: &str = "https://a103a2cc-b461-473d-84fe-6c4f6d45af88.tokens.sts.global.api.aws";
const GITHUB: &str = "https://token.actions.githubusercontent.com";
const EKS: &str = "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE";
const ROLE: &str = "arn:aws:iam::111122223333:role/service/OrdersFunctionRole";

/// One rule, as it would be stored.
#[expect(clippy::needless_pass_by_value, reason = "it is given what json! has just made")]
fn rules(rule: Value) -> TrustRules {
    read(json!([rule])).expect("a rule")
}

fn read(rules: Value) -> Result<TrustRules, String> {
    serde_json::from_value(rules).map_err(|error| error.to_string())
}

/// One rule without its name, and why it is refused.
fn refusal(rule: Value) -> String {
    let Value::Object(mut members) = rule else { panic!("a rule is an object") };
    members.insert("name".into(), "x".into());
    let refused = read(json!([members])).expect_err("refused");
    refused.strip_prefix("rule 'x': ").expect("it says which rule").to_owned()
}

fn issuer(url: &str, kind: IssuerKind) -> TrustedIssuer {
    TrustedIssuer {
        name: "its".parse().expect("a name"),
        issuer: url.parse().expect("an issuer"),
        kind,
        keys: IssuerKeys::Discovery { allow_private_network: false, ca: None },
        algs: BTreeSet::new(),
        max_age: Some(600),
        single_use: true,
        managed_by: None,
    }
}

/// What the rule says of a token: nothing where it is satisfied.
fn of_token(rule: &Value, url: &str, claims: &Value) -> Vec<String> {
    of_token_of_age(rule, url, claims, Some(1))
}

fn of_token_of_age(rule: &Value, url: &str, claims: &Value, age: Option<u64>) -> Vec<String> {
    let issuer = issuer(url, IssuerKind::Oidc);
    let claims = claims.as_object().expect("claims");
    shortfalls(rule, Identity::Token(IssuerToken { issuer: &issuer, claims, age }))
}

fn of_caller(rule: &Value, caller: &AwsCaller) -> Vec<String> {
    shortfalls(rule, Identity::AwsCaller(caller))
}

fn shortfalls(rule: &Value, identity: Identity<'_>) -> Vec<String> {
    let mut rule = rule.clone();
    rule["name"] = "x".into();
    let rules = rules(rule);
    let [verdict] = rules.verdicts(identity).try_into().expect("one rule");
    assert_eq!(rules.admitting(identity).is_some(), verdict.shortfalls.is_empty());
    verdict.shortfalls.iter().map(ToString::to_string).collect()
}

fn caller() -> AwsCaller {
    AwsCaller {
        partition: "aws".into(),
        account: "111122223333".into(),
        role: "OrdersFunctionRole".into(),
        role_id: Some("AROAEXAMPLEEXAMPLE1234".into()),
        organization: Some("o-a1b2c3d4e5".into()),
    }
}

/// As AWS STS writes it.
fn sts_claims() -> Value {
    json!({
        "aud": "https://auth.example.com/oauth2",
        "sub": ROLE,
        STS_CLAIMS: {
            "org_id": "o-a1b2c3d4e5",
            "aws_account": "111122223333",
            "ou_path": ["o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/ou-ab12-22222222/"],
            "original_session_exp": "2026-01-20T21:13:04Z",
            "source_region": "eu-central-1",
            "principal_id": ROLE,
            "principal_tags": {"team": "billing", "stage": "prod"},
            "request_tags": {"team": "everything"},
            "lambda_source_function_arn": "arn:aws:lambda:eu-central-1:111122223333:function:orders",
        },
        "iss": STS, "exp": 1_768_922_583, "iat": 1_768_922_283, "jti": "b0d6c45e-a1db-4196-ad3c-e9e8ab3a09d8",
    })
}

fn sts_claims_with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = sts_claims();
    change(&mut claims);
    claims
}

#[expect(clippy::needless_pass_by_value, reason = "it is given what json! has just made")]
fn aws(members: Value) -> Value {
    json!({ "aws": members })
}

fn orders() -> Value {
    aws(json!({"account": "111122223333", "role": "OrdersFunctionRole"}))
}

#[test]
fn the_examples_of_the_format_admit_whom_they_name() {
    let billing = aws(json!({
        "organization": "o-a1b2c3d4e5", "organization_path": "o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/", "role": "Orders*",
        "tags": {"team": "billing"},
    }));
    let deploy = json!({"issuer": GITHUB, "claims": [
        {"path": ["repository_id"], "equals": "123456"}, {"path": ["environment"], "equals": "prod"},
    ]});
    let pod = json!({"issuer": EKS, "claims": [{"path": ["sub"], "equals": "system:serviceaccount:orders:api"}]});
    let github = json!({"sub": "repo:octo-org/app:environment:prod", "repository_id": "123456", "environment": "prod"});

    assert!(of_caller(&orders(), &caller()).is_empty());
    assert!(of_token(&orders(), STS, &sts_claims()).is_empty());
    assert!(of_token(&billing, STS, &sts_claims()).is_empty());
    assert!(of_token(&deploy, GITHUB, &github).is_empty());
    assert!(of_token(&pod, EKS, &json!({"sub": "system:serviceaccount:orders:api"})).is_empty());

    // Each of them is known to somebody else only.
    assert_eq!(of_caller(&billing, &caller()), ["aws.organization_path: absent", "aws.tags.team: absent"]);
    assert_eq!(
        of_token(&deploy, GITHUB, &json!({"repository_id": "654321"})),
        ["claims.repository_id: different", "claims.environment: absent",]
    );
    assert_eq!(of_caller(&pod, &caller()), ["issuer: absent", "claims.sub: absent"]);
    assert_eq!(of_token(&pod, EKS, &json!({"sub": "system:serviceaccount:orders:default"})), ["claims.sub: different"]);
    assert_eq!(of_token(&pod, GITHUB, &json!({"sub": "system:serviceaccount:orders:api"})), ["issuer: different"]);
}

#[test]
fn every_member_narrows_a_rule_about_a_caller_of_the_door() {
    let with = |change: &dyn Fn(&mut AwsCaller)| {
        let mut caller = caller();
        change(&mut caller);
        caller
    };
    let in_account = aws(json!({"account": "111122223333"}));
    let in_organization = aws(json!({"organization": "o-a1b2c3d4e5"}));
    let of_id = aws(json!({"account": "111122223333", "role_id": "AROAEXAMPLEEXAMPLE1234"}));
    let in_china = aws(json!({"account": "111122223333", "partition": "aws-cn"}));
    for (rule, caller, expected) in [
        (&in_account, caller(), vec![]),
        (&in_account, with(&|caller| caller.account = "444455556666".into()), vec!["aws.account: different"]),
        (&in_account, with(&|caller| caller.partition = "aws-cn".into()), vec!["aws.partition: different"]),
        (&in_china, with(&|caller| caller.partition = "aws-cn".into()), vec![]),
        (&in_china, caller(), vec!["aws.partition: different"]),
        (&in_organization, caller(), vec![]),
        (&in_organization, with(&|caller| caller.organization = None), vec!["aws.organization: absent"]),
        (
            &in_organization,
            with(&|caller| caller.organization = Some("o-zzzzzzzzzz".into())),
            vec!["aws.organization: different"],
        ),
        (&of_id, caller(), vec![]),
        // A role that is made again under the same name.
        (
            &of_id,
            with(&|caller| caller.role_id = Some("AROAANOTHERONE12345678".into())),
            vec!["aws.role_id: different"],
        ),
        (&of_id, with(&|caller| caller.role_id = None), vec!["aws.role_id: absent"]),
        (&orders(), with(&|caller| caller.role = "ordersfunctionrole".into()), vec!["aws.role: different"]),
        (&orders(), with(&|caller| caller.role = "OrdersFunctionRole2".into()), vec!["aws.role: different"]),
    ] {
        assert_eq!(of_caller(rule, &caller), expected, "{rule} {caller:?}");
    }
    let narrowed = json!({"aws": {"account": "111122223333"}, "claims": [{"path": ["sub"], "present": true}]});
    assert_eq!(of_caller(&narrowed, &caller()), ["claims.sub: absent"]);
    let absent = json!({"aws": {"account": "111122223333"}, "claims": [{"path": ["sub"], "present": false}]});
    assert_eq!(of_caller(&absent, &caller()), ["claims.sub: absent"]);
    assert!(
        of_caller(&json!({"aws": {"account": "111122223333"}, "max_age": 5, "single_use": true}), &caller()).is_empty()
    );
}

#[test]
fn claims_of_aws_are_believed_of_aws_alone() {
    for url in [
        "https://login.example.com",
        // Alike, and not the same.
        "https://a103a2cc-b461-473d-84fe-6c4f6d45af88.tokens.sts.global.api.aws.example.com",
        "https://a103a2cc-b461-473d-84fe-6c4f6d45af88.tokens.sts.global.api.aws:8443",
        "https://a103a2cc-b461-473d-84fe-6c4f6d45af88.tokens.sts.global.api.aws/",
        "https://a103a2cc-b461-473d-84fe-6c4f6d45af8.tokens.sts.global.api.aws",
        "https://a103a2ccxb461-473d-84fe-6c4f6d45af88.tokens.sts.global.api.aws",
        "https://a103a2cc.b461.473d.84fe.6c4f6d45af88.tokens.sts.global.api.aws",
        "https://a103a2cc-b461-473d-84fe-6c4f6d45af88.tokens.sts.global.xn--pi-7ia.aws",
        "https://a103a2cc-b461-473d-84fe-6c4f6d45af88-tokens.sts.global.api.aws",
        "https://example.com/a103a2cc-b461-473d-84fe-6c4f6d45af88.tokens.sts.global.api.aws",
    ] {
        assert_eq!(of_token(&orders(), url, &sts_claims()), ["issuer: different"], "{url}");
        let organization = aws(json!({"organization": "o-a1b2c3d4e5"}));
        assert_eq!(of_token(&organization, url, &sts_claims()), ["issuer: different"], "{url}");
    }
    // Whatever it was registered as.
    let elsewhere = TrustedIssuer { kind: IssuerKind::Aws, ..issuer("https://login.example.com", IssuerKind::Aws) };
    let claims = sts_claims();
    let token = IssuerToken { issuer: &elsewhere, claims: claims.as_object().expect("claims"), age: Some(1) };
    assert_eq!(shortfalls(&orders(), Identity::Token(token)), ["issuer: different"]);
}

#[test]
fn an_issuer_of_aws_that_nobody_has_registered_is_for_organizations_alone() {
    let unregistered = TrustedIssuer::of_sts(STS.parse::<IssuerUrl>().expect("an issuer")).expect("of AWS");
    let claims = sts_claims();
    let token = || IssuerToken { issuer: &unregistered, claims: claims.as_object().expect("claims"), age: Some(1) };
    let of = |rule: Value| shortfalls(&rule, Identity::Token(token()));
    assert_eq!(of(aws(json!({"organization": "o-a1b2c3d4e5"}))), Vec::<String>::new());
    assert_eq!(of(aws(json!({"organization": "o-a1b2c3d4e5", "account": "111122223333"}))), Vec::<String>::new());
    assert_eq!(of(orders()), ["issuer: different"]);
}

#[test]
fn a_token_of_aws_is_about_the_role_that_asked_for_it() {
    let of = |change: &dyn Fn(&mut Value)| of_token(&orders(), STS, &sts_claims_with(change));
    let said = |name: &'static str, value: Value| move |claims: &mut Value| claims[STS_CLAIMS][name] = value.clone();
    let without = |name: &'static str| {
        move |claims: &mut Value| {
            claims[STS_CLAIMS].as_object_mut().expect("an object").remove(name);
        }
    };
    let sub = |text: &'static str| {
        move |claims: &mut Value| {
            claims["sub"] = text.into();
            claims[STS_CLAIMS]["principal_id"] = text.into();
        }
    };

    // Also where the token does not name the role twice.
    assert!(of(&without("principal_id")).is_empty());
    // An origin identity, which an identity provider has spelled like a role.
    assert_eq!(of(&said("principal_id", "arn:aws:iam::111122223333:role/Other".into())), ["sub: different"]);
    assert_eq!(of(&|claims| claims["sub"] = "alice@example.com".into()), ["sub: different"]);
    assert_eq!(of(&said("principal_id", json!([ROLE]))), ["principal_id: not_text"]);
    assert_eq!(of(&|claims| claims["sub"] = json!({"role": ROLE})), ["sub: not_text"]);
    assert_eq!(of(&|claims| claims["sub"] = Value::Null), ["sub: not_text"]);
    // Another account than the role's.
    assert_eq!(of(&said("aws_account", "444455556666".into())), ["aws_account: different"]);
    assert_eq!(of(&said("aws_account", 111_122_223_333_u64.into())), ["aws_account: not_text"]);
    assert_eq!(of(&without("aws_account")), ["aws_account: absent"]);
    assert_eq!(of(&|claims| claims[STS_CLAIMS] = json!([1])), ["https://sts.amazonaws.com/: not_text"]);
    assert_eq!(of_token(&orders(), STS, &json!({"sub": ROLE})), ["https://sts.amazonaws.com/: absent"]);
    // The same role elsewhere.
    assert_eq!(
        of(&|claims| {
            sub("arn:aws:iam::444455556666:role/OrdersFunctionRole")(claims);
            claims[STS_CLAIMS]["aws_account"] = "444455556666".into();
        }),
        ["aws.account: different"]
    );
    assert_eq!(of(&sub("arn:aws-cn:iam::111122223333:role/OrdersFunctionRole")), ["aws.partition: different"]);
    // Nobody's role.
    for text in [
        "arn:aws:iam::111122223333:user/OrdersFunctionRole",
        "arn:aws:iam::111122223333:root",
        "arn:aws:sts::111122223333:federated-user/OrdersFunctionRole",
        "arn:aws:sts::111122223333:role/OrdersFunctionRole",
        "arn:aws:iam::111122223333:assumed-role/OrdersFunctionRole/x",
        "arn:aws:sts::111122223333:assumed-role/OrdersFunctionRole",
        "arn:aws:sts::111122223333:assumed-role/x/OrdersFunctionRole/y",
        "arn:aws:iam::111122223333:role/",
        "arn:aws:iam::111122223333:role",
        "arn:aws:iam::111122223333:roles/OrdersFunctionRole",
        "arn:aws:iam:eu-west-1:111122223333:role/OrdersFunctionRole",
        "arn:aws:iam::11112222333:role/OrdersFunctionRole",
        "arn:aws:iam::111122223333:role/OrdersFunctionRole\n",
        "arn:AWS:iam::111122223333:role/OrdersFunctionRole",
        "111122223333",
        "AROAEXAMPLEEXAMPLE1234:OrdersFunctionRole",
        "cognito-identity.amazonaws.com:us-east-1:00000000-0000-0000-0000-000000000000",
    ] {
        assert_eq!(of(&sub(text)), ["sub: not_a_role"], "{text}");
    }
    // What a session is called is its caller's to choose.
    assert_eq!(of(&sub("arn:aws:sts::111122223333:assumed-role/Evil/OrdersFunctionRole")), ["aws.role: different"]);
    assert!(of(&sub("arn:aws:sts::111122223333:assumed-role/OrdersFunctionRole/x")).is_empty());
    assert_eq!(of(&sub("arn:aws:iam::111122223333:role/OrdersFunctionRole/Evil")), ["aws.role: different"]);
}

#[test]
fn organizations_units_and_tags_are_what_aws_says_they_are() {
    let of = |rule: Value, change: &dyn Fn(&mut Value)| of_token(&aws(rule), STS, &sts_claims_with(change));
    let said = |name: &'static str, value: Value| move |claims: &mut Value| claims[STS_CLAIMS][name] = value.clone();
    let organization = || json!({"organization": "o-a1b2c3d4e5"});
    let unit = || json!({"organization": "o-a1b2c3d4e5", "organization_path": "o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/"});
    let tagged = || json!({"organization": "o-a1b2c3d4e5", "tags": {"team": "billing"}});

    assert!(of(organization(), &|_claims| {}).is_empty());
    assert_eq!(of(organization(), &said("org_id", Value::Null)), ["aws.organization: not_text"]);
    assert_eq!(of(organization(), &said("org_id", "o-zzzzzzzzzz".into())), ["aws.organization: different"]);
    assert_eq!(
        of(organization(), &|claims| _ = claims[STS_CLAIMS].as_object_mut().expect("an object").remove("org_id")),
        ["aws.organization: absent"]
    );

    assert!(of(unit(), &|_claims| {}).is_empty());
    // As AWS documents it, and right in the unit that is named.
    assert!(of(unit(), &said("ou_path", "o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/".into())).is_empty());
    let different = ["aws.organization_path: different"];
    assert_eq!(of(unit(), &said("ou_path", "o-a1b2c3d4e5/r-ab12/ou-ab12-11111111".into())), different);
    assert_eq!(of(unit(), &said("ou_path", json!(["o-a1b2c3d4e5/r-ab12/ou-ab12-111111112/"]))), different);
    assert_eq!(of(unit(), &said("ou_path", json!(["o-a1b2c3d4e5/r-ab12/"]))), different);
    assert_eq!(of(unit(), &said("ou_path", json!(["x/o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/"]))), different);
    assert_eq!(of(unit(), &said("ou_path", json!([]))), different);
    assert_eq!(of(unit(), &said("ou_path", json!([{"a": 1}]))), ["aws.organization_path: not_text"]);
    assert_eq!(of(unit(), &said("ou_path", json!({"a": 1}))), ["aws.organization_path: not_text"]);

    assert!(of(tagged(), &|_claims| {}).is_empty());
    // What the caller asks to have written into its token is nobody's word.
    let request_tags = |claims: &mut Value| {
        claims[STS_CLAIMS]["principal_tags"] = json!({});
        claims[STS_CLAIMS]["request_tags"] = json!({"team": "billing"});
    };
    assert_eq!(of(tagged(), &request_tags), ["aws.tags.team: absent"]);
    assert_eq!(of(tagged(), &said("principal_tags", json!({"team": "Billing"}))), ["aws.tags.team: different"]);
    assert_eq!(of(tagged(), &said("principal_tags", json!({"team": ["billing"]}))), ["aws.tags.team: not_text"]);
    assert_eq!(of(tagged(), &said("principal_tags", json!([{"team": "billing"}]))), ["aws.tags.team: not_text"]);

    let by_id = of(json!({"account": "111122223333", "role_id": "AROAEXAMPLEEXAMPLE1234"}), &|_claims| {});
    assert_eq!(by_id, ["aws.role_id: absent"]);
    let function = |name: &str| {
        let arn = format!("arn:aws:lambda:eu-central-1:111122223333:function:{name}");
        json!({"aws": {"account": "111122223333"}, "claims": [{"path": [STS_CLAIMS, "lambda_source_function_arn"], "equals": arn}]})
    };
    assert!(of_token(&function("orders"), STS, &sts_claims()).is_empty());
    let other = of_token(&function("other"), STS, &sts_claims());
    assert_eq!(other, ["claims.https://sts.amazonaws.com/.lambda_source_function_arn: different"]);
}

#[test]
fn a_rule_by_the_issuer_of_aws_is_about_roles_too() {
    let rule = json!({"issuer": STS, "claims": [{"path": ["sub"], "equals": ROLE}]});
    assert!(of_token(&rule, STS, &sts_claims()).is_empty());
    // The same text, spelled by an identity provider for somebody on whose behalf another role acts.
    let origin =
        sts_claims_with(|claims| claims[STS_CLAIMS]["principal_id"] = "arn:aws:iam::111122223333:role/Other".into());
    assert_eq!(of_token(&rule, STS, &origin), ["sub: different"]);
    let other = "https://b103a2cc-b461-473d-84fe-6c4f6d45af88.tokens.sts.global.api.aws";
    assert_eq!(of_token(&rule, other, &sts_claims()), ["issuer: different"]);
}

#[test]
fn claims_are_compared_by_their_text() {
    let of = |test: Value, claims: Value| {
        let mut test = test;
        test["path"] = json!(["a"]);
        let rule = json!({"issuer": "https://login.example.com", "claims": [test]});
        let found = of_token(&rule, "https://login.example.com", &claims);
        found.first().map_or("held".to_owned(), |found| found.replace("claims.a: ", ""))
    };
    let one = || json!({"equals": "1"});
    let read = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    for (test, claims, expected) in [
        (one(), json!({"a": "1"}), "held"),
        (one(), json!({"a": 1}), "held"),
        (json!({"equals": 1}), json!({"a": "1"}), "held"),
        (one(), read(r#"{"a":1.0}"#), "not_text"),
        (one(), read(r#"{"a":1e0}"#), "not_text"),
        (one(), json!({"a": "1.0"}), "different"),
        (one(), json!({"a": "01"}), "different"),
        (one(), json!({"a": " 1"}), "different"),
        (one(), json!({"a": ["1"]}), "not_text"),
        (one(), json!({"a": {"1": "1"}}), "not_text"),
        (one(), json!({"a": null}), "absent"),
        (one(), json!({"b": "1"}), "absent"),
        (json!({"equals": "18446744073709551615"}), read(r#"{"a":18446744073709551615}"#), "held"),
        // These two are one floating-point number.
        (json!({"equals": "18446744073709551616"}), read(r#"{"a":18446744073709551616}"#), "not_text"),
        (json!({"equals": "18446744073709551616"}), read(r#"{"a":18446744073709551617}"#), "not_text"),
        (json!({"equals": "-5"}), json!({"a": -5}), "held"),
        (json!({"equals": "0"}), read(r#"{"a":-0}"#), "not_text"),
        (json!({"equals": true}), json!({"a": true}), "held"),
        (json!({"equals": "true"}), json!({"a": true}), "held"),
        (json!({"equals": "true"}), json!({"a": "True"}), "different"),
        (json!({"equals": ""}), json!({"a": ""}), "held"),
        (json!({"in": ["x", 2]}), json!({"a": 2}), "held"),
        (json!({"in": ["x", "y"]}), json!({"a": "z"}), "different"),
        (json!({"in": ["x", "y"]}), json!({"a": ["x"]}), "not_text"),
        (json!({"glob": "r*"}), json!({"a": "red"}), "held"),
        (json!({"glob": "r*"}), json!({"a": ["red"]}), "not_text"),
        // A pattern is the rule's, never the caller's.
        (json!({"equals": "red"}), json!({"a": "r*"}), "different"),
        (json!({"equals": "r*"}), json!({"a": "red"}), "different"),
        (json!({"present": true}), json!({"a": []}), "held"),
        (json!({"present": true}), json!({"b": 1}), "absent"),
        (json!({"present": true}), json!({"a": null}), "not_text"),
        (json!({"present": false}), json!({"b": 1}), "held"),
        (json!({"present": false}), json!({"a": 1}), "different"),
        (json!({"present": false}), json!({"a": null}), "not_text"),
    ] {
        assert_eq!(of(test.clone(), claims.clone()), expected, "{test} {claims}");
    }
}

#[test]
fn no_path_goes_through_a_list() {
    let of = |test: Value, claims: Value| {
        let mut test = test;
        test["path"] = json!(["a.b", "c/d"]);
        let rule = json!({"issuer": "https://login.example.com", "claims": [test]});
        of_token(&rule, "https://login.example.com", &claims)
    };
    let equals = || json!({"equals": "x"});
    assert!(of(equals(), json!({"a.b": {"c/d": "x"}})).is_empty());
    for (claims, expected) in [
        (json!({"a.b": [{"c/d": "x"}]}), "claims.a.b.c/d: not_text"),
        (json!({"a.b": "x"}), "claims.a.b.c/d: not_text"),
        (json!({"a.b": null}), "claims.a.b.c/d: not_text"),
        (json!({"a": {"b": {"c/d": "x"}}}), "claims.a.b.c/d: absent"),
        (json!({"a.b.c/d": "x"}), "claims.a.b.c/d: absent"),
    ] {
        assert_eq!(of(equals(), claims.clone()), [expected], "{claims}");
    }
    // What is behind a list is not known to be absent.
    assert_eq!(of(json!({"present": false}), json!({"a.b": [{"c/d": "x"}]})), ["claims.a.b.c/d: not_text"]);
    assert!(of(json!({"present": false}), json!({"x": 1})).is_empty());
    // A list has no names, not even numbers.
    let rule = json!({"issuer": "https://login.example.com", "claims": [{"path": ["a", "0"], "equals": "x"}]});
    assert_eq!(of_token(&rule, "https://login.example.com", &json!({"a": ["x"]})), ["claims.a.0: not_text"]);
}

#[test]
fn a_rule_may_demand_a_younger_token() {
    let rule = json!({"aws": {"account": "111122223333"}, "max_age": 60});
    for (age, expected) in [(Some(60), vec![]), (Some(61), vec!["max_age: different"]), (None, vec!["max_age: absent"])]
    {
        assert_eq!(of_token_of_age(&rule, STS, &sts_claims(), age), expected, "{age:?}");
    }
}

#[test]
fn a_rule_that_only_observes_admits_nobody_and_says_what_it_would_have_done() {
    let mut observing = orders();
    observing["name"] = "observing".into();
    observing["mode"] = "observe".into();
    let mut enforced = orders();
    enforced["name"] = "enforced".into();
    let caller = caller();
    let identity = Identity::AwsCaller(&caller);

    let rules = read(json!([observing])).expect("rules");
    assert_eq!(rules.admitting(identity), None);
    assert!(rules.verdicts(identity).iter().all(|verdict| verdict.shortfalls.is_empty()));
    let rules = read(json!([observing, enforced])).expect("rules");
    assert_eq!(rules.admitting(identity).map(|rule| rule.name.as_str()), Some("enforced"));
}

#[test]
fn rules_are_written_as_they_were_read() {
    let written = json!([
        {"name": "a", "aws": {"account": "111122223333", "role": "svc-*", "role_id": "AROAEXAMPLEEXAMPLE1234"}, "mode": "observe"},
        {"name": "b", "aws": {"partition": "aws-cn", "organization": "o-a1b2c3d4e5",
            "organization_path": "o-a1b2c3d4e5/r-ab12/", "tags": {"team": "billing"}},
            "claims": [{"path": ["aud"], "present": true}, {"path": ["x"], "in": ["1", "true"]}], "max_age": 60, "single_use": true},
        {"name": "c", "issuer": GITHUB, "claims": [{"path": ["repository_id"], "equals": "1"}, {"path": ["ref"], "glob": "refs/*"}]},
    ]);
    let rules = read(written.clone()).expect("rules");
    assert_eq!(serde_json::to_value(&rules).expect("JSON"), written);
    // What is the same is written once.
    let usual = read(
        json!([{"name": "a", "aws": {"partition": "aws", "account": "111122223333"}, "mode": "enforce", "claims": []}]),
    );
    let usual = serde_json::to_value(usual.expect("a rule")).expect("JSON");
    assert_eq!(usual, json!([{"name": "a", "aws": {"account": "111122223333"}}]));
}

#[test]
fn each_refusal_says_what_is_missing() {
    let account = || json!({"account": "111122223333"});
    let claim = |test: Value| json!({"issuer": GITHUB, "claims": [test]});
    let with = |name: &str, value: Value| {
        let mut rule = account();
        rule[name] = value;
        aws(rule)
    };
    let head = "needs exactly one of \"aws\" and \"issuer\"";
    let account_form = "aws.account is the twelve digits of an AWS account, in quotes, such as \"111122223333\"";
    let path_form = "aws.organization_path begins with the organization and ends in /, such as o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/";
    let role_form = "aws.role is the role's name without its path and without an ARN: 1 to 64 characters of A-Z, a-z, 0-9 and \
                     _+=,.@-, in which * stands for any characters";
    let role_id_form =
        "aws.role_id is the unique id of a role, which begins with AROA: `aws iam get-role` shows it as RoleId";
    let claim_path = "the path of a claim is a list of 1 to 8 names, such as [\"sub\"], each of 1 to 256 characters";
    let one_test = "claim sub: needs exactly one of \"equals\", \"in\", \"glob\" and \"present\"";
    let never = |what: &str| {
        format!(
            "is never satisfied: a role's id is known only of callers that come through the IAM door, and {what} only \
             of those that present a token"
        )
    };
    for (rule, expected) in [
        (json!({}), head),
        (json!({"aws": account(), "issuer": GITHUB}), head),
        (
            json!({"aws": account(), "owner": "me"}),
            "there is no member 'owner'; there are name, aws, issuer, claims, max_age, single_use, mode",
        ),
        (with("rol", "x".into()), "aws: there is no member 'rol'; did you mean 'role'?"),
        (json!({"aws": account(), "mode": "log"}), "mode: has to be enforce or observe"),
        (
            aws(json!({"role": "x"})),
            "\"aws\" needs an account or an organization: without one, roles of every AWS account in the world would satisfy it",
        ),
        (aws(json!({"account": 111_122_223_333_u64})), "aws.account: has to be text: write it in quotes"),
        (aws(json!({"account": "11112222333"})), account_form),
        (aws(json!({"account": "*"})), account_form),
        (aws(json!({"account": "1111222233٣٣"})), account_form),
        (aws(json!({"organization": "o-*"})), "aws.organization is the id of an organization, such as o-a1b2c3d4e5"),
        (
            with("partition", "azure".into()),
            "aws.partition is the name of a partition, such as aws, aws-cn or aws-us-gov",
        ),
        (with("organization_path", "o-a1b2c3d4e5/r-ab12".into()), path_form),
        (with("organization_path", "r-ab12/ou-ab12-11111111/".into()), path_form),
        (with("organization_path", "o-a1b2c3d4e5/ou-ab12-11111111/".into()), path_form),
        (with("organization_path", "o-a1b2c3d4e5/*/".into()), path_form),
        (with("organization_path", "/".into()), path_form),
        (
            aws(json!({"organization": "o-zzzzzzzzzz", "organization_path": "o-a1b2c3d4e5/r-ab12/"})),
            "aws.organization_path begins with another organization than aws.organization names",
        ),
        (with("role", ROLE.into()), role_form),
        (with("role", "service/x".into()), role_form),
        (with("role", "".into()), role_form),
        (with("role", "a**".into()), role_form),
        (with("role_id", "AIDAEXAMPLEEXAMPLE123".into()), role_id_form),
        (with("role_id", "AROA*".into()), role_id_form),
        (with("tags", json!({"team": "b*"})), "aws.tags compares whole values: * is not a wildcard there"),
        (
            with("tags", json!({"": "b"})),
            "aws.tags has at most 50 tags; a key has 1 to 128 characters and a value at most 256",
        ),
        (with("tags", json!({"team": 7})), "aws.tags.team: has to be text: write it in quotes"),
        (
            aws(json!({"account": "111122223333", "role_id": "AROAEXAMPLEEXAMPLE1234", "tags": {"a": "b"}})),
            &never("its tags"),
        ),
        (
            json!({"aws": {"account": "111122223333", "role_id": "AROAEXAMPLEEXAMPLE1234"}, "claims": [{"path": ["sub"], "present": true}]}),
            &never("claims"),
        ),
        (json!({"aws": account(), "max_age": 0}), "max_age is 1 to 86400 seconds"),
        (json!({"aws": account(), "max_age": 86401}), "max_age is 1 to 86400 seconds"),
        (json!({"aws": account(), "max_age": -1}), "max_age: has to be a whole number of at least 0"),
        (claim(json!({"path": [], "equals": "x"})), claim_path),
        (claim(json!({"path": ["a", ""], "equals": "x"})), claim_path),
        (claim(json!({"path": ["a\n"], "equals": "x"})), claim_path),
        (claim(json!({"path": "sub", "equals": "x"})), "claims[0].path: has to be a list"),
        (claim(json!({"path": ["sub"]})), one_test),
        (claim(json!({"path": ["sub"], "equals": "x", "present": true})), one_test),
        (claim(json!({"path": ["sub"], "in": []})), "claim sub: \"in\" is a list of 1 to 64 texts"),
        (
            claim(json!({"path": ["sub"], "equals": 1.5})),
            "claims[0].equals: has to be text, a whole number, true or false",
        ),
        (
            claim(json!({"path": ["sub"], "equals": ["x"]})),
            "claims[0].equals: has to be text, a whole number, true or false, not a list",
        ),
        (
            claim(json!({"path": ["sub"], "glob": "**"})),
            "claim sub: '**' means nothing here: a '*' never crosses '/' or ':', so write one for each part",
        ),
        (
            claim(json!({"path": ["sub"], "equal": "x"})),
            "claims[0]: there is no member 'equal'; did you mean 'equals'?",
        ),
        (
            claim(json!({"path": [STS_CLAIMS, "aws_account"], "equals": "111122223333"})),
            "claim https://sts.amazonaws.com/.aws_account: claims under https://sts.amazonaws.com/ mean something in tokens of AWS STS only, and this rule is for another issuer",
        ),
        (
            json!({"aws": account(), "claims": [{"path": [STS_CLAIMS, "request_tags", "team"], "equals": "x"}]}),
            "claim https://sts.amazonaws.com/.request_tags.team: request_tags are chosen by whoever asks AWS for the token, so they prove nothing; test principal_tags",
        ),
    ] {
        assert_eq!(refusal(rule.clone()), expected, "{rule}");
    }
    let rule = |name: &str| json!({"name": name, "aws": {"account": "111122223333"}});
    assert_eq!(
        read(json!([rule("a"), rule("b"), rule("a")])),
        Err("two rules are named 'a'; give each a name of its own".into())
    );
    assert_eq!(
        read(json!([rule("a"), rule("b c")])),
        Err("rule 2: a rule's name has 1 to 64 characters of A-Z, a-z, 0-9, _, . and -".into())
    );
    assert_eq!(read(json!([{"aws": {"account": "111122223333"}}])), Err("rule 1: has to say its name".into()));
    let many = |count: usize| {
        read((0..count).map(|number| rule(&number.to_string())).collect::<Vec<_>>().into()).map(|_rules| ())
    };
    assert_eq!((many(50), many(51)), (Ok(()), Err("a client has at most 50 trust rules".into())));
    let texts: Vec<String> = (0..40).map(|number| format!("{number}{}", "x".repeat(1000))).collect();
    let large = json!([{"name": "a", "issuer": GITHUB, "claims": [{"path": ["repository_id"], "in": texts}]}]);
    assert_eq!(read(large), Err("the client's trust rules have more than 32768 characters together".into()));
}

#[test]
fn a_rule_pins_an_owner() {
    use IssuerKind::{Eks, Github, Gitlab, Kubernetes, Oidc, Spiffe};

    let checked = |url: &str, kind: IssuerKind, claims: Value| {
        let rules = rules(json!({"name": "x", "issuer": url, "claims": claims}));
        let checked = rules.check(&[issuer(url, kind)]).map_err(|refused| refused.to_string());
        checked.map_err(|refused| {
            refused.strip_prefix("rule 'x': ").expect("which rule").split(" needs ").next().expect("a half").to_owned()
        })
    };
    let claim = |name: &str, test: &str, value: Value| json!([{"path": [name], test: value}]);
    let no = |who: &str| Err(format!("pins no owner: a rule for {who}"));
    let never = |who: &str| Err(format!("is never satisfied: a rule for {who}"));
    let oidc = "https://login.example.com";
    for (url, kind, claims, expected) in [
        (GITHUB, Github, claim("repository_id", "equals", "123".into()), Ok(())),
        (GITHUB, Github, claim("repository_owner_id", "in", json!(["123", 456])), Ok(())),
        (GITHUB, Github, json!([]), no("GitHub")),
        // Names are given to somebody else once their owner gives them up.
        (GITHUB, Github, claim("repository", "equals", "octo-org/app".into()), no("GitHub")),
        (GITHUB, Github, claim("sub", "equals", "repo:octo-org/app:environment:prod".into()), no("GitHub")),
        (GITHUB, Github, claim("repository_id", "glob", "1*".into()), no("GitHub")),
        (GITHUB, Github, claim("repository_id", "present", true.into()), no("GitHub")),
        (GITHUB, Github, claim("repository_id", "equals", "octo-org/app".into()), never("GitHub")),
        // Known by its address, whatever it was registered as.
        (GITHUB, Oidc, claim("sub", "equals", "x".into()), no("GitHub")),
        ("https://github.example.com/_services/token", Github, claim("sub", "equals", "x".into()), no("GitHub")),
        ("https://gitlab.com", Oidc, claim("namespace_path", "equals", "group".into()), no("GitLab")),
        ("https://gitlab.com", Oidc, claim("namespace_id", "equals", 72.into()), Ok(())),
        ("https://gitlab.example.com", Gitlab, claim("project_id", "equals", "22".into()), Ok(())),
        (EKS, Oidc, claim("sub", "glob", "system:serviceaccount:orders:*".into()), no("Kubernetes")),
        (EKS, Eks, claim("sub", "equals", "system:serviceaccount:orders:*".into()), never("Kubernetes")),
        (EKS, Eks, claim("sub", "equals", "system:serviceaccount:orders:api".into()), Ok(())),
        // Named, so meant.
        (EKS, Eks, claim("sub", "equals", "system:serviceaccount:orders:default".into()), Ok(())),
        ("https://kubernetes.default.svc", Kubernetes, claim("sub", "present", true.into()), no("Kubernetes")),
        (
            "https://kubernetes.default.svc",
            Kubernetes,
            claim("sub", "in", json!(["system:serviceaccount:a:b", "a:b"])),
            never("Kubernetes"),
        ),
        ("spiffe://example.org", Oidc, claim("sub", "equals", "spiffe://example.org/orders/api".into()), Ok(())),
        ("spiffe://example.org", Spiffe, claim("sub", "glob", "spiffe://example.org/orders/*".into()), Ok(())),
        ("spiffe://example.org", Spiffe, claim("sub", "glob", "spiffe://example.org/*".into()), no("SPIFFE")),
        ("spiffe://example.org", Spiffe, claim("sub", "glob", "spiffe://example.org/orders/a*".into()), no("SPIFFE")),
        ("spiffe://example.org", Spiffe, claim("sub", "glob", "spiffe://example.org/*/api".into()), no("SPIFFE")),
        ("spiffe://example.org", Spiffe, claim("sub", "equals", "spiffe://example.org".into()), never("SPIFFE")),
        (
            "spiffe://example.org",
            Spiffe,
            claim("sub", "equals", "spiffe://example.organization/a".into()),
            never("SPIFFE"),
        ),
        ("spiffe://example.org", Spiffe, claim("sub", "equals", "spiffe://other.example/a".into()), never("SPIFFE")),
        ("https://spire.example.org", Spiffe, claim("sub", "equals", "spiffe://example.org/a".into()), Ok(())),
        ("https://spire.example.org", Spiffe, claim("sub", "equals", "a".into()), never("SPIFFE")),
        (STS, Oidc, claim("aud", "equals", "x".into()), no("an issuer of AWS STS")),
        (STS, Oidc, json!([{"path": [STS_CLAIMS, "aws_account"], "equals": "111122223333"}]), Ok(())),
        (STS, Oidc, claim("sub", "equals", ROLE.into()), Ok(())),
        (oidc, Oidc, claim("sub", "equals", "x".into()), Ok(())),
        (oidc, Oidc, json!([{"path": ["realm", "name"], "in": ["x"]}]), Ok(())),
    ] {
        assert_eq!(checked(url, kind, claims.clone()), expected, "{url} {claims}");
    }
    let everybody = "pins no owner: everybody who has a token of its issuer would satisfy it; add a test with \"equals\" or \"in\" of a \
                     claim that names the caller, such as sub";
    for claims in [
        json!([]),
        claim("sub", "glob", "*".into()),
        claim("iss", "equals", oidc.into()),
        claim("aud", "in", json!(["x"])),
    ] {
        assert_eq!(checked(oidc, Oidc, claims.clone()), Err(everybody.into()), "{claims}");
    }
}

#[test]
fn a_rule_names_an_issuer_of_the_realm_and_only_tightens_it() {
    let by_issuer = |max_age: u64| {
        rules(
            json!({"name": "x", "issuer": GITHUB, "max_age": max_age, "claims": [{"path": ["repository_id"], "equals": "1"}]}),
        )
    };
    let refused = by_issuer(60).check(&[issuer(EKS, IssuerKind::Eks)]).map_err(|refused| refused.to_string());
    assert_eq!(
        refused,
        Err(format!(
            "rule 'x': the realm does not trust the issuer {GITHUB}; register it first: grantwell issuer add --realm REALM NAME --issuer {GITHUB}"
        ))
    );
    let trusted = [issuer(GITHUB, IssuerKind::Github)];
    assert_eq!(by_issuer(600).check(&trusted), Ok(()));
    let refused = by_issuer(601).check(&trusted).map_err(|refused| refused.to_string());
    assert_eq!(refused, Err(
        "rule 'x': max_age is 601, and tokens of its issuer may be 600 seconds old at most; a rule can only tighten that".into()
    ));
    // Roles come through the door without an issuer, and an organization's issuers are known by their form.
    for rule in [orders(), aws(json!({"organization": "o-a1b2c3d4e5"}))] {
        let mut rule = rule;
        rule["name"] = "x".into();
        assert_eq!(rules(rule).check(&[]), Ok(()));
    }
}

#[test]
fn rules_for_organizations_stand_out() {
    let names = |rule: Value| {
        let mut rule = rule;
        rule["name"] = "x".into();
        let rules = rules(rule);
        (rules.admit_any_sts_issuer(), rules.of_whole_organizations().count() == 1)
    };
    assert_eq!(names(orders()), (false, false));
    assert_eq!(names(aws(json!({"organization": "o-a1b2c3d4e5", "tags": {"team": "x"}}))), (true, true));
    assert_eq!(
        names(aws(json!({"organization": "o-a1b2c3d4e5", "organization_path": "o-a1b2c3d4e5/r-ab12/"}))),
        (true, true)
    );
    let unit = json!({"organization": "o-a1b2c3d4e5", "organization_path": "o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/"});
    assert_eq!(names(aws(unit)), (true, false));
    assert_eq!(names(aws(json!({"organization": "o-a1b2c3d4e5", "account": "111122223333"}))), (true, false));
    assert_eq!(names(json!({"issuer": GITHUB})), (false, false));
}

#[test]
fn a_session_is_reduced_to_its_role() {
    let arn = |text: &str| text.parse::<RoleArn>().map(|arn| (arn.partition, arn.account, arn.role)).ok();
    let role = |partition: &str, role: &str| Some((partition.to_owned(), "111122223333".to_owned(), role.to_owned()));
    assert_eq!(arn("arn:aws:sts::111122223333:assumed-role/Orders/i-0123456789"), role("aws", "Orders"));
    assert_eq!(arn("arn:aws-us-gov:sts::111122223333:assumed-role/Orders/a@b.example"), role("aws-us-gov", "Orders"));
    assert_eq!(
        arn("arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_x_1"),
        role("aws", "AWSReservedSSO_x_1")
    );
    assert_eq!(arn("arn:aws:sts::111122223333:assumed-role/Orders/a:b"), None);
    assert_eq!(arn("arn:aws:sts::111122223333:assumed-role/Orders/"), None);
}

#[test]
fn a_rule_that_names_an_issuer_of_aws_needs_that_it_is_registered() {
    let rules = rules(json!({"name": "x", "issuer": STS, "claims": [{"path": ["sub"], "equals": ROLE}]}));
    let claims = sts_claims();
    let claims = claims.as_object().expect("claims");
    let stranger = TrustedIssuer::of_sts(STS.parse::<IssuerUrl>().expect("an issuer")).expect("of AWS");
    for (issuer, expected) in [(issuer(STS, IssuerKind::Aws), true), (stranger, false)] {
        let identity = Identity::Token(IssuerToken { issuer: &issuer, claims, age: Some(1) });
        assert_eq!(rules.admitting(identity).is_some(), expected);
    }
}

#[test]
fn facts_of_aws_are_those_that_aws_has_said_and_not_the_callers_own_words() {
    let claims = sts_claims();
    let claims = claims.as_object().expect("claims");
    let (aws, other) = (issuer(STS, IssuerKind::Aws), issuer("https://login.example.com", IssuerKind::Oidc));
    let fact = |issuer: &TrustedIssuer, path: &[&str]| {
        Identity::Token(IssuerToken { issuer, claims, age: Some(1) }).fact(path)
    };
    assert_eq!(fact(&aws, &[STS_CLAIMS, "principal_tags", "team"]), Some(json!("billing")));
    assert_eq!(fact(&aws, &[STS_CLAIMS, "request_tags", "team"]), None);
    assert_eq!(fact(&other, &["sub"]), Some(json!(ROLE)));
    for name in ["aws_account", "org_id", "principal_id"] {
        assert_eq!(fact(&other, &[STS_CLAIMS, name]), None, "{name}");
    }
}
