//! What a rule for a caller could look like: as narrow as what is known of it stays the same from one of its requests to the next.

use super::aws::AwsCaller;
use super::identity::{Identity, IssuerToken};
use super::issuer::IssuerKind;
use super::role_arn::RoleArn;
use super::sts::StsRole;
use super::written::{RuleMode, WrittenAws, WrittenClaimTest, WrittenRule, WrittenText};

/// A rule for this caller; nothing where no rule could be for it, as for a user of AWS.
pub fn rule_for(identity: Identity<'_>) -> Option<WrittenRule> {
    match identity {
        Identity::AwsCaller(AwsCaller { partition, account, role, .. }) => {
            Some(for_role(&RoleArn { partition: partition.clone(), account: account.clone(), role: role.clone() }))
        }
        Identity::Token(token) if token.issuer.issuer.is_sts() => {
            StsRole::of(token.claims).ok().map(|role| for_role(&role.role))
        }
        Identity::Token(token) => for_token(token),
    }
}

/// Its account and its name. Not its id, which only one of the doors knows.
fn for_role(role: &RoleArn) -> WrittenRule {
    let aws = WrittenAws {
        partition: Some(role.partition.clone()).filter(|partition| partition != "aws"),
        account: Some(role.account.clone()),
        role: Some(role.role.clone()),
        ..WrittenAws::default()
    };
    WrittenRule { aws: Some(aws), ..named(&role.role) }
}

/// What pins an owner there, and what narrows it to the part of the owner's that has asked.
fn for_token(token: IssuerToken<'_>) -> Option<WrittenRule> {
    let kind = token.issuer.issuer.known_kind().unwrap_or(token.issuer.kind);
    let (owner, narrower): (&str, &[&str]) = match kind {
        IssuerKind::Github => ("repository_id", &["environment", "ref"]),
        IssuerKind::Gitlab => ("project_id", &["environment", "ref"]),
        IssuerKind::Eks | IssuerKind::Kubernetes | IssuerKind::Spiffe | IssuerKind::Oidc | IssuerKind::Aws => {
            ("sub", &[])
        }
    };
    let claim = |name: &str| {
        let text = super::claim_test::text_of(token.claims.get(name)?).ok()?;
        let equals = Some(WrittenText(text));
        Some(WrittenClaimTest { path: vec![name.to_owned()], equals, ..WrittenClaimTest::default() })
    };
    let owner = claim(owner)?;
    let narrower = narrower.iter().find_map(|name| claim(name));
    let name = match (&narrower, &owner.equals) {
        (Some(WrittenClaimTest { equals: Some(WrittenText(text)), .. }), _) | (None, Some(WrittenText(text))) => {
            text.clone()
        }
        _ => String::new(),
    };
    let issuer = Some(token.issuer.issuer.as_str().to_owned());
    Some(WrittenRule { issuer, claims: [Some(owner), narrower].into_iter().flatten().collect(), ..named(&name) })
}

/// A rule that is called after the last part of a text.
fn named(text: &str) -> WrittenRule {
    let last = text.rsplit(['/', ':']).find(|part| !part.is_empty()).unwrap_or_default();
    let fit = |character: char| {
        if character.is_ascii_alphanumeric() || matches!(character, '_' | '.' | '-') { character } else { '-' }
    };
    let name: String = last.chars().take(64).map(fit).collect();
    WrittenRule {
        name: if name.is_empty() { "caller".to_owned() } else { name },
        aws: None,
        issuer: None,
        claims: Vec::new(),
        max_age: None,
        single_use: false,
        mode: RuleMode::default(),
    }
}
