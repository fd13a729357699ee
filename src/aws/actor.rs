//! Who calls AWS with these credentials, as AWS says. The call needs no permission, and no policy can deny it.

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_sts::Client as Sts;
use tokio::sync::OnceCell;

use super::sdk::unavailable;
use crate::core::admin_log::Actor;
use crate::core::port_error::PortError;
use crate::core::ports::ActorSource;

/// The caller of an operator's credentials, asked for when something is about to be changed, once.
pub struct AwsActor {
    sts: Sts,
    known: OnceCell<Actor>,
}

impl AwsActor {
    /// The caller that `sdk` signs its requests for.
    pub fn of(sdk: &SdkConfig) -> Self {
        Self { sts: Sts::new(sdk), known: OnceCell::new() }
    }

    async fn ask(&self) -> Result<Actor, PortError> {
        let answer = self.sts.get_caller_identity().send().await;
        let answer = answer.map_err(|error| unavailable(STS, "GetCallerIdentity", &error))?;
        let arn = answer
            .arn
            .filter(|arn| (1..=LONGEST_ARN).contains(&arn.len()) && arn.bytes().all(|byte| byte.is_ascii_graphic()));
        let arn = arn.ok_or_else(|| PortError::Unavailable {
            service: STS,
            detail: "GetCallerIdentity: an answer without an ARN".to_owned(),
        })?;
        Ok(Actor::AwsCaller { arn })
    }
}

#[async_trait]
impl ActorSource for AwsActor {
    /// # Errors
    /// [`PortError`] where STS does not say. Then nothing is changed: no change is without its line, and no line without who made it.
    async fn actor(&self) -> Result<Actor, PortError> {
        self.known.get_or_try_init(async || self.ask().await).await.cloned()
    }
}

/// The service's name in errors.
const STS: &str = "AWS STS";
/// ARNs have at most as many characters.
const LONGEST_ARN: usize = 2_048;
