//! The rotation contract of Secrets Manager, for client secrets ([`client_secret`]) and signing keys ([`signing_keys`]), and
//! a scheduled look for those that are due.
//!
//! Secrets Manager calls four steps for one new version: createSecret makes its value, setSecret tells those who have to know,
//! testSecret uses it, finishSecret makes it the current one. It repeats what failed, and may repeat what did not. So every
//! step looks at the stores anew, finds out whether it is still wanted, and leaves them as one run would, however often it
//! comes, in whatever order, and whoever else rotates at the same time.

mod client_secret;
mod error;
mod event;
mod schedule;
mod signing_keys;
mod steps;
mod versions;

use lambda_http::lambda_runtime::{self, Diagnostic};
use lambda_http::{LambdaEvent, service_fn};
use serde_json::Value;

pub use self::error::RotationError;
#[cfg(fuzzing)]
use self::event::Held;
use self::event::RotationEvent;
pub use self::steps::{Rotation, RotationStores};
use super::invocation;
use crate::observe::Event;

/// Answers events until Lambda ends the process.
pub async fn serve(rotation: Rotation) {
    let rotation = &rotation;
    let ended = lambda_runtime::run(service_fn(async |LambdaEvent { payload, context }: LambdaEvent<Value>| {
        let work = async {
            let handled = Box::pin(invocation::caught(rotation.handle(&payload))).await;
            handled.unwrap_or(Err(RotationError::Panicked))
        };
        invocation::observed(&rotation.observer, invocation::ids(&context), work)
            .await
            .map_err(|error| Diagnostic { error_type: "RotationError".to_owned(), error_message: error.to_string() })
    }))
    .await;
    invocation::ended(ended);
}

/// The name of the secret that an event is about, where it is one that the function would look at, for the fuzz targets.
#[cfg(fuzzing)]
pub fn secret_of(event: &Value, prefix: &str) -> Option<(String, String)> {
    let RotationEvent::Step { secret_id, .. } = RotationEvent::parse(event)? else { return None };
    let held = Held::by(prefix, secret_id)?;
    Some((secret_id.to_owned(), format!("{held:?}")))
}

impl Rotation {
    /// Does what an event asks for.
    ///
    /// # Errors
    /// [`RotationError`].
    pub async fn handle(&self, event: &Value) -> Result<(), RotationError> {
        match RotationEvent::parse(event) {
            Some(RotationEvent::Step { step, secret_id, version_id }) => self.step(step, secret_id, version_id).await,
            Some(RotationEvent::Schedule) => self.rotate_what_is_due().await,
            None => {
                self.observer.tell(Event::NotARotationEvent);
                Err(RotationError::UnknownEvent)
            }
        }
    }
}
