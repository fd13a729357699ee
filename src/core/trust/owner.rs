//! Whose tokens a rule is about. An issuer signs for all of its customers: a rule that does not say which of them means everybody.

use super::claim_test::ClaimTest;
use super::issuer::{IssuerKind, IssuerUrl, TrustedIssuer};
use super::problem::{RuleProblem, Unpinned};
use super::sts::{STS_CLAIMS, is_sts_issuer};

/// Checks that the claims of a rule pin an owner.
///
/// # Errors
/// What is missing.
pub(super) fn check(issuer: &TrustedIssuer, claims: &[ClaimTest]) -> Result<(), RuleProblem> {
    let kind = kind_of(issuer);
    let pinned = |path: &[&str]| claims.iter().filter_map(|claim| claim.pinned_at(path)).collect::<Vec<_>>();
    let (missing, owners, is_one): (_, Vec<&[String]>, &dyn Fn(&str) -> bool) = match kind {
        IssuerKind::Github => {
            (Unpinned::Github, [pinned(&["repository_id"]), pinned(&["repository_owner_id"])].concat(), &is_number)
        }
        IssuerKind::Gitlab => {
            (Unpinned::Gitlab, [pinned(&["project_id"]), pinned(&["namespace_id"])].concat(), &is_number)
        }
        IssuerKind::Kubernetes | IssuerKind::Eks => (Unpinned::Kubernetes, pinned(&["sub"]), &is_service_account),
        IssuerKind::Spiffe => return check_spiffe(&issuer.issuer, claims),
        IssuerKind::Aws => {
            let of_aws = [pinned(&[STS_CLAIMS, "principal_id"]), pinned(&[STS_CLAIMS, "aws_account"])].concat();
            (Unpinned::Aws, [pinned(&["sub"]), of_aws].concat(), &|_text| true)
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

/// What is known of an issuer's tokens: an address that is known is what it is, whatever it was registered as.
fn kind_of(issuer: &TrustedIssuer) -> IssuerKind {
    let url = issuer.issuer.as_str();
    match url {
        _ if is_sts_issuer(&issuer.issuer) => IssuerKind::Aws,
        "https://token.actions.githubusercontent.com" => IssuerKind::Github,
        "https://gitlab.com" => IssuerKind::Gitlab,
        _ if url.starts_with(SPIFFE) => IssuerKind::Spiffe,
        _ if url.starts_with("https://oidc.eks.") || url.starts_with("https://oidc-eks.") => IssuerKind::Eks,
        _ => issuer.kind,
    }
}

/// A whole id of the trust domain, or a pattern for what is right below a path of it.
fn check_spiffe(trust_domain: &IssuerUrl, claims: &[ClaimTest]) -> Result<(), RuleProblem> {
    let below = |text: &str| {
        // SPIRE's OpenID Connect provider has an address of its own, which names no trust domain.
        let path = match trust_domain.as_str().starts_with(SPIFFE) {
            true => text.strip_prefix(trust_domain.as_str()),
            false => text.strip_prefix(SPIFFE).and_then(|id| id.find('/').and_then(|at| id.get(at..))),
        };
        path.is_some_and(is_spiffe_path)
    };
    let whole: Vec<&[String]> = claims.iter().filter_map(|claim| claim.pinned_at(&["sub"])).collect();
    let patterns: Vec<&str> = claims.iter().filter_map(|claim| claim.glob_at(&["sub"])).collect();
    if !whole.is_empty() {
        let never = whole.into_iter().flatten().any(|id| !below(id));
        return if never { Err(RuleProblem::NeverOwner(Unpinned::Spiffe)) } else { Ok(()) };
    }
    let pins = |pattern: &&str| pattern.strip_suffix("/*").is_some_and(below);
    if patterns.iter().any(pins) { Ok(()) } else { Err(RuleProblem::NoOwner(Unpinned::Spiffe)) }
}

/// What follows the trust domain in an id (SPIFFE-ID §2.2): names of `[A-Za-z0-9._-]`, none of them `.` or `..`.
fn is_spiffe_path(path: &str) -> bool {
    let named = |name: &str| {
        !matches!(name, "" | "." | "..")
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    path.strip_prefix('/').is_some_and(|names| names.split('/').all(named))
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

const SPIFFE: &str = "spiffe://";
