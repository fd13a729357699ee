//! What the use cases say, in the command line's words: with the options and the commands that help.

use grantwell::core::client::auth_method::AuthMethod;
use grantwell::core::client::id::ClientId;
use grantwell::core::client::metadata::InvalidRegistration;
use grantwell::core::client::secret::WeakSecret;
use grantwell::core::keys::keyring::KeyChangeError;
use grantwell::core::keys::set::{PUBLISHED_BEFORE_SIGNING, RotationRefused};
use grantwell::core::management::{Hindrance, ManagementError, Notice, Subject};
use grantwell::core::ports::AccessDenied;
use grantwell::core::realm::RealmName;
use grantwell::core::scope::{INTROSPECT_ALL_TOKENS, INTROSPECT_ALL_TOKENS_ANY_REALM};
use grantwell::core::time::UnixSeconds;
use grantwell::core::trust::rule::RuleName;

use crate::failure::Failure;
use crate::output;
use crate::store::{suggest, suggest_here};

/// Says what is worth knowing, on stderr.
pub(crate) fn tell(notices: &[Notice]) {
    for notice in notices {
        match notice {
            Notice::GrantTypeNotImplemented(_)
            | Notice::SecretNeedsFormEncoding
            | Notice::NeverGetsToken { .. }
            | Notice::UnknownIntrospectionScope(_)
            | Notice::CommaInScope(_)
            | Notice::QuotaModeWithoutQuota(_)
            | Notice::KeysWithoutMethod { .. }
            | Notice::TrustWithoutMethod { .. }
            | Notice::MethodWithoutTrust { .. }
            | Notice::RuleForWholeOrganization { .. }
            | Notice::RuleForEveryRole { .. }
            | Notice::RuleNeverSatisfied { .. }
            | Notice::NoIssuerOfAws { .. }
            | Notice::SecretSleeps(_)
            | Notice::SecretWorksAgain(_)
            | Notice::PersistenceOfOpaqueTokens(_)
            | Notice::SigningAlgOfOpaqueTokens(_)
            | Notice::ScopesWithdrawn { .. }
            | Notice::NoGrantInRealm(_)
            | Notice::NewSecretEndsAt(_)
            | Notice::SecretLeftBehind { .. }
            | Notice::RotatedTwice { .. }
            | Notice::SetBackByFile { .. }
            | Notice::MadeAgainByFile { .. }
            | Notice::TokensCountAgain { .. } => output::warn(&sentence(notice)),
            Notice::SignsOncePublished(_)
            | Notice::FirstKeysMade(_)
            | Notice::NothingChanged(_)
            | Notice::NewSecretToRead(_)
            | Notice::SecretsStay { .. }
            | Notice::NoSecretMade(_)
            | Notice::SecretIsCurrent(_)
            | Notice::NoPreviousSecretToKeep(_) => {
                output::note(&sentence(notice));
            }
        }
    }
}

fn rules_text(rules: &[RuleName]) -> String {
    let names: Vec<String> = rules.iter().map(|rule| format!("'{rule}'")).collect();
    format!("{} {}", if names.len() == 1 { "rule" } else { "the rules" }, names.join(", "))
}

impl From<ManagementError> for Failure {
    #[expect(clippy::too_many_lines, reason = "a sentence for each error, and nothing else")]
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
            ManagementError::KeysAreFetched(subject) => format!(
                "{error}; publish the new key there, or register the keys themselves with `{}`",
                change(&subject, "--jwks FILE"),
                error = ManagementError::KeysAreFetched(subject.clone())
            ),
            ManagementError::NoSuchKey(of) => {
                format!("{of} has no key of this kid; list its keys with `{}`", client_command("key list", &of, ""))
            }
            ManagementError::DefaultScopeOutsideRealm { .. } => {
                format!("{error}; add it with --allowed-scope, or leave it out")
            }
            ManagementError::InvalidIssuer(error) => error.to_string(),
            ManagementError::IssuerIsUsed { realm, issuer, count, first } => format!(
                "rules of {of_clients} of realm '{realm}' need the issuer '{issuer}', so it stays: {names}; change them with `{}`, or add \
                 --force, and those rules admit nobody by its tokens",
                suggest("client update ID --trust FILE", &realm),
                of_clients = clients(count),
                names = names(&first, count),
            ),
            ManagementError::NothingRotatesSecrets(of) => format!(
                "only a deployed stack rotates secrets on a schedule, and this store is a local one; leave out --secret-rotation-days, and \
                 rotate the secret when it is time with `{}`",
                client_command("rotate-secret", &of, "")
            ),
            ManagementError::SuppliedSecret(of) => format!(
                "{of} keeps its secret as a digest, and nobody can say how easily a secret is guessed that you bring along; let one be \
                 generated, which has 256 random bits, or keep the client's secret in Secrets Manager with: --secret-storage \
                 secrets-manager"
            ),
            ManagementError::SuppliedSecretInUse(of) => format!(
                "a secret of {of} that is valid was not generated, and nobody can say how easily it is guessed from a digest, so nothing \
                 was changed; replace it with `{}`, have the application use the new one, end the one before it with `{}`, and repeat \
                 the command",
                client_command("rotate-secret", &of, ""),
                client_command("rotate-secret", &of, " --revoke-previous"),
            ),
            ManagementError::SecretsAreRotated { realm, count, first } => {
                let subject =
                    |client_id: &ClientId| Subject::Client { realm: realm.clone(), client_id: client_id.clone() };
                let of = first.first().map_or(Subject::Realm(realm.clone()), subject);
                format!(
                    "the secrets of {of_clients} of realm '{realm}' are rotated on a schedule, which needs Secrets Manager: {names}; say of \
                     each that it stays there with `{}`, or that it is not rotated with `{}`, and repeat the command",
                    change(&of, "--secret-storage secrets-manager"),
                    change(&of, "--secret-rotation-days 0"),
                    of_clients = clients(count),
                    names = names(&first, count),
                )
            }
            ManagementError::SecretIsCurrent(of) => format!(
                "the secret that was given is already the current one of {of}, so nothing was changed; give another secret, or leave out \
                 --secret-stdin to have one made"
            ),
            ManagementError::SecretIsPrevious(of) => format!(
                "the secret that was given is the previous one of {of}, so nothing was changed: both would be the same; give another \
                 secret, or leave out --replace-current, which keeps the current one valid beside it"
            ),
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
            ManagementError::KeysNotMade { ref realm, .. } => format!(
                "{error}; see which keys it has with `{}`, and repeat the command when that is mended",
                suggest("key list", realm)
            ),
            ManagementError::LifetimeNotSet { of, error } => {
                let reason = match Self::from(*error) {
                    Self::Sentence(sentence) | Self::Misuse(sentence) => sentence,
                    closed @ (Self::OutputClosed | Self::Told(_)) => return closed,
                };
                format!(
                    "the secret printed is current, but its lifetime could not be set: {reason}; then set it with: {}",
                    change(&of, "--secret-lifetime SECONDS")
                )
            }
            ManagementError::RootStays => {
                "the root realm cannot be deleted, because every server has it; delete its clients one by one"
                    .to_owned()
            }
            ManagementError::RealmHasClients { realm, count, first } => format!(
                "realm '{realm}' has {}: {}; delete them first, or with the realm: {}",
                clients(count),
                names(&first, count),
                suggest_here(&format!("realm delete {realm} --with-clients"))
            ),
            ManagementError::Keys { realm, error } => keys_not_changed(&error, &realm),
            ManagementError::Denied(denied) => return denied.into(),
            ManagementError::DisabledOwner(id) => format!(
                "owner '{id}' is disabled, and a disabled owner is given no clients; enable it with: {}",
                change(&Subject::Owner(id.clone()), "--status active")
            ),
            ManagementError::NoSuchOwner(id) => format!(
                "there is no owner '{id}'; see the owners with `{}`, or make one with `{}`; a name or an address that is not an \
                 owner's id is a --contact",
                suggest_here("owner list"),
                suggest_here(&format!("owner create {id}"))
            ),
            ManagementError::StillOwns { owner, count, first } => format!(
                "owner '{owner}' still owns {of_clients} and was not deleted: {}; give them other owners, or stop the owner with `{}`",
                owned(&first, count),
                change(&Subject::Owner(owner.clone()), "--status disabled"),
                of_clients = clients(count),
            ),
            error @ ManagementError::TooManyPrincipals => error.to_string(),
            ManagementError::Invalid(error) => return error.into(),
            ManagementError::Port(error) => return error.into(),
        })
    }
}

impl From<AccessDenied> for Failure {
    fn from(denied: AccessDenied) -> Self {
        Self::new(format!(
            "{denied}; these AWS credentials belong to an owner's principal (see whose with `{}`), and nothing was changed",
            suggest_here("owner list")
        ))
    }
}

impl From<InvalidRegistration> for Failure {
    fn from(error: InvalidRegistration) -> Self {
        Self::new(match error {
            InvalidRegistration::RotatedDigest => format!(
                "{error}; set --secret-rotation-days 0 and rotate the secret yourself, or keep it with --secret-storage secrets-manager"
            ),
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

/// A notice in words.
#[expect(clippy::too_many_lines, reason = "a sentence for each notice, and nothing else")]
pub(crate) fn sentence(notice: &Notice) -> String {
    match notice {
        Notice::GrantTypeNotImplemented(grant_type) => format!(
            "this server implements only client_credentials; '{grant_type}' is recorded, but no client can get a token with it"
        ),
        Notice::SecretNeedsFormEncoding => {
            "the secret has characters other than A-Z a-z 0-9 - _ . and works only with clients that form-encode it in HTTP Basic \
             (RFC 6749 appendix B); a generated one works with every client"
                .to_owned()
        }
        Notice::NeverGetsToken { of, why } => {
            let why: Vec<String> = why.iter().map(|why| hindrance(*why, of)).collect();
            format!("{of} cannot get a token: {}", why.join("; and "))
        }
        Notice::UnknownIntrospectionScope(scope) => format!(
            "the scope '{scope}' does not allow introspection; the scopes that do are {INTROSPECT_ALL_TOKENS} and \
             {INTROSPECT_ALL_TOKENS_ANY_REALM}"
        ),
        Notice::CommaInScope(scope) => format!(
            "'{scope}' is one scope with a comma in its name; if you mean several, separate them by spaces: '{}'",
            scope.split(',').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
        ),
        Notice::QuotaModeWithoutQuota(Subject::Realm(name)) => format!(
            "realm '{name}' has no token quota, so --token-quota-mode applies only to clients that have a quota of their own; set one \
             for all with `{}`",
            change(&Subject::Realm(name.clone()), "--token-quota NUMBER/hour")
        ),
        Notice::QuotaModeWithoutQuota(of) => format!(
            "neither {of} nor its realm has a token quota, so --token-quota-mode has no effect; set a quota with `{}`",
            change(of, "--token-quota NUMBER/hour")
        ),
        Notice::KeysWithoutMethod { of, methods } => {
            let methods: Vec<String> = methods.iter().map(|method| format!("--auth-method {}", method.as_str())).collect();
            format!(
                "{of} has keys but cannot authenticate with them; let it do so beside its other methods with `{}`, and name private_key_jwt \
                 alone once the application signs",
                change(of, &methods.join(" "))
            )
        }
        Notice::TrustWithoutMethod { of, methods } => {
            let methods: Vec<String> = methods.iter().map(|method| format!("--auth-method {}", method.as_str())).collect();
            format!(
                "{of} has trust rules that nothing looks at; let it authenticate by them with `{}`, or with aws_iam for roles that come \
                 through the IAM door",
                change(of, &format!("{} --auth-method workload_identity", methods.join(" ")))
            )
        }
        Notice::MethodWithoutTrust { of, method } => format!(
            "{of} may authenticate by {}, and no trust rule says who it is, so nobody can; name the rules with `{}`",
            method.as_str(),
            change(of, "--trust FILE")
        ),
        Notice::RuleForWholeOrganization { of, rules } => format!(
            "any administrator of any account of the organization can make a role that satisfies {} of {of}, with every name and tag that \
             it demands; add an account, or an organization_path with an organizational unit",
            rules_text(rules)
        ),
        Notice::RuleForEveryRole { of, rules } => format!(
            "{} of {of} is satisfied by every role of the account or organizational unit, so whoever may use any role there is this client; \
             name a role in it",
            rules_text(rules)
        ),
        Notice::RuleNeverSatisfied { of, rules, method: AuthMethod::AwsIam } => format!(
            "nobody can satisfy {} of {of} by aws_iam: at the IAM door, AWS does not say tags, organizational units or claims, and there is \
             no token of an issuer. Let the client present tokens, too, with `{}`, or change the rule",
            rules_text(rules),
            change(of, "--auth-method aws_iam --auth-method workload_identity")
        ),
        Notice::RuleNeverSatisfied { of, rules, method } => format!(
            "nobody can satisfy {} of {of} by {}: only AWS says a role's id, at the IAM door. Let the client come through that door, too, \
             with `{}`, or leave role_id out",
            rules_text(rules),
            method.as_str(),
            change(of, "--auth-method aws_iam --auth-method workload_identity")
        ),
        Notice::NoIssuerOfAws { of, rules } => format!(
            "no token can satisfy {} of {of}: the realm trusts no issuer of AWS. Register that of the account with `grantwell issuer add`, \
             or let the client come through the IAM door with --auth-method aws_iam",
            rules_text(rules)
        ),
        Notice::SecretSleeps(of) => format!(
            "the secret of {of} no longer works, and is still stored: it works again if a method that uses a secret is named again. If it is to \
             be gone, as after a leak, rotate it twice before you take its method away"
        ),
        Notice::SecretWorksAgain(of) => format!(
            "a secret that {of} had before works again; if somebody else may have it, replace it with `{}` and then `{}`",
            client_command("rotate-secret", of, ""),
            client_command("rotate-secret", of, " --revoke-previous")
        ),
        Notice::NoSecretMade(of) => {
            format!("{of} has no client secret: none of its authentication methods uses one")
        }
        Notice::PersistenceOfOpaqueTokens(of @ Subject::Realm(_)) => format!(
            "the tokens of {of} are opaque and always stored, so --access-token-persistence applies only to clients that have JWTs of \
             their own; if all should be JWTs, use `{}`",
            change(of, "--access-token-format jwt")
        ),
        Notice::PersistenceOfOpaqueTokens(of) => format!(
            "the tokens of {of} are opaque and always stored, so --access-token-persistence has no effect; if they should be JWTs, use \
             `{}`",
            change(of, "--access-token-format jwt")
        ),
        Notice::SigningAlgOfOpaqueTokens(of) => format!(
            "the tokens of {of} are opaque, so --signing-alg applies only to signed introspection answers for this client; if they \
             should be JWTs, use `{}`",
            change(of, "--access-token-format jwt")
        ),
        Notice::ScopesWithdrawn { realm, count, first } => {
            format!(
                "{of_clients} of realm '{realm}' can no longer be granted all the scopes that {they} registered for: {names}",
                of_clients = clients(*count),
                they = if *count == 1 { "it is" } else { "they are" },
                names = names(first, *count)
            )
        }
        Notice::SecretsStay { realm, storage, count, first } => {
            let subject = |client_id: &ClientId| Subject::Client { realm: realm.clone(), client_id: client_id.clone() };
            format!(
                "the setting is for clients that you register from now on; {of_clients} of realm '{realm}' {keep} secrets where they are: \
                 {names}; move one with `{}`",
                change(
                    &first.first().map_or(Subject::Realm(realm.clone()), subject),
                    &format!("--secret-storage {}", storage.as_str())
                ),
                of_clients = clients(*count),
                keep = if *count == 1 { "keeps its" } else { "keep their" },
                names = names(first, *count)
            )
        }
        Notice::NewSecretToRead(of) => format!(
            "a digest cannot be turned back into a secret, so {of} has a new one in Secrets Manager, which the application reads there; \
             the one before it stays valid until the next rotation, or until you end it with `{}`",
            client_command("rotate-secret", of, " --revoke-previous")
        ),
        Notice::SecretLeftBehind { of, error } => format!(
            "{of} keeps digests now, but its secret is still in Secrets Manager, where it is billed: {error}; delete it with `{}`",
            change(of, "--secret-storage digest")
        ),
        Notice::NoGrantInRealm(realm) => format!(
            "no client of realm '{realm}' can get a token: client_credentials is not among the realm's grant types; allow it with `{}`",
            change(&Subject::Realm(realm.clone()), "--grant-type client_credentials")
        ),
        Notice::NewSecretEndsAt(time) => format!(
            "the new secret stops working at {}, like the one before it; --secret-lifetime SECONDS changes that",
            output::utc(*time)
        ),
        Notice::RotatedTwice { of, seconds } => format!(
            "the last rotation was only {} ago, and the secret before it, which the application may still use, no longer works; \
             hand out the new one now; if a new secret gets lost, replace it with `{}`, which keeps the previous one valid",
            span(*seconds),
            client_command("rotate-secret", of, " --replace-current")
        ),
        Notice::SecretIsCurrent(of) => format!(
            "NOTHING WAS CHANGED: the secret that was given is already the current one of {of}, and the previous one stays as it is; to \
             replace the current one, give another secret"
        ),
        Notice::NoPreviousSecretToKeep(of) => format!(
            "{of} had no valid secret besides the current one, so that one stays valid beside the new one; end it with `{}`",
            client_command("rotate-secret", of, " --revoke-previous")
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
        Notice::SetBackByFile { of, file, members } => {
            format!(
                "{of} is declared by '{file}': the next `grantwell apply` of that file sets {} back; change the file as well",
                members.join(", ")
            )
        }
        Notice::MadeAgainByFile { of, file } => {
            format!("{of} is declared by '{file}': the next `grantwell apply` of that file makes it again; change the file as well")
        }
        Notice::FirstKeysMade(realm) => format!("realm '{realm}' had no keys to rotate, so its first ones were made"),
    }
}

/// Says what hinders, with the command that helps.
fn hindrance(why: Hindrance, of: &Subject) -> String {
    let realm = realm_of(of);
    match why {
        Hindrance::NoScope => format!("it has no scope; give it one with `{}`", change(of, "--scope SCOPE")),
        Hindrance::NoScopeAllowed => {
            format!("its realm allows none of its scopes; see them with `{}`", show(&Subject::Realm(realm.clone())))
        }
        Hindrance::NoGrant => format!(
            "client_credentials is not among its grant types; add it with `{}`",
            change(of, "--grant-type client_credentials")
        ),
        Hindrance::NoGrantAllowed => format!(
            "its realm does not allow the grant type client_credentials; allow it with `{}`",
            change(&Subject::Realm(realm.clone()), "--grant-type client_credentials")
        ),
        Hindrance::NoKey => format!(
            "it has no key; make one with `{}`, or give its public key with `{}`",
            client_command("key generate", of, ""),
            change(of, "--jwks FILE")
        ),
        Hindrance::Disabled => format!("it is disabled; enable it with `{}`", client_command("enable", of, "")),
        Hindrance::SecretsExpired => format!(
            "its secrets have expired; make another with `{}`",
            client_command("rotate-secret", of, " --secret-lifetime 0")
        ),
        Hindrance::NoSecret => format!("it has no secret; make one with `{}`", client_command("rotate-secret", of, "")),
    }
}

fn clients(count: usize) -> String {
    if count == 1 { "1 client".to_owned() } else { format!("{count} clients") }
}

/// The first of `count` clients by their names.
fn names(first: &[ClientId], count: usize) -> String {
    let names: Vec<String> = first.iter().map(|id| format!("'{id}'")).collect();
    let more = count.saturating_sub(first.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", names.join(", "))
}

/// The first of `count` clients, of whatever realms.
fn owned(first: &[(RealmName, ClientId)], count: usize) -> String {
    let name = |(realm, client_id): &(RealmName, ClientId)| format!("'{client_id}' in realm '{realm}'");
    let names: Vec<String> = first.iter().map(name).collect();
    let more = count.saturating_sub(first.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", names.join(", "))
}

fn span(seconds: u64) -> String {
    match seconds {
        1 => "1 second".to_owned(),
        ..120 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds / 60),
    }
}

fn unknown(subject: &Subject) -> String {
    match subject {
        Subject::Realm(name) => {
            format!(
                "there is no realm '{name}'; see the realms with `{}`, or make it with `{}`",
                suggest_here("realm list"),
                suggest_here(&format!("realm set {name}"))
            )
        }
        Subject::Client { realm, client_id } => format!(
            "realm '{realm}' has no client '{client_id}'; list its clients with: {}",
            suggest("client list", realm)
        ),
        Subject::Issuer { realm, name } => {
            format!(
                "realm '{realm}' trusts no issuer '{name}'; list its issuers with: {}",
                suggest("issuer list", realm)
            )
        }
        Subject::Owner(id) => format!("there is no owner '{id}'; see the owners with: {}", suggest_here("owner list")),
    }
}

fn exists(subject: &Subject) -> String {
    match subject {
        Subject::Realm(name) => format!("realm '{name}' exists already"),
        Subject::Client { realm, client_id } => format!(
            "realm '{realm}' already has a client '{client_id}', which stays as it is; change it with `{}`, or choose another --id",
            client_command("update", subject, "")
        ),
        Subject::Issuer { realm, name } => format!(
            "realm '{realm}' already trusts an issuer '{name}', which stays as it is; change it with `{}`, or choose another name",
            suggest(&format!("issuer update {name}"), realm)
        ),
        Subject::Owner(_) => {
            format!("{subject} exists already and stays as it is; change it with `{}`", change(subject, ""))
        }
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

fn realm_of(subject: &Subject) -> RealmName {
    match subject {
        Subject::Realm(name) => name.clone(),
        Subject::Client { realm, .. } | Subject::Issuer { realm, .. } => realm.clone(),
        Subject::Owner(_) => RealmName::root(),
    }
}

/// The command that shows it.
fn show(subject: &Subject) -> String {
    match subject {
        Subject::Realm(name) => suggest_here(&format!("realm show {name}")),
        Subject::Client { .. } => client_command("show", subject, ""),
        Subject::Issuer { realm, name } => suggest(&format!("issuer show {name}"), realm),
        Subject::Owner(id) => suggest_here(&format!("owner show {id}")),
    }
}

/// The command that changes it, with `options`.
fn change(subject: &Subject, options: &str) -> String {
    match subject {
        Subject::Realm(name) => suggest_here(&format!("realm set {name} {options}")),
        Subject::Client { realm, client_id } => suggest(&format!("client update {client_id} {options}"), realm),
        Subject::Issuer { realm, name } => suggest(&format!("issuer update {name} {options}"), realm),
        Subject::Owner(id) => suggest_here(format!("owner update {id} {options}").trim_end()),
    }
}

fn client_command(command: &str, subject: &Subject, options: &str) -> String {
    match subject {
        Subject::Realm(realm) | Subject::Issuer { realm, .. } => {
            suggest(&format!("client {command} ID{options}"), realm)
        }
        Subject::Client { realm, client_id } => suggest(&format!("client {command} {client_id}{options}"), realm),
        Subject::Owner(_) => suggest_here(&format!("client {command} ID{options}")),
    }
}
