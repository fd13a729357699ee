//! The keys at an address, fetched by one process for all: each reads the copy that they share, and whoever finds it too old, or
//! without the key that it needs, may be the one that looks. Where an issuer's metadata document says where its keys are, both
//! documents are one look, and one copy.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::fetcher::{FetchError, Fetched, Fetcher, Source};
use crate::core::keys::copy::{KeptKeys, KeyCopy};
use crate::core::keys::jwk_set::{JwkSet, RefusedJwks};
use crate::core::keys::remote::{CaCertificates, JwksUri, JwksUrl};
use crate::core::port_error::PortError;
use crate::core::ports::{Clock, KeyCopies};
use crate::core::source::ClientSource;
use crate::core::time::UnixSeconds;
use crate::core::trust::discovery::{RefusedMetadata, jwks_uri};
use crate::core::trust::key_address::KeyAddress;
use crate::observe::event::Remembered;
use crate::observe::{Event, Observer};

/// Keys from the copies of a deployment, and from their issuers.
pub struct SharedKeys {
    copies: Arc<dyn KeyCopies>,
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    observer: Arc<Observer>,
}

/// Keys, and how long they can be used.
#[derive(Clone)]
pub struct KeysInUse {
    /// The keys.
    pub keys: Arc<JwkSet>,
    /// When fetching them began.
    pub fetched_at: UnixSeconds,
    /// For how long nobody else need be asked.
    pub believed_for: Duration,
    /// When they may not be used any more, whoever cannot be asked.
    pub usable_until: UnixSeconds,
    /// Whether they are of an issuer that nobody has registered, and have admitted a client.
    pub is_confirmed: bool,
}

/// On whose behalf keys are looked for.
#[derive(Clone, Copy, Debug)]
pub enum Asker {
    /// An operator has set the address.
    Operator,
    /// A caller has named the issuer, from here.
    Stranger(Option<ClientSource>),
}

/// Fetches what is at an address.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// What is there at the time `now`.
    async fn fetch_from(&self, address: &JwksUri, now: UnixSeconds) -> Result<Fetched, FetchError>;
}

/// Why there are no keys of an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKeys {
    /// Nothing was fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The issuer's metadata document does not say where its keys are.
    #[error(transparent)]
    Metadata(#[from] RefusedMetadata),
    /// What was fetched is not a set of public keys.
    #[error(transparent)]
    Refused(#[from] RefusedJwks),
}

/// A look, before anybody has begun it.
#[derive(Clone, Copy)]
struct Look<'a> {
    address: KeyAddress<'a>,
    now: UnixSeconds,
    /// Seconds that have to have passed since the last one.
    interval: u64,
    /// Whether it is a caller's word alone that there is anything: then that there is nothing is an answer.
    is_of_stranger: bool,
}

/// What came of a wish to look.
enum Looked {
    /// Keys.
    Fetched(KeysInUse),
    /// Nothing.
    Failed(PortError),
    /// Another process has looked, or still does, or it is too soon.
    NotOurs,
}

impl SharedKeys {
    /// Keys that `fetch` brings and `copies` keeps.
    pub fn new(copies: Arc<dyn KeyCopies>, fetch: Arc<dyn Fetch>, clock: Arc<dyn Clock>) -> Self {
        Self { copies, fetch, clock, observer: Arc::default() }
    }

    /// Tells `observer` of what was fetched, and where old keys are used.
    #[must_use]
    pub fn observed_by(self, observer: Arc<Observer>) -> Self {
        Self { observer, ..self }
    }

    /// The keys of `address`, which is known to be somebody's or that `asker` has named.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where there are none that may be used.
    pub async fn keys(&self, address: KeyAddress<'_>, asker: Asker) -> Result<KeysInUse, PortError> {
        let now = self.clock.now();
        let kept = self.copies.kept_keys(address).await?;
        let KeptKeys { looked_at, is_confirmed, .. } = kept;
        let in_use = |copy: &KeyCopy, believed_for| in_use(address, copy, believed_for, is_confirmed);
        let is_of_stranger = matches!(asker, Asker::Stranger(_)) && !is_confirmed;
        // That there is no such issuer is believed for its time and not used past it: an account may have one since.
        let is_absence = |copy: &KeyCopy| is_of_stranger && copy.jwks == NO_KEYS;
        let copy = usable(kept, now).filter(|copy| !is_absence(copy) || copy.is_believed(now));
        if let Some(copy) = &copy
            && copy.is_believed(now)
        {
            return in_use(copy, copy.believed_until.since(now));
        }
        // Without a copy clients wait for this look, so the next one may be sooner.
        let interval = if copy.is_some() || is_of_stranger { LOOK_INTERVAL } else { FIRST_LOOK_INTERVAL };
        let look = Look { address, now, interval, is_of_stranger: is_of_stranger && copy.is_none() };
        let looked = match asker {
            Asker::Stranger(source) if is_of_stranger => self.look_for_stranger(look, looked_at, source).await?,
            Asker::Stranger(_) | Asker::Operator => self.look(look).await?,
        };
        match (looked, copy) {
            (Looked::Fetched(keys), _) => Ok(KeysInUse { is_confirmed, ..keys }),
            (Looked::Failed(error), None) => Err(error),
            (Looked::Failed(error), Some(copy)) => {
                let age = Duration::from_secs(now.since(copy.fetched_at));
                self.observer.tell(Event::ServedStale { what: Remembered::RemoteKeys, age, error: &error });
                in_use(&copy, LOOK_INTERVAL)
            }
            (Looked::NotOurs, Some(copy)) => in_use(&copy, STALE_REREAD),
            (Looked::NotOurs, None) => {
                let copy = self.fetched_by_another(address, UnixSeconds(0)).await?;
                let copy =
                    copy.ok_or_else(|| unavailable(address, "another process could not fetch it a moment ago"))?;
                in_use(&copy, copy.believed_until.since(self.clock.now()))
            }
        }
    }

    /// The keys of `address` for who needs one that is not among those that were fetched at `held`: newer ones, where there are any and
    /// somebody may look for them. Otherwise those that it has.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where there are none that may be used, or the issuer could not be asked.
    pub async fn keys_after(
        &self,
        address: KeyAddress<'_>,
        asker: Asker,
        held: UnixSeconds,
    ) -> Result<KeysInUse, PortError> {
        let now = self.clock.now();
        let kept = self.copies.kept_keys(address).await?;
        let KeptKeys { looked_at, is_confirmed, .. } = kept;
        let in_use = |copy: &KeyCopy, believed_for| in_use(address, copy, believed_for, is_confirmed);
        let copy = usable(kept, now);
        if let Some(copy) = &copy
            && copy.fetched_at > held
        {
            return in_use(copy, copy.believed_until.since(now));
        }
        let look = Look { address, now, interval: LOOK_INTERVAL, is_of_stranger: false };
        let looked = match asker {
            Asker::Stranger(source) if !is_confirmed => self.look_for_stranger(look, looked_at, source).await?,
            Asker::Stranger(_) | Asker::Operator => self.look(look).await?,
        };
        match looked {
            Looked::Fetched(keys) => Ok(KeysInUse { is_confirmed, ..keys }),
            Looked::Failed(error) => Err(error),
            Looked::NotOurs => {
                let newer = self.fetched_by_another(address, held).await?;
                let copy = newer.or(copy).ok_or_else(|| unavailable(address, "nothing was fetched a moment ago"))?;
                in_use(&copy, copy.believed_until.since(self.clock.now()).max(STALE_REREAD))
            }
        }
    }

    /// Notes that a token of an issuer that nobody has registered has admitted a client.
    pub async fn confirm(&self, address: KeyAddress<'_>) {
        if let Err(error) = self.copies.confirm(address).await {
            // Another admission will, in this process or another.
            tracing::warn!(%error, "an issuer could not be noted as one that admits clients");
        }
    }

    /// Fetches, if nobody has within the interval and `source` may.
    async fn look_for_stranger(
        &self,
        look: Look<'_>,
        looked_at: Option<UnixSeconds>,
        source: Option<ClientSource>,
    ) -> Result<Looked, PortError> {
        // Naming one issuer again and again takes no look-up from the others.
        let is_too_soon = looked_at.is_some_and(|at| look.now.since(at) < look.interval && at <= look.now);
        if is_too_soon {
            return Ok(Looked::NotOurs);
        }
        for _attempt in 0..LOOKUP_ATTEMPTS {
            match self.copies.lookups().await?.with(look.now, source) {
                Ok(lookups) if self.copies.replace_lookups(&lookups, look.now).await? => return self.look(look).await,
                // Another was quicker.
                Ok(_) => {}
                Err(too_many) => return Ok(Looked::Failed(no_lookup(too_many.to_string()))),
            }
        }
        Ok(Looked::Failed(no_lookup("too many are looked up at once".to_owned())))
    }

    /// Fetches, if nobody has within the interval.
    async fn look(&self, look: Look<'_>) -> Result<Looked, PortError> {
        let Look { address, now, interval, is_of_stranger } = look;
        if !self.copies.begin_look(address, now, interval).await? {
            return Ok(Looked::NotOurs);
        }
        let fetched = match fetched_at(self.fetch.as_ref(), address, now).await {
            Ok(fetched) => fetched,
            Err(NoKeys::Fetch(error)) if is_of_stranger && error.is_absence() => {
                tracing::info!(issuer = address.host(), %error, "an issuer that nobody has registered has no keys");
                Fetched { text: NO_KEYS.to_owned(), believed_for: ABSENCE_BELIEVED }
            }
            Err(error) => return Ok(Looked::Failed(self.failed(address, &error))),
        };
        let (keys, jwks) = match address.read(&fetched.text) {
            Ok(keys) => (keys, fetched.text),
            Err(refused) if is_withdrawal(refused) => {
                self.failed(address, &refused.into());
                (JwkSet::empty(), NO_KEYS.to_owned())
            }
            Err(refused) => return Ok(Looked::Failed(self.failed(address, &refused.into()))),
        };
        let believed_until = now.plus(fetched.believed_for.as_secs());
        let copy = KeyCopy { jwks, fetched_at: now, believed_until };
        if let Err(error) = self.copies.keep(address, &copy).await {
            // Whoever has fetched them can use them. The others cannot, until somebody may look again.
            tracing::warn!(%error, "fetched keys could not be shared");
        }
        Ok(Looked::Fetched(KeysInUse {
            keys: Arc::new(keys),
            fetched_at: now,
            believed_for: fetched.believed_for,
            usable_until: copy.usable_until(),
            is_confirmed: false,
        }))
    }

    /// What another process brings that has begun to look a moment ago, newer than `held`.
    async fn fetched_by_another(
        &self,
        address: KeyAddress<'_>,
        held: UnixSeconds,
    ) -> Result<Option<KeyCopy>, PortError> {
        let mut waits = WAITS.into_iter();
        loop {
            let kept = self.copies.kept_keys(address).await?;
            let (now, looked_at) = (self.clock.now(), kept.looked_at);
            let copy = usable(kept, now).filter(|copy| copy.fetched_at > held);
            let is_coming = looked_at.is_some_and(|looked_at| looked_at > held && now < looked_at.plus(LOOK_TAKES));
            match waits.next() {
                Some(wait) if copy.is_none() && is_coming => tokio::time::sleep(wait).await,
                _ => return Ok(copy),
            }
        }
    }

    fn failed(&self, address: KeyAddress<'_>, error: &NoKeys) -> PortError {
        let error = unavailable(address, &error.to_string());
        self.observer.tell(Event::KeysNotFetched { error: &error });
        error
    }
}

#[async_trait]
impl Fetch for Fetcher {
    async fn fetch_from(&self, address: &JwksUri, now: UnixSeconds) -> Result<Fetched, FetchError> {
        let url = address.uri.as_str().parse().map_err(|_| FetchError::NotHttps)?;
        let source = Source {
            url: &url,
            allow_private_network: address.allow_private_network,
            authorities: address.ca.as_ref().map(CaCertificates::as_pem),
        };
        self.fetch(&source, SystemTime::UNIX_EPOCH + Duration::from_secs(now.0)).await
    }
}

/// The keys at `address` now, for an operator who has just registered it.
///
/// # Errors
/// [`NoKeys`].
pub async fn try_fetching(fetcher: &Fetcher, address: KeyAddress<'_>, now: UnixSeconds) -> Result<JwkSet, NoKeys> {
    let fetched = fetched_at(fetcher, address, now).await?;
    Ok(address.read(&fetched.text)?)
}

/// The document with the keys of `address`.
async fn fetched_at(fetch: &dyn Fetch, address: KeyAddress<'_>, now: UnixSeconds) -> Result<Fetched, NoKeys> {
    match address {
        KeyAddress::JwksUri(keys) | KeyAddress::SpiffeBundle(keys) => Ok(fetch.fetch_from(keys, now).await?),
        KeyAddress::Discovery { issuer, allow_private_network, ca } => {
            let at = |uri: JwksUrl| JwksUri { uri, allow_private_network, ca: ca.cloned() };
            let metadata = issuer.metadata_url().and_then(|url| url.parse().ok()).ok_or(FetchError::NotHttps)?;
            let metadata = fetch.fetch_from(&at(metadata), now).await?;
            // The keys are believed for as long as their own server says. The other document is read again whenever they are.
            let keys = jwks_uri(&metadata.text, issuer)?;
            Ok(fetch.fetch_from(&at(keys), now).await?)
        }
    }
}

/// Whether `error` is an issuer's who could not be asked, and no store's.
pub fn is_of_issuer(error: &PortError) -> bool {
    matches!(error, PortError::Unavailable { service: ISSUER, .. })
}

fn usable(kept: KeptKeys, now: UnixSeconds) -> Option<KeyCopy> {
    kept.copy.filter(|copy| copy.is_usable(now))
}

fn in_use(
    address: KeyAddress<'_>,
    copy: &KeyCopy,
    believed_for: u64,
    is_confirmed: bool,
) -> Result<KeysInUse, PortError> {
    let keys = address.read(&copy.jwks);
    let keys = keys.or_else(|refused| if is_withdrawal(refused) { Ok(JwkSet::empty()) } else { Err(refused) });
    let keys = keys.map_err(|refused| PortError::Unavailable { service: ISSUER, detail: refused.to_string() })?;
    Ok(KeysInUse {
        keys: Arc::new(keys),
        fetched_at: copy.fetched_at,
        believed_for: Duration::from_secs(believed_for),
        usable_until: copy.usable_until(),
        is_confirmed,
    })
}

/// Whether an issuer that publishes this vouches for none of its keys of before any more. A set with a private key in it is none that
/// anybody should believe, and is not kept.
fn is_withdrawal(refused: RefusedJwks) -> bool {
    matches!(refused, RefusedJwks::NoUsableKey | RefusedJwks::NotPublic)
}

fn unavailable(address: KeyAddress<'_>, why: &str) -> PortError {
    PortError::Unavailable { service: ISSUER, detail: format!("{}: {why}", address.host()) }
}

fn no_lookup(detail: String) -> PortError {
    PortError::Unavailable { service: "the look-up of an issuer of AWS STS", detail }
}

const ISSUER: &str = "a server of public keys";
const NO_KEYS: &str = r#"{"keys":[]}"#;
/// Seconds between two looks of all processes together.
const LOOK_INTERVAL: u64 = 60;
/// The same where there is nothing to use meanwhile.
const FIRST_LOOK_INTERVAL: u64 = 10;
/// Seconds until a process that uses an old copy reads it again, to find what another has fetched.
const STALE_REREAD: u64 = 10;
/// Seconds after which whoever began to look has ended, one way or the other: two documents take two seconds each at most.
const LOOK_TAKES: u64 = 5;
/// How long it is believed that there is no issuer of a name that a caller has made up, or that is not there yet.
const ABSENCE_BELIEVED: Duration = Duration::from_mins(5);
/// How often a process tries to count a look-up while others count theirs.
const LOOKUP_ATTEMPTS: usize = 5;
/// How long to wait for what another fetches, again and again.
const WAITS: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(700),
    Duration::from_secs(1),
    Duration::from_secs(1),
];
