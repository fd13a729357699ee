//! The admin log: a line for each change of what is registered, written ahead of the change. Who, when, through which face, what; the
//! members before and after, and never a secret, a digest of one, or a private key.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::id::{ClientId, RegistrationId};
use super::conversions::text_conversions;
use super::owner::OwnerId;
use super::port_error::PortError;
use super::random::{Random, random_name};
use super::realm::RealmName;
use super::time::{UnixMillis, UnixSeconds, UtcTime};

/// A line of the log. What a later version adds is left out by those before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdminLogLine {
    /// By which it is found, and sorted.
    pub id: LineId,
    /// When the change was begun.
    pub at: UnixMillis,
    /// Who makes it.
    pub actor: Actor,
    /// The owners that they act for; then they may do no more than these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acts_for: Vec<OwnerId>,
    /// Through which face of the server.
    pub face: Face,
    /// What is done.
    pub action: Action,
    /// To what.
    #[serde(flatten)]
    pub target: Target,
    /// What it changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberChange>,
    /// The revision that the record has after it, where it counts its changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What is known of how it ended.
    pub outcome: Outcome,
    /// From when on nobody needs the line.
    pub expires_at: UnixSeconds,
}

/// What a change is made to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The realm, or the one that the client or the keys belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realm: Option<RealmName>,
    /// The client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// Which registration of its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<RegistrationId>,
    /// Its owners, those before the change and those after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<OwnerId>,
    /// The owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerId>,
}

/// One member before and after a change; null where it is not set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberChange {
    /// Its name, as it is shown.
    pub name: String,
    /// Its value before.
    #[serde(default)]
    pub before: Value,
    /// Its value after.
    #[serde(default)]
    pub after: Value,
}

/// Who makes a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// A caller of AWS, as AWS says: never as the caller does.
    AwsCaller {
        /// Its ARN.
        arn: String,
    },
    /// A user of the operating system.
    OsUser {
        /// The user id that the process runs as.
        uid: u32,
        /// What that is called.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// From whom sudo says that it has taken the command: the caller's word, because a caller sets the variable.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sudo_user: Option<String>,
    },
    /// The server itself, because it was time.
    Schedule,
    /// Somebody that a later version knows.
    #[serde(other)]
    Unknown,
}

/// Through what a change is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Face(Cow<'static, str>);

/// What is done. Of a later version it may be another word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Action(Cow<'static, str>);

/// What is known of how a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was about to be made. Nobody has said more, so nobody knows whether it was.
    Started,
    /// It was made.
    Done,
    /// It was not made: somebody else was quicker, or it was not allowed.
    Refused,
    /// A store failed, perhaps after it had done a part or all of it.
    Failed,
}

/// What names a line: the time to the millisecond, by which lines sort, and 128 random bits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LineId(String);

/// The text does not name a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a line of the log has a name such as 2026-11-28T05:01:02.345Z-q0ZzA1b2C3d4E5f6G7h8I9, as an earlier list printed it"
)]
pub struct MalformedLineId;

/// Which lines to read: those between the two, the newest first.
#[derive(Clone, Debug)]
pub struct LogRange {
    /// None from before this time.
    pub since: UnixMillis,
    /// Only those before this one.
    pub before: Option<LineId>,
    /// None that nobody needs at this time.
    pub now: UnixSeconds,
    /// At most so many.
    pub limit: usize,
}

/// One page of lines.
#[derive(Clone, Debug, Default)]
pub struct LogPage {
    /// The newest first. Of one that this version cannot read there is the name: it hides no other.
    pub lines: Vec<Result<AdminLogLine, LineId>>,
    /// After which line the next page begins; `None` after the last.
    pub next: Option<LineId>,
}

/// How many days a line is kept: 1 to [`LogRetention::MAX_DAYS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRetention(u64);

/// The days are out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lines of the admin log are kept for 1 to {max} days", max = LogRetention::MAX_DAYS)]
pub struct InvalidLogRetention;

impl Face {
    /// The `grantwell` command.
    pub const COMMAND_LINE: Self = Self(Cow::Borrowed("command_line"));
    /// A server that is started.
    pub const SERVER: Self = Self(Cow::Borrowed("server"));
    /// What a server does by itself because it is time: on AWS the rotation function, which Secrets Manager calls too.
    pub const ROTATION: Self = Self(Cow::Borrowed("rotation"));

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One for each kind of change.
macro_rules! actions {
    ($($(#[$attribute:meta])* $name:ident = $word:literal;)+) => {
        impl Action {
            $($(#[$attribute])* pub const $name: Self = Self(Cow::Borrowed($word));)+
        }
    };
}

actions! {
    /// A client is registered.
    CREATE_CLIENT = "client.create";
    /// Members of a registration are changed.
    UPDATE_CLIENT = "client.update";
    /// A client is stopped.
    DISABLE_CLIENT = "client.disable";
    /// A client works again.
    ENABLE_CLIENT = "client.enable";
    /// The tokens of a client are ended.
    REVOKE_CLIENT_TOKENS = "client.revoke_tokens";
    /// A client is deleted, with its secrets.
    DELETE_CLIENT = "client.delete";
    /// A client has a new secret.
    ROTATE_SECRET = "client.rotate_secret";
    /// The secret before a client's current one ends.
    REVOKE_PREVIOUS_SECRET = "client.revoke_previous_secret";
    /// A client's secrets are kept elsewhere.
    MOVE_SECRETS = "client.move_secrets";
    /// The secrets of a stack are marked as its own.
    BIND_SECRETS = "secrets.bind";
    /// A realm is made.
    CREATE_REALM = "realm.create";
    /// Settings of a realm are changed.
    UPDATE_REALM = "realm.update";
    /// Issuers that a realm trusts are added, changed or removed, and nothing else of it.
    UPDATE_ISSUERS = "realm.update_issuers";
    /// A realm is deleted.
    DELETE_REALM = "realm.delete";
    /// All tokens of a realm are ended.
    REVOKE_REALM_TOKENS = "realm.revoke_tokens";
    /// A backup takes the place of the registry.
    RESTORE = "registry.restore";
    /// An owner is made.
    CREATE_OWNER = "owner.create";
    /// An owner is changed.
    UPDATE_OWNER = "owner.update";
    /// An owner is deleted.
    DELETE_OWNER = "owner.delete";
    /// A realm has its first signing keys.
    CREATE_KEYS = "keys.create";
    /// The next signing keys of a realm sign.
    ROTATE_KEYS = "keys.rotate";
    /// A signing key is taken out before its time.
    REVOKE_KEY = "keys.revoke";
    /// A realm has more signing keys.
    ADD_KEYS = "keys.add";
    /// Signing keys end at another time, or have ended.
    UPDATE_KEYS = "keys.update";
    /// The signing keys of a realm are deleted with it.
    DELETE_KEYS = "keys.delete";
}

impl Action {
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Outcome {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl LineId {
    /// A name for a line of this time.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where the random source fails.
    pub fn generate(at: UnixMillis, random: &dyn Random) -> Result<Self, PortError> {
        Ok(Self(format!("{}-{}", timestamp(at), random_name(random)?)))
    }

    /// What sorts before every line of this time, and after those of any time before it. Names none.
    pub fn first_of(at: UnixMillis) -> Self {
        Self(timestamp(at))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LineId {
    type Err = MalformedLineId;

    fn from_str(text: &str) -> Result<Self, MalformedLineId> {
        let (time, random) = text.split_at_checked(TIMESTAMP.len()).ok_or(MalformedLineId)?;
        let has_form = time.bytes().zip(TIMESTAMP.bytes()).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        });
        let random = random.strip_prefix('-').ok_or(MalformedLineId)?;
        let is_random = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let well_formed = has_form && (1..=64).contains(&random.len()) && random.bytes().all(is_random);
        if well_formed { Ok(Self(text.to_owned())) } else { Err(MalformedLineId) }
    }
}

text_conversions!(LineId);

impl LogRetention {
    /// Ten years.
    pub const MAX_DAYS: u64 = 3_650;

    /// A retention of `days`.
    ///
    /// # Errors
    /// [`InvalidLogRetention`] outside 1 to [`Self::MAX_DAYS`].
    pub fn of_days(days: u64) -> Result<Self, InvalidLogRetention> {
        if (1..=Self::MAX_DAYS).contains(&days) { Ok(Self(days)) } else { Err(InvalidLogRetention) }
    }

    /// Until when a line is kept that is written at `now`.
    pub fn ends_at(self, now: UnixSeconds) -> UnixSeconds {
        now.plus(self.0 * 24 * 60 * 60)
    }
}

impl Default for LogRetention {
    /// A year, and a month in which to look back at it.
    fn default() -> Self {
        Self(400)
    }
}

impl FromStr for LogRetention {
    type Err = InvalidLogRetention;

    fn from_str(text: &str) -> Result<Self, InvalidLogRetention> {
        text.parse().map_err(|_| InvalidLogRetention).and_then(Self::of_days)
    }
}

/// A time as text that sorts as times do.
impl fmt::Display for UnixMillis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&timestamp(*self))
    }
}

/// Of the years of four digits. A clock beyond them is at their end.
fn timestamp(at: UnixMillis) -> String {
    let at = UnixMillis(at.0.min(LAST_OF_9999));
    let UtcTime { year, month, day, hour, minute, second } = at.seconds().into();
    let millis = at.0 % 1_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The form of a time.
const TIMESTAMP: &str = "0000-00-00T00:00:00.000Z";
const LAST_OF_9999: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_lines_sort_by_time() {
        let name = |at| LineId::generate(UnixMillis(at), &OneByte).expect("random bytes");
        let times = [0, 999, 1_000, 1_795_415_820_345, 1_795_415_820_346, LAST_OF_9999];
        for (earlier, later) in times.iter().zip(&times[1..]) {
            assert!(name(*earlier) < name(*later), "{earlier} {later}");
            let first = LineId::first_of(UnixMillis(*later));
            assert!(name(*earlier) < first && first < name(*later), "{earlier} {later}");
        }
        assert_eq!(name(1_795_415_820_345).as_str(), "2026-11-23T06:37:00.345Z-AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(name(u64::MAX).as_str(), "9999-12-31T23:59:59.999Z-AAAAAAAAAAAAAAAAAAAAAA");
        for text in
            ["", "2026", "2026-11-23T06:37:00.345Z", "2026-11-23T06:37:00.345Z-", "2026-11-23 06:37:00.345Z-A", "x"]
        {
            assert_eq!(text.parse::<LineId>(), Err(MalformedLineId), "{text}");
        }
    }

    #[test]
    fn what_a_later_version_says_can_be_read_as_far_as_it_is_known() {
        let line = json!({
            "id": "2026-11-23T06:37:00.345Z-A", "at": 1_795_415_820_345_u64, "actor": {"kind": "robot", "serial": 7}, "face": "console",
            "action": "client.rename", "realm": "alpha", "of_a_later_version": true, "outcome": "done", "expires_at": 9,
        });
        let line: AdminLogLine = serde_json::from_value(line).expect("readable");
        assert_eq!(
            (line.actor, line.face.as_str(), line.action.as_str()),
            (Actor::Unknown, "console", "client.rename")
        );
    }

    struct OneByte;

    impl Random for OneByte {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), PortError> {
            bytes.fill(0);
            Ok(())
        }
    }
}
