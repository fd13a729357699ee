//! Whose tokens a rule is about. An issuer signs for all of its customers: a rule that does not say which of them means everybody.

use super::claim_test::ClaimTest;
use super::issuer::{IssuerKind, IssuerUrl, TrustedIssuer};
use super::problem::{RuleProblem, Unpinned};
use super::sts::STS_CLAIMS;

/// Checks that the claims of a rule pin an owner.
///
/// # Errors
/// What is missing.
pub(super) fn check(issuer: &TrustedIssuer, claims: &[ClaimTest]) -> Result<(), RuleProblem> {
    // A name that tells its kind is what it is, whatever it was registered as.
    let kind = issuer.issuer.known_kind().unwrap_or(issuer.kind);
    let pinned = |path: &[&str]| claims.iter().filter_map(|claim| claim.pinned_at(path)).collect::<Vec<_>>();
    let is_any: fn(&str) -> bool = |_text| true;
    let (missing, owners, is_one) = match kind {
        IssuerKind::Github => (
            Unpinned::Github,
            [pinned(&["repository_id"]), pinned(&["repository_owner_id"])].concat(),
            is_number as fn(&str) -> bool,
        ),
        IssuerKind::Gitlab => {
            (Unpinned::Gitlab, [pinned(&["project_id"]), pinned(&["namespace_id"])].concat(), is_number as _)
        }
        IssuerKind::Kubernetes | IssuerKind::Eks => (Unpinned::Kubernetes, pinned(&["sub"]), is_service_account as _),
        IssuerKind::Spiffe => return check_spiffe(&issuer.issuer, claims),
        IssuerKind::Aws => {
            let of_aws = [pinned(&[STS_CLAIMS, "principal_id"]), pinned(&[STS_CLAIMS, "aws_account"])].concat();
            (Unpinned::Aws, [pinned(&["sub"]), of_aws].concat(), is_any)
        }
        IssuerKind::Oidc => {
            let pins = claims.iter().any(ClaimTest::pins_anything);
            return if pins { Ok(()) } else { Err(RuleProblem::NoOwner(Unpinned::Oidc)) };
        }
    };
    if owners.is_empty() {
        Err(RuleProblem::NoOwner(missing))
    } else if owners.into_iter().flatten().all(|text| is_one(text)) {
        Ok(())
    } else {
        Err(RuleProblem::NeverOwner(missing))
    }
}

/// A whole id of the trust domain, or a pattern for what is right below a path of it.
fn check_spiffe(trust_domain: &IssuerUrl, claims: &[ClaimTest]) -> Result<(), RuleProblem> {
    // SPIRE's OpenID Connect provider has an address of its own, which names no trust domain.
    let of_domain = |found: &IssuerUrl| found == trust_domain || !trust_domain.is_spiffe();
    let below = |id: &str| IssuerUrl::of_spiffe_id(id).is_some_and(|found| of_domain(&found));
    let whole: Vec<&[String]> = claims.iter().filter_map(|claim| claim.pinned_at(&["sub"])).collect();
    let patterns: Vec<&str> = claims.iter().filter_map(|claim| claim.glob_at(&["sub"])).collect();
    if !whole.is_empty() {
        let never = whole.into_iter().flatten().any(|id| !below(id));
        return if never { Err(RuleProblem::NeverOwner(Unpinned::Spiffe)) } else { Ok(()) };
    }
    let pins = |pattern: &&str| pattern.strip_suffix("/*").is_some_and(below);
    if patterns.iter().any(pins) { Ok(()) } else { Err(RuleProblem::NoOwner(Unpinned::Spiffe)) }
}

/// `system:serviceaccount:NAMESPACE:NAME`. An account that is named is meant, also where its name is `default`.
fn is_service_account(subject: &str) -> bool {
    let names = subject.strip_prefix("system:serviceaccount:").and_then(|names| names.split_once(':'));
    let named = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
    };
    names.is_some_and(|(namespace, name)| named(namespace) && named(name))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
