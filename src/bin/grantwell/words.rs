//! What the use cases say, in the command line's words: with the options and the commands that help.

use grantwell::core::client::metadata::InvalidRegistration;
use grantwell::core::client::secret::WeakSecret;
use grantwell::core::keys::SigningAlgorithm;
use grantwell::core::keys::keyring::KeyChangeError;
use grantwell::core::keys::set::{PUBLISHED_BEFORE_SIGNING, RotationRefused};
use grantwell::core::management::{ManagementError, Notice, Subject};
use grantwell::core::realm::RealmName;
use grantwell::core::time::UnixSeconds;

use crate::failure::Failure;
use crate::output;
use crate::store::suggest;

/// Says what is worth knowing, on stderr.
pub(crate) fn tell(notices: &[Notice]) {
    for notice in notices {
        match notice {
            Notice::GrantTypeNotImplemented(_)
            | Notice::SecretNeedsFormEncoding
            | Notice::NothingRotatesSecrets(_)
            | Notice::NewSecretEndsAt(_)
            | Notice::TokensCountAgain { .. } => output::warn(&sentence(notice)),
            Notice::SignsOncePublished(_) | Notice::FirstKeysMade(_) | Notice::NothingChanged(_) => {
                output::note(&sentence(notice));
            }
        }
    }
}

impl From<ManagementError> for Failure {
    fn from(error: ManagementError) -> Self {
        Self::new(match error {
            ManagementError::Unknown(subject) => unknown(&subject),
            ManagementError::Exists(subject) => exists(&subject),
            ManagementError::Conflict(subject) => format!(
                "somebody else changed {subject} in the meantime, and again when the change was tried a second time, so nothing was \
                 written; look at it with `{}` and repeat the command",
                show(&subject)
            ),
            ManagementError::NoSecret(subject) => format!(
                "{subject} has no secret: none of its authentication methods uses one; see them with: {}",
                show(&subject)
            ),
            ManagementError::DefaultScopeOutsideRealm { .. } => {
                format!("{error}; add it with --allowed-scope, or leave it out")
            }
            ManagementError::SecretsExpired { of, at } => format!(
                "the secrets of {of} expired at {}, and a new one would not work either; give it a lifetime with \
                 --secret-lifetime SECONDS (0 for never)",
                output::utc(at)
            ),
            ManagementError::ValidAfterIsAhead { wanted, seconds, now } => format!(
                "--tokens-valid-after {wanted} is {}, {seconds} s ahead of this machine's clock; give a time that has passed, such \
                 as {now}",
                output::utc(wanted)
            ),
            ManagementError::StoredValidAfterIsAhead { of, stored, seconds, now } => format!(
                "tokens_valid_after of {of} is already {}, {seconds} s ahead of this machine's clock, and no token can be issued \
                 before then; correct the clock if it is wrong, or else lower what is stored with: {}",
                output::utc(stored),
                change(&of, &format!("--tokens-valid-after {now}"))
            ),
            ManagementError::KeysNotMade { ref of, setting, ref error } => {
                let option = format!("--signing-alg {}", setting.map_or("''", SigningAlgorithm::as_str));
                format!(
                    "the setting is stored, but realm '{}' has no key of that algorithm yet: {error}; try again with: {}",
                    realm_of(of),
                    change(of, &option)
                )
            }
            ManagementError::LifetimeNotSet { of, error } => {
                let reason = match Self::from(*error) {
                    Self::Sentence(sentence) | Self::Misuse(sentence) => sentence,
                    closed @ Self::OutputClosed => return closed,
                };
                format!(
                    "the secret printed is current, but its lifetime could not be set: {reason}; then set it with: {}",
                    change(&of, "--secret-lifetime SECONDS")
                )
            }
            ManagementError::Keys { realm, error } => keys_not_changed(&error, &realm),
            ManagementError::Invalid(error) => return error.into(),
            ManagementError::Port(error) => return error.into(),
        })
    }
}

impl From<InvalidRegistration> for Failure {
    fn from(error: InvalidRegistration) -> Self {
        Self::new(match error {
            InvalidRegistration::DefaultScope(_) => format!("{error}; add it with --scope, or leave it out"),
            _ => error.to_string(),
        })
    }
}

impl From<WeakSecret> for Failure {
    fn from(error: WeakSecret) -> Self {
        Self::new(match error {
            WeakSecret::TooShort => format!("{error}; let one be generated, or pass --allow-weak-secret"),
            WeakSecret::NotVschar => error.to_string(),
        })
    }
}

fn sentence(notice: &Notice) -> String {
    match notice {
        Notice::GrantTypeNotImplemented(grant_type) => format!(
            "this server implements only client_credentials; '{grant_type}' is recorded, but no client can get a token with it"
        ),
        Notice::SecretNeedsFormEncoding => {
            "the secret has characters other than A-Z a-z 0-9 - _ . and works only with clients that form-encode it in HTTP Basic \
             (RFC 6749 appendix B); a generated one works with every client"
                .to_owned()
        }
        Notice::NothingRotatesSecrets(subject) => format!(
            "only a deployed stack rotates secrets on a schedule; the number of days is recorded, but the secret stays the same until \
             you run: {}",
            client_command("rotate-secret", subject)
        ),
        Notice::NewSecretEndsAt(time) => format!(
            "the new secret stops working at {}, like the one before it; --secret-lifetime SECONDS changes that",
            output::utc(*time)
        ),
        Notice::TokensCountAgain { of, from } if *from == UnixSeconds(0) => {
            format!("all tokens of {of} are valid again, unless they have expired or were revoked one by one")
        }
        Notice::TokensCountAgain { of, from } => format!(
            "tokens of {of} issued at {} or later are valid again, unless they have expired or were revoked one by one",
            output::utc(*from)
        ),
        Notice::SignsOncePublished(alg) => format!(
            "tokens are signed with {alg} once its key has been published for {} minutes, so that every resource server knows it; \
             until then the previous key signs",
            PUBLISHED_BEFORE_SIGNING / 60
        ),
        Notice::NothingChanged(subject) => {
            format!("nothing was changed: {subject} already has the values that were given")
        }
        Notice::FirstKeysMade(realm) => format!("realm '{realm}' had no keys to rotate, so its first ones were made"),
    }
}

fn unknown(subject: &Subject) -> String {
    match subject {
        Subject::Realm(name) => format!("there is no realm '{name}'; create it with: grantwell realm set {name}"),
        Subject::Client { realm, client_id } => format!(
            "realm '{realm}' has no client '{client_id}'; list its clients with: {}",
            suggest("client list", realm)
        ),
    }
}

fn exists(subject: &Subject) -> String {
    match subject {
        Subject::Realm(name) => format!("realm '{name}' exists already"),
        Subject::Client { realm, client_id } => format!(
            "realm '{realm}' already has a client '{client_id}', which stays as it is; change it with `{}`, or choose another --id",
            client_command("update", subject)
        ),
    }
}

fn keys_not_changed(error: &KeyChangeError, realm: &RealmName) -> String {
    match error {
        KeyChangeError::Refused(RotationRefused::UnknownKey) => {
            format!("realm '{realm}' has no key with this kid; list its keys with: {}", suggest("key list", realm))
        }
        KeyChangeError::Refused(RotationRefused::TooSoon { ready_at }) => format!(
            "the next key of realm '{realm}' has been published for less than {} minutes, so a resource server may not know it \
             yet; rotate at {} or later; take a leaked key out at once with: {}",
            PUBLISHED_BEFORE_SIGNING / 60,
            output::utc(*ready_at),
            suggest("key revoke KID", realm)
        ),
        KeyChangeError::Conflict => format!(
            "somebody else changed the keys of realm '{realm}' in the meantime, so nothing was written; look at them with `{}` and \
             repeat the command",
            suggest("key list", realm)
        ),
        KeyChangeError::Refused(_) | KeyChangeError::Port(_) => {
            format!("the keys of realm '{realm}' stay as they are: {error}")
        }
    }
}

fn realm_of(subject: &Subject) -> &RealmName {
    match subject {
        Subject::Realm(name) => name,
        Subject::Client { realm, .. } => realm,
    }
}

/// The command that shows it.
fn show(subject: &Subject) -> String {
    match subject {
        Subject::Realm(name) => format!("grantwell realm show {name}"),
        Subject::Client { .. } => client_command("show", subject),
    }
}

/// The command that changes it, with `options`.
fn change(subject: &Subject, options: &str) -> String {
    match subject {
        Subject::Realm(name) => format!("grantwell realm set {name} {options}"),
        Subject::Client { realm, client_id } => suggest(&format!("client update {client_id} {options}"), realm),
    }
}

fn client_command(command: &str, subject: &Subject) -> String {
    match subject {
        Subject::Realm(name) => suggest(&format!("client {command} ID"), name),
        Subject::Client { realm, client_id } => suggest(&format!("client {command} {client_id}"), realm),
    }
}
