//! Why a request was refused, or a token is not active: the one spelling of each in the log, in metrics and in the documents. A closed
//! set, and nothing in it is a caller's word. What the caller is told is less ([`super::error`]).

use std::fmt;

/// What reasons are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request to an endpoint was refused; some of these are why a token is not active, too.
    Refusal,
    /// A function was not given a request that it could hand to an endpoint.
    Function,
    /// A token is not active.
    Inactive,
    /// A protected resource turned a request away.
    Denial,
}

macro_rules! reasons {
    ($($kind:ident $name:ident = $text:literal, $help:literal;)+) => {
        /// A reason.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $help] $name,)+
        }

        impl Reason {
            /// Every reason.
            pub const ALL: [Self; [$(Self::$name),+].len()] = [$(Self::$name),+];

            /// What the log and the metrics call it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// Of what.
            pub const fn kind(self) -> Kind {
                match self {
                    $(Self::$name => Kind::$kind,)+
                }
            }

            /// What it means, in a sentence.
            pub const fn help(self) -> &'static str {
                match self {
                    $(Self::$name => $help,)+
                }
            }
        }
    };
}

reasons! {
    Refusal NoCredentials = "no_credentials", "The request has neither an Authorization header nor credentials in its body.";
    Refusal MalformedCredentials = "malformed_credentials", "The credentials cannot be decoded.";
    Refusal AuthMethodNotSupported = "auth_method_not_supported", "The server does not implement this way to authenticate.";
    Refusal AuthMethodNotRegistered = "auth_method_not_registered", "The client is registered for another method of authentication.";
    Refusal UnknownClient = "unknown_client", "The realm has no client of this id.";
    Refusal ClientDisabled = "client_disabled", "The client is disabled.";
    Refusal ClientSecretExpired = "client_secret_expired", "The secrets of the client have expired.";
    Refusal WrongSecret = "wrong_secret", "The secret is neither the current nor the previous one.";
    Refusal MalformedAssertion = "malformed_assertion", "The assertion is not a JWT that a client may authenticate with.";
    Refusal AssertionClaimsMalformed = "assertion_claims_malformed", "A claim of the assertion is missing or of the wrong type.";
    Refusal AssertionIssuerMismatch = "assertion_issuer_mismatch", "The assertion's iss is not its sub.";
    Refusal AssertionAudienceMismatch = "assertion_audience_mismatch", "The assertion is not for the issuer of this realm and path.";
    Refusal AssertionExpired = "assertion_expired", "The assertion's time is over.";
    Refusal AssertionNotYetValid = "assertion_not_yet_valid", "The assertion was made in the future.";
    Refusal AssertionLifetimeTooLong = "assertion_lifetime_too_long", "The assertion is valid for longer than the realm allows, or was made longer ago.";
    Refusal AssertionAlgorithmNotAllowed = "assertion_algorithm_not_allowed", "The client, the issuer of its token or the key may not sign with the assertion's algorithm.";
    Refusal AssertionKeyUnknown = "assertion_key_unknown", "The client, or the issuer of its token, has no key of the assertion's kid, or none of its algorithm.";
    Refusal AssertionKeyNotNamed = "assertion_key_not_named", "The client, or the issuer of its token, has several keys of the assertion's algorithm, and the assertion has no kid.";
    Refusal AssertionSignatureInvalid = "assertion_signature_invalid", "The assertion was not signed with a key of the client, or of the issuer of its token.";
    Refusal AssertionTooOld = "assertion_too_old", "The token of an issuer was made longer ago than the issuer's max_age.";
    Refusal AssertionReplayed = "assertion_replayed", "The assertion has been used before.";
    Refusal IssuerNotTrusted = "issuer_not_trusted", "The realm does not trust the token's issuer, or no trust rule of the client names it.";
    Refusal AwsCallerMissing = "aws_caller_missing", "AWS says nothing of a caller: the address does not demand a signature, or the request is a test of the console.";
    Refusal AwsCallerNotARole = "aws_caller_not_a_role", "The caller is a user, an account's root, a federated user or an identity of Cognito.";
    Refusal AwsCallerMalformed = "aws_caller_malformed", "What AWS says of the caller has an unknown form, or contradicts itself.";
    Refusal NoTrustRule = "no_trust_rule", "The caller is known, and satisfies none of the client's trust rules.";
    Refusal TooManyFailedAttempts = "too_many_failed_attempts", "The source has failed too often to authenticate as this client.";
    Refusal TokenQuotaExceeded = "token_quota_exceeded", "The client has been issued as many tokens as its quota allows.";
    Refusal InvalidRequest = "invalid_request", "A parameter, a header or the body is missing, repeated or malformed.";
    Refusal InvalidScope = "invalid_scope", "The scope is malformed, unknown or not the client's.";
    Refusal InvalidTarget = "invalid_target", "The resource is malformed or not the client's.";
    Refusal InvalidAuthorizationDetails = "invalid_authorization_details", "The server supports no authorization details.";
    Refusal UnauthorizedClient = "unauthorized_client", "The client is not registered for this grant type.";
    Refusal UnsupportedGrantType = "unsupported_grant_type", "The server implements the client credentials grant and the jwt-bearer grant only.";
    Refusal UnknownRealm = "unknown_realm", "There is no such realm.";
    Refusal PayloadTooLarge = "payload_too_large", "The body is larger than 64 KiB.";
    Refusal RequestTimeout = "request_timeout", "The body did not arrive in time.";
    Refusal UnsupportedContentEncoding = "unsupported_content_encoding", "The body is compressed.";
    Refusal UnsupportedTransferCoding = "unsupported_transfer_coding", "The body is in a transfer coding other than chunked.";
    Refusal InvalidHost = "invalid_host", "The request does not name one host.";
    Refusal MethodNotAllowed = "method_not_allowed", "The path does not support the method.";
    Refusal NotFound = "not_found", "The path does not exist.";
    Function MalformedRequest = "malformed_request", "A function was invoked with an event that is not a request.";
    Function PastTheFront = "past_the_front", "The request did not come through what stands in front of the API.";
    Refusal OutOfTime = "out_of_time", "The request was not decided in time.";
    Refusal TemporarilyUnavailable = "temporarily_unavailable", "A store could not be asked.";
    Refusal ServerError = "server_error", "A stored item cannot be read, or the server failed otherwise.";
    Inactive UnknownToken = "unknown_token", "The text is not a token of this server: of another form, or not signed by a key of this realm.";
    Inactive NoRecord = "no_record", "The text has the form of a token, and there is no record of it: it has expired and been erased, its record was lost, or it never was.";
    Inactive Expired = "expired", "The token's time is over.";
    Inactive Revoked = "revoked", "The token was revoked.";
    Inactive ClientTokensRevoked = "client_tokens_revoked", "The tokens of the client were revoked all at once since.";
    Inactive RealmTokensRevoked = "realm_tokens_revoked", "The tokens of the realm were revoked all at once since.";
    Inactive RevocationsLost = "revocations_lost", "The token is older than the list of revocations, so that nobody knows whether it was revoked.";
    Inactive OtherRealm = "other_realm", "The token is another realm's.";
    Inactive OtherRegistration = "other_registration", "The client was deleted and registered again since.";
    Inactive ScopeWithdrawn = "scope_withdrawn", "The client may have none of the token's scopes any more.";
    Inactive ResourceWithdrawn = "resource_withdrawn", "The client may name none of the token's resources any more.";
    Inactive CallerMayNotIntrospect = "caller_may_not_introspect", "The token is another client's, and the caller has no scope to introspect it.";
    Inactive OtherIssuer = "other_issuer", "The token was issued under another URL or in another realm.";
    Inactive OtherAudience = "other_audience", "The token is meant for another resource.";
    Denial InvalidToken = "invalid_token", "A protected resource was shown a token that is malformed or not active.";
    Denial InsufficientScope = "insufficient_scope", "The token does not have the scope of the route.";
    Denial NoSuchRoute = "no_such_route", "The configuration of the authorizer does not name the route.";
    Denial PathHasOtherSpellings = "path_has_other_spellings", "The route can only be guessed from a path that could be written in another way.";
    Denial PathIsAPattern = "path_is_a_pattern", "The path would be a pattern in the policy that lets it pass.";
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_is_in_snake_case_and_has_a_name_and_a_sentence_of_its_own() {
        for reason in Reason::ALL {
            let text = reason.as_str();
            assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{text}");
            assert!(reason.help().ends_with('.') && !reason.help().contains('\n'), "{text}");
        }
        let names: BTreeSet<_> = Reason::ALL.map(Reason::as_str).into();
        assert_eq!(names.len(), Reason::ALL.len());
    }
}
