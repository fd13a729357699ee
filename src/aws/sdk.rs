//! How this server calls AWS: whose credentials, how long it waits, how often it tries again, and what the port learns of
//! a failure.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_config::environment::credentials::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_secretsmanager::Client as SecretsManager;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::os_shim_internal::Env;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::trust;
use crate::config;
use crate::core::port_error::PortError;
use crate::observe::event::{Attempt, Service};
use crate::observe::{Event, Observer};

/// The service's name in errors.
pub(super) const DYNAMODB: &str = "DynamoDB";
/// The service's name in errors.
pub(super) const SECRETS_MANAGER: &str = "Secrets Manager";

/// Configuration for a Lambda function: region and credentials are in its environment, so neither files nor the instance
/// metadata service are asked during a cold start.
///
/// Endpoints follow `AWS_ENDPOINT_URL` and its variants for one service, as in every AWS SDK. Amazon's are trusted by Amazon's
/// own roots, others by the system's.
pub async fn for_functions() -> SdkConfig {
    let environment = Env::from(config::environment_of_the_sdk());
    let region = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| environment.get(name).ok());
    defaults(environment)
        .http_client(trust::http_client())
        .region(region.map(Region::new))
        .credentials_provider(EnvironmentVariableCredentialsProvider::new())
        .retry_config(retries())
        // Would watch for seconds over bodies that the limits below end after one and a half.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(1))
                .operation_attempt_timeout(Duration::from_millis(1500))
                // One operation; the gateway's deadline bounds all those of a request together.
                .operation_timeout(Duration::from_secs(4))
                .build(),
        )
        .load()
        .await
}

/// Configuration for an operator's command line: the default chain of profiles, single sign-on and credential processes.
///
/// Its limits are wider, because the first call waits for the chain too, and a person at a terminal waits for the answer.
pub async fn for_operators() -> SdkConfig {
    defaults(Env::from(config::environment_of_the_sdk()))
        .retry_config(patient_retries())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(3))
                .operation_attempt_timeout(Duration::from_secs(10))
                .operation_timeout(Duration::from_secs(30))
                .build(),
        )
        .load()
        .await
}

/// The client of Secrets Manager, made when something of it is first asked for: a function that issues tokens to clients whose secrets
/// are on their registrations, or who have keys, never asks.
#[derive(Clone)]
pub struct LazySecretsManager(Arc<LazyLock<SecretsManager, Box<dyn FnOnce() -> SecretsManager + Send>>>);

impl LazySecretsManager {
    /// Made by `make`.
    pub(super) fn new(make: impl FnOnce() -> SecretsManager + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(make))))
    }
}

impl Deref for LazySecretsManager {
    type Target = SecretsManager;

    fn deref(&self) -> &SecretsManager {
        &self.0
    }
}

impl From<SecretsManager> for LazySecretsManager {
    fn from(made: SecretsManager) -> Self {
        Self::new(|| made)
    }
}

/// Tells of every attempt that reaches for a service, whoever makes the call: one that is repeated is paid for again.
#[derive(Debug)]
pub(super) struct ObservedCalls {
    observer: Arc<Observer>,
    service: Service,
}

impl ObservedCalls {
    /// Tells `observer` of those to `service`.
    pub(super) fn to(service: Service, observer: Arc<Observer>) -> Self {
        Self { observer, service }
    }
}

#[dyn_dispatch_hint]
impl Intercept for ObservedCalls {
    fn name(&self) -> &'static str {
        "ObservedCalls"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let outcome = match context.response() {
            Some(answer) if answer.status().is_success() => Attempt::Answered,
            Some(answer) if answer.status().is_client_error() => {
                let is_throttled = is_throttled(answer.body().bytes().unwrap_or_default());
                if is_throttled { Attempt::Throttled } else { Attempt::Answered }
            }
            Some(_) | None => Attempt::Failed,
        };
        self.observer.tell(Event::CallAttempted { service: self.service, outcome });
        Ok(())
    }
}

/// Both services name the error in the body of an answer, `"__type": "...#ThrottlingException"`.
fn is_throttled(body: &[u8]) -> bool {
    let error = String::from_utf8_lossy(body);
    ["ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottledException"]
        .iter()
        .any(|code| error.contains(code))
}

/// What the port learns of a call that failed. The only place that reads the SDK's errors: whatever AWS did not answer, or
/// refused, may work later and is [`PortError::Unavailable`]. Answers that mean something to the protocol (an item is not
/// there, a condition does not hold) are taken out before.
///
/// The detail carries the operation and AWS's error code with a word of advice, never AWS's message: that may repeat the
/// request.
pub(super) fn unavailable<E, R>(service: &'static str, operation: &str, error: &SdkError<E, R>) -> PortError
where
    E: ProvideErrorMetadata,
{
    PortError::Unavailable { service, detail: detail(service, operation, error) }
}

/// The detail alone, for calls that no port makes.
pub(super) fn detail<E, R>(service: &str, operation: &str, error: &SdkError<E, R>) -> String
where
    E: ProvideErrorMetadata,
{
    match error {
        SdkError::ServiceError(answer) => {
            let code = answer.err().code().map_or_else(|| "an error without a code".to_owned(), printable);
            match advice(service, &code) {
                Some(advice) => format!("{operation}: {code} ({advice})"),
                None => format!("{operation}: {code}"),
            }
        }
        SdkError::TimeoutError(_) => format!("{operation}: timeout"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => format!("{operation}: timeout while connecting"),
        SdkError::DispatchFailure(failure) if failure.is_io() => format!("{operation}: no connection"),
        SdkError::DispatchFailure(_) => {
            format!("{operation}: the request could not be sent (are there AWS credentials and a region?)")
        }
        SdkError::ResponseError(_) => format!("{operation}: the answer was cut off or no answer of this service"),
        _ => format!("{operation}: the request could not be made (are there AWS credentials and a region?)"),
    }
}

/// An item that this version cannot read. `what` says which kind of item; never one of its values.
pub(super) fn corrupt(service: &'static str, what: &str) -> PortError {
    PortError::Corrupt { service, detail: what.to_owned() }
}

/// What is somebody else's, or does not say whose it is. `what` names it and says what to do; never one of its values.
pub(super) fn foreign(service: &'static str, what: String) -> PortError {
    PortError::Foreign { service, detail: what }
}

/// What a DynamoDB item says. Attributes that `T` does not know are left alone.
pub(super) fn from_item<T: DeserializeOwned>(
    item: HashMap<String, AttributeValue>,
    what: &str,
) -> Result<T, PortError> {
    serde_dynamo::from_item(item).map_err(|error| {
        // Every other message may repeat a value; the name of a missing attribute is this program's own word.
        let message = error.to_string();
        match message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            Some(attribute) => corrupt(DYNAMODB, &format!("{what} without attribute {attribute}")),
            None => corrupt(DYNAMODB, &format!("{what} with an attribute of the wrong form")),
        }
    })
}

/// The attributes of a DynamoDB item that says `value`.
pub(super) fn to_item<T: Serialize>(value: &T, what: &str) -> Result<HashMap<String, AttributeValue>, PortError> {
    serde_dynamo::to_item(value).map_err(|_| corrupt(DYNAMODB, &format!("{what} that cannot be written")))
}

fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(3)
        // Short, because a client waits; the SDK adds jitter and gives up early when most calls fail.
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(400))
}

/// For a thousand changes at once, some of which go over what Secrets Manager makes in a second (50 secrets): nobody waits for a single
/// one, and to give up one is to stop them all.
fn patient_retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(6)
        .with_initial_backoff(Duration::from_millis(100))
        .with_max_backoff(Duration::from_secs(3))
}

/// What an operator can do about an error code.
fn advice(service: &str, code: &str) -> Option<&'static str> {
    match code {
        "AccessDeniedException" => Some("these credentials lack the permission"),
        "ResourceNotFoundException" if service == DYNAMODB => {
            Some("the table does not exist in this account and region")
        }
        "InvalidRequestException" if service == SECRETS_MANAGER => {
            Some("if the secret is scheduled for deletion, restore it or delete and register the client again")
        }
        "ExpiredTokenException" | "UnrecognizedClientException" | "InvalidSignatureException" => {
            Some("the AWS credentials have expired or are wrong")
        }
        _ => None,
    }
}

/// An error code has letters and digits only. Whatever else answers on the endpoint cannot write into the log.
fn printable(code: &str) -> String {
    code.chars().filter(|character| character.is_ascii_alphanumeric() || *character == '.').take(64).collect()
}

/// The SDK's defaults of one version, which is named, so that an update of the SDK changes none silently.
fn defaults(environment: Env) -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::v2026_01_12()).env(environment)
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::operation::get_item::GetItemError;
    use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    fn answered(code: Option<&str>) -> SdkError<GetItemError, ()> {
        let mut metadata = ErrorMetadata::builder().message("canary");
        if let Some(code) = code {
            metadata = metadata.code(code);
        }
        SdkError::service_error(GetItemError::generic(metadata.build()), ())
    }

    #[test]
    fn a_failure_is_told_by_its_code_and_never_by_its_message() {
        for (error, expected) in [
            (answered(Some("ThrottlingException")), "GetItem: ThrottlingException"),
            (answered(Some("InternalServerError")), "GetItem: InternalServerError"),
            (
                answered(Some("AccessDeniedException")),
                "GetItem: AccessDeniedException (these credentials lack the permission)",
            ),
            (answered(Some("For\nged \"code\"")), "GetItem: Forgedcode"),
            (answered(None), "GetItem: an error without a code"),
            (SdkError::timeout_error("canary"), "GetItem: timeout"),
            (SdkError::dispatch_failure(ConnectorError::timeout("canary".into())), "GetItem: timeout while connecting"),
            (SdkError::dispatch_failure(ConnectorError::io("canary".into())), "GetItem: no connection"),
            (SdkError::response_error("canary", ()), "GetItem: the answer was cut off or no answer of this service"),
        ] {
            let expected = PortError::Unavailable { service: "DynamoDB", detail: expected.into() };
            assert_eq!(unavailable(DYNAMODB, "GetItem", &error), expected);
        }
    }

    #[test]
    fn a_missing_table_is_the_operators_business_and_a_missing_secret_is_not_one() {
        let detail = |error: PortError| error.to_string();
        let table = unavailable(DYNAMODB, "GetItem", &answered(Some("ResourceNotFoundException")));
        assert!(detail(table).ends_with("(the table does not exist in this account and region)"));
        let metadata = ErrorMetadata::builder().code("ResourceNotFoundException").build();
        let secret = SdkError::service_error(GetSecretValueError::generic(metadata), ());
        let secret = unavailable::<_, ()>(SECRETS_MANAGER, "GetSecretValue", &secret);
        assert!(detail(secret).ends_with("GetSecretValue: ResourceNotFoundException"));
    }
}
