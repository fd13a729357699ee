//! The keys at an address, fetched by one process for all: each reads the copy that they share, and whoever finds it too old, or
//! without the key that it needs, may be the one that looks.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::fetcher::{FetchError, Fetched, Fetcher, Source};
use crate::core::keys::copy::{KeptKeys, KeyCopy};
use crate::core::keys::jwk_set::{JwkSet, RefusedJwks};
use crate::core::keys::remote::{CaCertificates, JwksUri};
use crate::core::port_error::PortError;
use crate::core::ports::{Clock, KeyCopies};
use crate::core::time::UnixSeconds;
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
    /// What was fetched is not a set of public keys.
    #[error(transparent)]
    Refused(#[from] RefusedJwks),
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

    /// The keys of `address`.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] where there are none that may be used.
    pub async fn keys(&self, address: &JwksUri) -> Result<KeysInUse, PortError> {
        let now = self.clock.now();
        let copy = usable(self.copies.kept_keys(address).await?, now);
        if let Some(copy) = &copy
            && copy.is_believed(now)
        {
            return in_use(copy, copy.believed_until.since(now));
        }
        // Without a copy clients wait for this look, so the next one may be sooner.
        let interval = if copy.is_some() { LOOK_INTERVAL } else { FIRST_LOOK_INTERVAL };
        match (self.look(address, now, interval).await?, copy) {
            (Looked::Fetched(keys), _) => Ok(keys),
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
    pub async fn keys_after(&self, address: &JwksUri, held: UnixSeconds) -> Result<KeysInUse, PortError> {
        let now = self.clock.now();
        let copy = usable(self.copies.kept_keys(address).await?, now);
        if let Some(copy) = &copy
            && copy.fetched_at > held
        {
            return in_use(copy, copy.believed_until.since(now));
        }
        match self.look(address, now, LOOK_INTERVAL).await? {
            Looked::Fetched(keys) => Ok(keys),
            Looked::Failed(error) => Err(error),
            Looked::NotOurs => {
                let newer = self.fetched_by_another(address, held).await?;
                let copy = newer.or(copy).ok_or_else(|| unavailable(address, "nothing was fetched a moment ago"))?;
                in_use(&copy, copy.believed_until.since(self.clock.now()).max(STALE_REREAD))
            }
        }
    }

    /// Fetches, if nobody has within `interval` seconds.
    async fn look(&self, address: &JwksUri, now: UnixSeconds, interval: u64) -> Result<Looked, PortError> {
        if !self.copies.begin_look(address, now, interval).await? {
            return Ok(Looked::NotOurs);
        }
        let fetched = match self.fetch.fetch_from(address, now).await {
            Ok(fetched) => fetched,
            Err(error) => return Ok(Looked::Failed(self.failed(address, &error.into()))),
        };
        let (keys, jwks) = match JwkSet::parse_fetched(fetched.text.as_bytes()) {
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
        }))
    }

    /// What another process brings that has begun to look a moment ago, newer than `held`.
    async fn fetched_by_another(&self, address: &JwksUri, held: UnixSeconds) -> Result<Option<KeyCopy>, PortError> {
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

    fn failed(&self, address: &JwksUri, error: &NoKeys) -> PortError {
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

/// What is at `address` now, for an operator who has just registered it.
///
/// # Errors
/// [`NoKeys`].
pub async fn try_fetching(fetcher: &Fetcher, address: &JwksUri, now: UnixSeconds) -> Result<JwkSet, NoKeys> {
    let fetched = fetcher.fetch_from(address, now).await?;
    Ok(JwkSet::parse_fetched(fetched.text.as_bytes())?)
}

/// Whether `error` is an issuer's who could not be asked, and no store's.
pub fn is_of_issuer(error: &PortError) -> bool {
    matches!(error, PortError::Unavailable { service: ISSUER, .. })
}

fn usable(kept: KeptKeys, now: UnixSeconds) -> Option<KeyCopy> {
    kept.copy.filter(|copy| copy.is_usable(now))
}

fn in_use(copy: &KeyCopy, believed_for: u64) -> Result<KeysInUse, PortError> {
    let keys = JwkSet::parse_fetched(copy.jwks.as_bytes());
    let keys = keys.or_else(|refused| if is_withdrawal(refused) { Ok(JwkSet::empty()) } else { Err(refused) });
    let keys = keys.map_err(|refused| PortError::Unavailable { service: ISSUER, detail: refused.to_string() })?;
    Ok(KeysInUse {
        keys: Arc::new(keys),
        fetched_at: copy.fetched_at,
        believed_for: Duration::from_secs(believed_for),
        usable_until: copy.usable_until(),
    })
}

/// Whether an issuer that publishes this vouches for none of its keys of before any more. A set with a private key in it is none that
/// anybody should believe, and is not kept.
fn is_withdrawal(refused: RefusedJwks) -> bool {
    matches!(refused, RefusedJwks::NoUsableKey | RefusedJwks::NotPublic)
}

/// The host alone: what follows it may be a secret of whoever runs it.
fn unavailable(address: &JwksUri, why: &str) -> PortError {
    PortError::Unavailable { service: ISSUER, detail: format!("{}: {why}", host_of(address)) }
}

fn host_of(address: &JwksUri) -> &str {
    let after_scheme = address.uri.as_str().trim_start_matches("https://");
    after_scheme.split(['/', '?']).next().unwrap_or_default()
}

const ISSUER: &str = "a client's jwks_uri";
const NO_KEYS: &str = r#"{"keys":[]}"#;
/// Seconds between two looks of all processes together.
const LOOK_INTERVAL: u64 = 60;
/// The same where there is nothing to use meanwhile.
const FIRST_LOOK_INTERVAL: u64 = 10;
/// Seconds until a process that uses an old copy reads it again, to find what another has fetched.
const STALE_REREAD: u64 = 10;
/// Seconds after which whoever began to look has ended, one way or the other.
const LOOK_TAKES: u64 = 4;
/// How long to wait for what another fetches, again and again.
const WAITS: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(700),
    Duration::from_secs(1),
];
