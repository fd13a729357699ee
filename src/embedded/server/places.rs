//! Who has a connection: so many in all, and none of those who could take them all may.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use super::activity::{Activity, Told};
use super::limits::MOST_ENDING;
use super::sources::Sources;
use crate::core::source::ClientSource;

/// The places of all connections.
pub(super) struct Places {
    most: usize,
    taken: Mutex<Taken>,
    /// Notified when a place is free again.
    freed: Notify,
}

/// One of them, free again when this is dropped.
pub(super) struct Place {
    id: u64,
    peers: Peers,
    activity: Arc<Activity>,
    places: Arc<Places>,
}

/// Peers that share what they may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Peers {
    /// All of this machine, whose addresses cost nothing.
    Loopback,
    /// One address, or the network that one peer has of IPv6.
    At(ClientSource),
    /// All, where they are proxies: each stands for many.
    Proxies,
}

#[derive(Default)]
struct Taken {
    next_id: u64,
    by_id: HashMap<u64, (Peers, Arc<Activity>)>,
    /// How many of these have been told to end.
    ending: usize,
    /// How many of the others are whose.
    by_peers: HashMap<Peers, usize>,
}

impl Peers {
    /// Those to whom a peer belongs.
    pub(super) fn of(peer: IpAddr, sources: Sources) -> Self {
        let peer = peer.to_canonical();
        match sources {
            _ if peer.is_loopback() => Self::Loopback,
            Sources::Peers => Self::At(ClientSource::of(peer)),
            Sources::ForwardedFor | Sources::Unknown => Self::Proxies,
        }
    }

    /// How many of the `most` connections they may have: one stranger must not be able to keep out the others, nor what runs on this
    /// machine, such as a test that forgets to close, whoever comes from elsewhere.
    fn share(self, most: usize) -> usize {
        match self {
            Self::Loopback => most - most.div_ceil(10),
            Self::At(_) => most.div_ceil(4),
            Self::Proxies => most,
        }
    }
}

impl Places {
    /// Room for `most`.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default(), freed: Notify::new() })
    }

    /// A free place for a connection of `peers`.
    pub(super) fn take(self: &Arc<Self>, peers: Peers) -> Option<Place> {
        let mut taken = self.taken();
        if taken.by_id.len() - taken.ending >= self.most || self.have_their_share(&taken, peers) {
            return None;
        }
        let (id, activity) = (taken.next_id, Arc::new(Activity::new()));
        taken.next_id += 1;
        taken.by_id.insert(id, (peers, Arc::clone(&activity)));
        *taken.by_peers.entry(peers).or_default() += 1;
        Some(Place { id, peers, activity, places: Arc::clone(self) })
    }

    /// The place of the connection that can best be dispensed with, of theirs where `peers` have their share, or else of all, for one
    /// request: of those who come back as soon as they are ended, none is to have the next ones' time as well. `None` where each of
    /// those is being answered for as long as who comes after may be kept waiting.
    pub(super) async fn take_over(self: &Arc<Self>, peers: Peers) -> Option<Place> {
        let began = Instant::now();
        loop {
            let freed = self.freed.notified();
            let own_only = self.have_their_share(&self.taken(), peers);
            let place =
                self.take(peers).or_else(|| self.end_one(own_only.then_some(peers)).then(|| self.take(peers))?);
            if let Some(place) = place {
                place.activity.be_brief();
                return Some(place);
            }
            // One stranger that has its share keeps nobody waiting but itself.
            let may_wait = !(own_only && matches!(peers, Peers::At(_))) || self.taken().ending >= MOST_ENDING;
            if !may_wait || began.elapsed() >= ENDED_WITHIN {
                return None;
            }
            let _elapsed = timeout(LOOKED_AGAIN_AFTER, freed).await;
        }
    }

    /// Ends the connection that can best be dispensed with, of `peers` or of all; whether there was one. Its thread does so when it
    /// comes round to it, so that some are ending while others have their places.
    pub(super) fn end_one(&self, peers: Option<Peers>) -> bool {
        let mut taken = self.taken();
        if taken.ending >= MOST_ENDING {
            return false;
        }
        let theirs = taken.by_id.values().filter(|(owner, _)| peers.is_none_or(|peers| *owner == peers));
        let dispensable = theirs.filter_map(|(owner, activity)| Some((activity.dispensable()?, *owner, activity)));
        let Some((_, owner, activity)) = dispensable.max_by_key(|(least_lost, ..)| *least_lost) else { return false };
        activity.tell(Told::End);
        taken.ending += 1;
        taken.leave(owner);
        true
    }

    /// Tells all to finish, and waits until they have.
    pub(super) async fn finish(&self) {
        self.taken().by_id.values().for_each(|(_, activity)| activity.tell(Told::Finish));
        loop {
            let freed = self.freed.notified();
            if self.taken().by_id.is_empty() {
                return;
            }
            freed.await;
        }
    }

    fn have_their_share(&self, taken: &Taken, peers: Peers) -> bool {
        taken.count(peers) >= peers.share(self.most)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn leave(&mut self, peers: Peers) {
        let left = self.count(peers).saturating_sub(1);
        // Strangers have many addresses, and none of them is to be remembered.
        if left == 0 {
            self.by_peers.remove(&peers);
        } else {
            self.by_peers.insert(peers, left);
        }
    }

    fn count(&self, peers: Peers) -> usize {
        self.by_peers.get(&peers).copied().unwrap_or_default()
    }
}

impl Place {
    /// What its connection does.
    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.by_id.remove(&self.id);
        if self.activity.must_end() {
            taken.ending = taken.ending.saturating_sub(1);
        } else {
            taken.leave(self.peers);
        }
        drop(taken);
        self.places.freed.notify_waiters();
    }
}

/// How long the next waits for one of them: where the threads are busy, others wait in the queue of the kernel rather than being refused.
const ENDED_WITHIN: Duration = Duration::from_secs(1);
/// What a connection is doing changes without notice.
const LOOKED_AGAIN_AFTER: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::server::limits::Limits;

    fn at(address: &str) -> Peers {
        Peers::of(address.parse().expect("an address"), Sources::Peers)
    }

    /// Takes as many places as there are for `peers`, whose connections are all busy.
    fn fill(places: &Arc<Places>, peers: Peers) -> Vec<Place> {
        let mut taken = Vec::new();
        while let Some(place) = places.take(peers) {
            place.activity().request_begins(false, &Limits::default());
            taken.push(place);
        }
        taken
    }

    #[test]
    fn one_address_has_a_quarter_and_all_of_loopback_nine_tenths() {
        let places = Places::new(100);
        let one = fill(&places, at("192.0.2.1"));
        assert_eq!(one.len(), 25);
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_eq!(at("2001:db8:1:2:3::4"), at("2001:db8:1:2::ffff"), "one peer has all of a /64");
        let other = fill(&places, at("2001:db8:1:2::1"));
        assert_eq!(other.len(), 25);
        drop(one);
        assert_eq!(fill(&places, at("192.0.2.1")).len(), 25, "what was given back is there again");
        drop(other);
        for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(at(loopback), Peers::Loopback);
        }
        let loopback = fill(&places, Peers::Loopback);
        assert_eq!(loopback.len(), 90);
        assert_eq!(fill(&places, at("192.0.2.1")).len(), 10);
        drop(loopback);
        assert!(places.taken().by_peers.is_empty() && places.taken().by_id.is_empty());
    }

    #[test]
    fn a_proxy_may_have_them_all() {
        let places = Places::new(100);
        for sources in [Sources::ForwardedFor, Sources::Unknown] {
            let proxy = Peers::of([192, 0, 2, 1].into(), sources);
            assert_eq!(fill(&places, proxy).len(), 100);
        }
        assert_eq!(fill(&places, Peers::of([127, 0, 0, 1].into(), Sources::ForwardedFor)).len(), 90);
    }

    #[tokio::test]
    async fn a_connection_that_waits_for_its_peer_makes_room_and_one_that_is_answered_does_not() {
        let places = Places::new(8);
        let mut others = fill(&places, at("192.0.2.1"));
        others.extend(fill(&places, at("192.0.2.2")));
        let idle = places.take(at("192.0.2.3")).expect("room");
        assert!(!places.end_one(None), "its thread has not looked what it wants");
        idle.activity().has_found_nothing();
        tokio::time::sleep(Duration::from_millis(20)).await;
        others.push(places.take(at("192.0.2.3")).expect("room"));
        for place in &others {
            place.activity().has_found_nothing();
        }
        others.extend(fill(&places, at("192.0.2.4")));
        assert_eq!(others.len(), 7);

        let sixth = places.take_over(at("192.0.2.5")).await.expect("the idle one has to go");
        sixth.activity().request_begins(false, &Limits::default());
        assert_eq!(idle.activity().is_told().await, Told::End);
        assert_eq!(places.taken().by_id.len(), 9, "though it has not gone yet");
        drop(idle);
        assert_eq!(places.taken().by_id.len(), 8);
        // One that has its share makes room of its own, and only of it.
        assert!(places.take_over(at("192.0.2.1")).await.is_none());
        assert_eq!(places.taken().by_id.len(), 8);
        assert!(places.end_one(None));
        assert!(!places.end_one(None), "it has been told already");
    }

    #[tokio::test]
    async fn who_comes_when_there_is_no_room_waits_for_a_thread_to_look_and_is_answered_once() {
        let (places, limits) = (Places::new(10), Limits::default());
        let new: Vec<_> = (0..9).map(|_| places.take(Peers::Loopback).expect("room")).collect();
        assert!(!new[0].activity().request_begins(false, &limits), "there was room for it");
        let looked = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            new[1].activity().has_found_nothing();
        };
        let (next, ()) = tokio::join!(places.take_over(Peers::Loopback), looked);
        assert!(next.expect("the place of the second").activity().request_begins(false, &limits));
        assert!(new[1].activity().must_end());
    }

    #[tokio::test]
    async fn one_stranger_that_has_its_share_keeps_nobody_else_waiting() {
        let places = Places::new(100);
        let strangers = fill(&places, at("192.0.2.1"));
        let began = Instant::now();
        assert!(places.take_over(at("192.0.2.1")).await.is_none());
        assert!(began.elapsed() < ENDED_WITHIN);
        let loopback = fill(&places, Peers::Loopback);
        assert_eq!(strangers.len() + loopback.len(), 100);
        assert!(places.take_over(at("192.0.2.2")).await.is_none());
        assert!(began.elapsed() >= ENDED_WITHIN, "where all are taken and answered, everybody waits for a while");
    }

    #[tokio::test]
    async fn no_more_are_ending_at_once_than_there_are_descriptors_for() {
        let places = Places::new(100);
        let idle: Vec<_> = (0..90).map(|_| places.take(Peers::Loopback).expect("room")).collect();
        for place in &idle {
            place.activity().has_found_nothing();
        }
        let mut newcomers = Vec::new();
        while let Some(place) = places.take_over(Peers::Loopback).await {
            newcomers.push(place);
        }
        assert_eq!(newcomers.len(), MOST_ENDING);
        assert_eq!(places.taken().by_id.len(), 90 + MOST_ENDING);
        drop(idle);
        assert!(places.take(Peers::Loopback).is_some());
        drop(newcomers);
        let left = places.taken();
        assert!(left.by_peers.is_empty() && left.by_id.is_empty() && left.ending == 0);
    }
}
