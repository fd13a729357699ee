//! Trust rules as somebody writes them.

use serde_json::{Value, json};

use grantwell::core::trust::aws::AwsCaller;
use grantwell::core::trust::identity::{Identity, IssuerToken};
use grantwell::core::trust::issuer::{IssuerKeys, IssuerKind, TrustedIssuer};
use grantwell::core::trust::rule::{RuleMode, TrustRules};

/// Rules that are read are written as they were read. A rule that nothing narrows to an account or an organization of AWS, or to an
/// owner at an issuer, admits nobody; and nobody is admitted by what only observes.
pub fn trust(input: &[u8]) {
    let Ok(written) = serde_json::from_slice::<Vec<Value>>(input) else { return };
    let Ok(rules) = TrustRules::parse(written) else { return };
    let stored = serde_json::to_value(&rules).expect("JSON");
    assert_eq!(serde_json::from_value::<TrustRules>(stored.clone()).expect("what was written"), rules);

    let caller = AwsCaller {
        partition: "aws".to_owned(),
        account: "111122223333".to_owned(),
        role: "svc-orders".to_owned(),
        role_id: Some("AROAEXAMPLEEXAMPLE1234".to_owned()),
        organization: Some("o-a1b2c3d4e5".to_owned()),
    };
    let github = TrustedIssuer::new(
        "github".parse().expect("a name"),
        "https://token.actions.githubusercontent.com".parse().expect("an issuer"),
        IssuerKind::Github,
        IssuerKeys::Discovery { allow_private_network: false, ca: None },
    );
    let claims = json!({"sub": "repo:octo-org/app:ref:refs/heads/main", "repository_id": "123456", "ref": "refs/heads/main"});
    let claims = claims.as_object().expect("claims");
    let token = Identity::Token(IssuerToken { issuer: &github, claims, age: Some(1) });

    let is_checked = rules.check(std::slice::from_ref(&github)).is_ok();
    for (identity, pins) in [(Identity::AwsCaller(&caller), ["111122223333", "o-a1b2c3d4e5"]), (token, ["123456", "123456"])] {
        let Some(rule) = rules.admitting(identity) else { continue };
        assert!(rule.mode == RuleMode::Enforce && rule.is_satisfied_by(identity));
        let written = serde_json::to_value(&rules).expect("JSON");
        let written = written.as_array().expect("a list").iter().find(|written| written["name"] == rule.name.as_str());
        let text = written.expect("the rule").to_string();
        let is_pinned = pins.iter().any(|pin| text.contains(pin));
        assert!(is_pinned || (matches!(identity, Identity::Token(_)) && !is_checked), "{text}");
    }
}
