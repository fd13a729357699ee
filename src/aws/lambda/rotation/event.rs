//! What the rotation is invoked with, and what a secret holds by its name.

use std::str::FromStr;

use serde_json::Value;

use super::error::RotationError;
use crate::core::client::id::ClientId;
use crate::core::realm::RealmName;
use crate::observe::event::{Progress, Rotated, Step as ObservedStep};

/// The steps, by the names that Secrets Manager gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Set,
    Test,
    Finish,
}

/// What this function is invoked with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RotationEvent<'a> {
    Step { step: Step, secret_id: &'a str, version_id: &'a str },
    Schedule,
}

/// What a secret holds, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Held {
    ClientSecret { realm: RealmName, client_id: ClientId },
    SigningKeys { realm: RealmName },
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// The version is current already.
    NothingToDo,
}

impl Step {
    pub(super) const ALL: [Self; 4] = [Self::Create, Self::Set, Self::Test, Self::Finish];

    /// Its name there.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "createSecret",
            Self::Set => "setSecret",
            Self::Test => "testSecret",
            Self::Finish => "finishSecret",
        }
    }
}

impl<'a> RotationEvent<'a> {
    /// `None` for everything but the two. Members that it does not know, such as `RotationToken`, are left alone.
    pub(super) fn parse(event: &'a Value) -> Option<Self> {
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        if let (Some(step), Some(secret_id), Some(version_id)) =
            (text("Step"), text("SecretId"), text("ClientRequestToken"))
        {
            let step = Step::ALL.into_iter().find(|known| known.as_str() == step)?;
            let well_formed = (1..=2048).contains(&secret_id.len()) && (32..=64).contains(&version_id.len());
            let printable = [secret_id, version_id].iter().all(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
            return (well_formed && printable).then_some(Self::Step { step, secret_id, version_id });
        }
        let is_schedule = text("source") == Some("aws.events") && text("detail-type") == Some("Scheduled Event");
        is_schedule.then_some(Self::Schedule)
    }
}

impl Held {
    /// What a secret of this name holds; `None` where it is not of this stack.
    pub(super) fn by(prefix: &str, name: &str) -> Option<Self> {
        let path = name.strip_prefix(prefix)?.strip_prefix('/')?;
        let parts: Vec<&str> = path.split('/').collect();
        match *parts {
            [realm, "clients", client_id] => {
                Some(Self::ClientSecret { realm: well_formed(realm)?, client_id: well_formed(client_id)? })
            }
            [realm, "signing-keys"] => Some(Self::SigningKeys { realm: well_formed(realm)? }),
            _ => None,
        }
    }

    /// Whether the secret of this name or ARN could be of this stack, so that it is worth a call to find out. An ARN ends with the name, a
    /// hyphen and six characters; what a name ends with may look the same.
    pub(super) fn may_be_of(prefix: &str, secret_id: &str) -> bool {
        let name = match secret_id.strip_prefix("arn:") {
            Some(arn) => arn.split_once(":secret:").map(|(_, name)| name),
            None => Some(secret_id),
        };
        let without_suffix = |name: &str| {
            let (name, suffix) = name.rsplit_once('-')?;
            (suffix.len() == SUFFIX).then(|| Self::by(prefix, name)).flatten()
        };
        name.is_some_and(|name| Self::by(prefix, name).or_else(|| without_suffix(name)).is_some())
    }

    pub(super) fn rotated(&self) -> Rotated<'_> {
        match self {
            Self::ClientSecret { realm, client_id } => Rotated::ClientSecret(realm, client_id),
            Self::SigningKeys { realm } => Rotated::SigningKeys(realm),
        }
    }

    /// What there is to tell of a step with it.
    pub(super) fn after<'a>(&'a self, step: Step, outcome: &'a Result<Outcome, RotationError>) -> ObservedStep<'a> {
        let outcome = match outcome {
            Ok(Outcome::Done) if step == Step::Finish => Ok(Progress::Finished),
            Ok(Outcome::Done) => Ok(Progress::Done),
            Ok(Outcome::NothingToDo) => Ok(Progress::NothingToDo),
            Err(error) => Err(error as _),
        };
        ObservedStep { secret: self.rotated(), name: step.as_str(), outcome }
    }
}

fn well_formed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// The random characters that Secrets Manager puts behind a name in an ARN.
const SUFFIX: usize = 6;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const VERSION_ID: &str = "51f72378-6a5d-5dc7-8fd8-29e4319f482a";

    #[test]
    fn a_step_and_a_schedule_are_known_whatever_else_the_event_has() {
        for step in Step::ALL {
            let event = json!({
                "Step": step.as_str(), "SecretId": "arn:aws:secretsmanager:us-east-1:123456789012:secret:s-AbCdEf",
                "ClientRequestToken": VERSION_ID, "RotationToken": "another", "source": "aws.events",
            });
            let Some(RotationEvent::Step { step: read, version_id, .. }) = RotationEvent::parse(&event) else {
                panic!("{event}")
            };
            assert_eq!((read, version_id), (step, VERSION_ID));
        }
        let event = json!({"version": "0", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
        assert_eq!(RotationEvent::parse(&event), Some(RotationEvent::Schedule));
    }

    #[test]
    fn anything_else_is_unknown() {
        let step = |step: Value, id: Value, version: Value| json!({"Step": step, "SecretId": id, "ClientRequestToken": version});
        for event in [
            json!(null),
            json!([]),
            json!({}),
            json!("createSecret"),
            step("create_secret".into(), "s".into(), VERSION_ID.into()),
            step("CreateSecret".into(), "s".into(), VERSION_ID.into()),
            step(1.into(), "s".into(), VERSION_ID.into()),
            step("createSecret".into(), "".into(), VERSION_ID.into()),
            step("createSecret".into(), "s s".into(), VERSION_ID.into()),
            step("createSecret".into(), "s".repeat(2049).into(), VERSION_ID.into()),
            step("createSecret".into(), "s".into(), "short".into()),
            step("createSecret".into(), "s".into(), "t".repeat(65).into()),
            step("createSecret".into(), "s".into(), Value::Null),
            json!({"source": "aws.s3", "detail-type": "Scheduled Event"}),
            json!({"source": "aws.events", "detail-type": "Scheduled event"}),
            json!({"version": "2.0", "rawPath": "/oauth2/access_token", "requestContext": {}}),
        ] {
            assert_eq!(RotationEvent::parse(&event), None, "{event}");
        }
    }

    #[test]
    fn only_names_of_this_stack_are_rotated() {
        let (realm, client_id) = ("alpha".parse::<RealmName>().expect("a name"), "myClient".parse().expect("an id"));
        let client = Held::ClientSecret { realm: realm.clone(), client_id };
        assert_eq!(Held::by("grantwell", "grantwell/alpha/clients/myClient"), Some(client));
        assert_eq!(Held::by("grantwell", "grantwell/alpha/signing-keys"), Some(Held::SigningKeys { realm }));
        for name in [
            "",
            "grantwell",
            "grantwell/alpha",
            "grantwell/alpha/signing-keys/",
            "grantwell/alpha/signing-keys-2",
            "grantwell//signing-keys",
            "/alpha/signing-keys",
            "grantwell2/alpha/signing-keys",
            "other/grantwell/alpha/signing-keys",
            "grantwell/alpha/beta/signing-keys",
            "grantwell/alpha/clients/",
            "grantwell/alpha/clients/-option",
            "grantwell/alpha/clients/a/b",
            "grantwell/alpha.beta/clients/myClient",
            "grantwell/alpha/Clients/myClient",
        ] {
            assert_eq!(Held::by("grantwell", name), None, "{name}");
        }
    }

    #[test]
    fn an_arn_is_of_this_stack_if_its_name_is_with_or_without_the_six_characters() {
        let arn = |name: &str| format!("arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}");
        for name in ["grantwell/alpha/clients/myClient", "grantwell/alpha/signing-keys"] {
            for id in [name.to_owned(), arn(name), arn(&format!("{name}-AbCdEf"))] {
                assert!(Held::may_be_of("grantwell", &id), "{id}");
            }
        }
        // Whose name ends as an ARN does.
        assert!(Held::may_be_of("grantwell", &arn("grantwell/alpha/clients/my-Client")));
        for name in
            ["passwords-AbCdEf", "grantwell2/alpha/signing-keys-AbCdEf", "grantwell/alpha/signing-keys-2", "grantwell"]
        {
            assert!(!Held::may_be_of("grantwell", name) && !Held::may_be_of("grantwell", &arn(name)), "{name}");
        }
        assert!(!Held::may_be_of("grantwell", "arn:aws:s3:::grantwell/alpha/signing-keys"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let name = prop_oneof!["Step|SecretId|ClientRequestToken|source|detail-type", ".{0,8}"];
        let text = prop_oneof!["createSecret|finishSecret|aws.events|Scheduled Event", "[ -~]{32,64}", ".{0,70}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name.clone(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_json_panics_and_no_name_is_taken_for_two(event in any_json(), name in ".{0,40}") {
            if let Some(RotationEvent::Step { secret_id, version_id, .. }) = RotationEvent::parse(&event) {
                prop_assert!(!secret_id.is_empty() && version_id.len() >= 32);
            }
            let _ = Held::by("grantwell", &name);
            let _ = Held::by("grantwell", &format!("grantwell/{name}"));
        }
    }
}
