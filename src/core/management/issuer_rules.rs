//! What an issuer has to be that a realm is to trust.

use crate::core::realm::Realm;
use crate::core::trust::issuer::{IssuerKeys, IssuerKind, IssuerName, IssuerUrl, TrustedIssuer};

/// Why an issuer cannot be trusted so. The texts say what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIssuer {
    /// The realm has it under another name.
    #[error("the realm trusts this issuer already, under the name '{0}'; two of one issuer could not be told apart")]
    UrlTaken(IssuerName),
    /// Its name says that it is of another kind.
    #[error("'{issuer}' is an issuer of kind {known}, and not of kind {kind}")]
    OtherKind {
        /// The issuer.
        issuer: IssuerUrl,
        /// What was asked for.
        kind: IssuerKind,
        /// What it is.
        known: IssuerKind,
    },
    /// It is not AWS.
    #[error(
        "an issuer of kind aws is https://UUID.tokens.sts.global.api.aws to the letter, with a UUID in lower case; \
         `aws iam get-outbound-web-identity-federation-info` shows that of an account"
    )]
    NotSts,
    /// It is not a trust domain.
    #[error("an issuer of kind spiffe is a trust domain in lower case, such as spiffe://example.org")]
    NotTrustDomain,
    /// A trust domain has no metadata document.
    #[error(
        "the keys of a trust domain of SPIFFE are in its bundle, and nothing says where that is: give the address of its bundle \
         endpoint, or the bundle itself"
    )]
    NoBundle,
    /// It would be trusted on a caller's word.
    #[error("an issuer is registered with its keys, or with where they are")]
    Unregistered,
    /// Its tokens would all be too old, or of any age.
    #[error("the age of a token is 1 to {max} seconds", max = TrustedIssuer::LONGEST_AGE)]
    MaxAge,
    /// Nothing could be verified.
    #[error("the issuer has no key, so nothing that it signs could be verified")]
    NoKey,
    /// The realm's record has no room for it.
    #[error("a realm trusts at most {max} issuers", max = Realm::MAX_ISSUERS)]
    TooMany,
    /// The same, by their keys and certificates.
    #[error(
        "the issuers of the realm have more than {max} bytes together, with their keys and certificates, which every request would read; \
         have keys fetched in place of pinning them, or use another realm",
        max = Realm::MAX_ISSUERS_BYTES
    )]
    TooLarge,
}

/// Whether a realm may trust its issuers, one by one and all together.
pub(super) fn check(realm: &Realm) -> Result<(), InvalidIssuer> {
    let issuers = &realm.settings.trusted_issuers;
    if issuers.len() > Realm::MAX_ISSUERS {
        return Err(InvalidIssuer::TooMany);
    }
    issuers.iter().try_for_each(check_one)?;
    let bytes = serde_json::to_vec(issuers).map_or(usize::MAX, |record| record.len());
    if bytes > Realm::MAX_ISSUERS_BYTES { Err(InvalidIssuer::TooLarge) } else { Ok(()) }
}

fn check_one(trusted: &TrustedIssuer) -> Result<(), InvalidIssuer> {
    let TrustedIssuer { issuer, kind, keys, max_age, .. } = trusted;
    match issuer.known_kind() {
        Some(known) if known != *kind => {
            return Err(InvalidIssuer::OtherKind { issuer: issuer.clone(), kind: *kind, known });
        }
        None if *kind == IssuerKind::Aws => return Err(InvalidIssuer::NotSts),
        None if *kind == IssuerKind::Spiffe => return Err(InvalidIssuer::NotTrustDomain),
        _ => {}
    }
    if max_age.is_some_and(|age| !(1..=TrustedIssuer::LONGEST_AGE).contains(&age)) {
        return Err(InvalidIssuer::MaxAge);
    }
    match keys {
        IssuerKeys::Discovery { .. } if issuer.is_spiffe() => Err(InvalidIssuer::NoBundle),
        IssuerKeys::Jwks(pinned) if pinned.keys().next().is_none() => Err(InvalidIssuer::NoKey),
        IssuerKeys::Unregistered { .. } => Err(InvalidIssuer::Unregistered),
        IssuerKeys::Jwks(_) | IssuerKeys::JwksUri(_) | IssuerKeys::Discovery { .. } => Ok(()),
    }
}
