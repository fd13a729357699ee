//! The table of the metrics: a row each, in the order in which they are written.

/// What a metric is called and how it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name in CloudWatch.
    pub name: &'static str,
    /// In what it is measured.
    pub unit: Unit,
    /// By what it is split up, besides the function's name.
    pub split: Split,
    /// Who counts it.
    pub place: Place,
    /// What it says.
    pub help: &'static str,
}

/// Which processes have something to count under a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The functions and the local server.
    Everywhere,
    /// The functions only.
    Aws,
}

/// In what a metric is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// How often something happened.
    Count,
    /// How long it took.
    Milliseconds,
}

/// By what a metric is split up. Each value is a metric of its own that somebody pays for, so it is never a caller's word, and never
/// a client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// By nothing.
    Nothing,
    /// By the realm, where it is a registered one.
    Realm,
    /// By the reason of a refusal, which is one of few that this program knows.
    Reason,
}

impl Row {
    /// The name in Prometheus, where a local server counts it: its own in snake case, with what Prometheus asks a name to end with.
    pub fn prometheus_name(&self) -> Option<String> {
        let suffix = match (self.place, self.unit) {
            (Place::Aws, _) => return None,
            (Place::Everywhere, Unit::Count) => "_total",
            (Place::Everywhere, Unit::Milliseconds) => "_seconds",
        };
        let mut name = String::from("grantwell");
        for character in self.name.chars() {
            if character.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(character.to_ascii_lowercase());
        }
        Some(name + suffix)
    }
}

macro_rules! metrics {
    ($($name:ident, $unit:ident, $split:ident, $place:ident, $help:literal;)+) => {
        /// What is counted or measured.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Metric {
            $(#[doc = $help] $name,)+
        }

        impl Metric {
            /// Every metric.
            pub const ALL: [Self; [$(Self::$name),+].len()] = [$(Self::$name),+];

            /// Its row of the table.
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$name => Row {
                        name: stringify!($name),
                        unit: Unit::$unit,
                        split: Split::$split,
                        place: Place::$place,
                        help: $help,
                    },)+
                }
            }
        }
    };
}

metrics! {
    ColdStarts, Count, Nothing, Aws, "Invocations that were the first of their process.";
    Latency, Milliseconds, Nothing, Everywhere, "Time from the event to the answer.";
    RequestsRefused, Count, Reason, Everywhere, "Requests that were refused, whoever is to blame.";
    AnswersUnavailable, Count, Nothing, Everywhere, "Answers with status 503, or an authorizer's equivalent.";
    AnswersFailed, Count, Nothing, Everywhere, "Answers with status 500, or an authorizer's equivalent.";
    TokensIssued, Count, Realm, Everywhere, "Tokens issued.";
    TokensBeyondQuota, Count, Realm, Everywhere, "Tokens issued beyond a quota that is only observed.";
    IntrospectionsActive, Count, Nothing, Everywhere, "Tokens of which a caller was told that they are active.";
    IntrospectionsInactive, Count, Nothing, Everywhere, "Tokens of which a caller was told that they are not active.";
    TokensRevoked, Count, Nothing, Everywhere, "Tokens that ended before their time.";
    AccessAllowed, Count, Nothing, Aws, "Requests that an authorizer let pass.";
    AccessDenied, Count, Reason, Aws, "Requests that an authorizer turned away.";
    ClientSecretsRotated, Count, Nothing, Aws, "Client secrets that a rotation made current.";
    SigningKeysRotated, Count, Nothing, Aws, "Sets of signing keys that a rotation made current.";
    RotationsFailed, Count, Nothing, Aws, "Rotation steps that failed.";
    SigningKeysOverdue, Count, Nothing, Aws, "Realms whose signing keys the schedule could not look at or replace; 0 where all is well.";
    ClientCacheHits, Count, Nothing, Everywhere, "Look-ups of a registration that needed no call.";
    ClientCacheMisses, Count, Nothing, Everywhere, "Look-ups of a registration that needed one.";
    RealmCacheHits, Count, Nothing, Everywhere, "Look-ups of a realm that needed no call.";
    RealmCacheMisses, Count, Nothing, Everywhere, "Look-ups of a realm that needed one.";
    SecretCacheHits, Count, Nothing, Everywhere, "Look-ups of a client's secret that needed no call.";
    SecretCacheMisses, Count, Nothing, Everywhere, "Look-ups of a client's secret that needed one.";
    VerificationKeyCacheHits, Count, Nothing, Everywhere, "Look-ups of a realm's public keys that needed no call.";
    VerificationKeyCacheMisses, Count, Nothing, Everywhere, "Look-ups of a realm's public keys that needed one.";
    SigningKeyCacheHits, Count, Nothing, Everywhere, "Look-ups of a realm's private keys that needed no call.";
    SigningKeyCacheMisses, Count, Nothing, Everywhere, "Look-ups of a realm's private keys that needed calls.";
    RemoteKeyCacheHits, Count, Nothing, Everywhere, "Look-ups of the keys of a client's jwks_uri that needed no call.";
    RemoteKeyCacheMisses, Count, Nothing, Everywhere, "Look-ups of the keys of a client's jwks_uri that needed calls.";
    RemoteKeyFetchesFailed, Count, Nothing, Everywhere, "Fetches of a jwks_uri that brought no key that verifies.";
    DynamoDbCalls, Count, Nothing, Aws, "Attempts of calls to DynamoDB.";
    DynamoDbThrottles, Count, Nothing, Aws, "Attempts that DynamoDB throttled.";
    DynamoDbFailures, Count, Nothing, Aws, "Attempts that DynamoDB did not answer, or answered with a fault of its own.";
    SecretsManagerCalls, Count, Nothing, Aws, "Attempts of calls to Secrets Manager.";
    SecretsManagerThrottles, Count, Nothing, Aws, "Attempts that Secrets Manager throttled.";
    SecretsManagerFailures, Count, Nothing, Aws, "Attempts that Secrets Manager did not answer, or answered with a fault of its own.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_in_the_list_where_its_number_says_and_has_a_sentence() {
        for (position, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!(metric as usize, position, "{metric:?}");
            let Row { name, help, .. } = metric.row();
            assert_eq!(name, format!("{metric:?}"));
            assert!(help.ends_with('.') && !help.contains('\n'), "{help}");
        }
        assert_eq!(Metric::TokensIssued.row().prometheus_name().as_deref(), Some("grantwell_tokens_issued_total"));
        assert_eq!(Metric::Latency.row().prometheus_name().as_deref(), Some("grantwell_latency_seconds"));
        assert_eq!(Metric::DynamoDbCalls.row().prometheus_name(), None);
        // CloudWatch's embedded format allows 100 metrics a directive.
        assert!(Metric::ALL.len() <= 100);
    }
}
