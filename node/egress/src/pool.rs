//! The connections of one reactor: who is idle, for how long, for whom.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::{
    body::Slices,
    outbound::Outbound,
    port::{UpstreamAddress, WireFault},
    stream::Gauge,
    target::{OriginKey, Target},
};

/// Idle connections to one origin that are kept: as many as one reactor has calls at once to one provider under load.
pub const IDLE_PER_ORIGIN_MAX: usize = 256;
/// Idle connections that one reactor keeps in all; each costs a descriptor and, under TLS, some 40 KB.
pub const IDLE_MAX: usize = 1_024;
/// An idle connection is closed after this long: before the 65 s and more after which providers and their balancers do it.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Provider addresses that are kept ready; with more, all are made ready anew.
pub const TARGETS_MAX: usize = 4_096;
/// A connection idle for longer than this is looked at again before it is used: the provider may have closed it meanwhile.
const TRUSTED_FOR: Duration = Duration::from_millis(200);
/// How often idle connections are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(15);
/// A connection whose answer has ended must be ready for the next request after this long, or it is closed.
const READY_WAIT: Duration = Duration::from_secs(1);

/// Stands for an origin while the reactor runs; never used again for another.
pub(crate) type OriginId = u64;

/// An established connection, held by one exchange or by the pool. Dropping it closes it.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Slices>,
    pub(crate) gauge: Arc<Gauge>,
    pub(crate) origin: OriginId,
    driver: AbortHandle,
}

impl Connection {
    pub(crate) fn new(sender: SendRequest<Slices>, gauge: Arc<Gauge>, origin: OriginId, driver: AbortHandle) -> Connection {
        Connection { sender, gauge, origin, driver }
    }

    fn is_usable(&self) -> bool {
        self.sender.is_ready() && !self.sender.is_closed()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Without this the driver would try to close in order and could wait for a peer that reads no more.
        self.driver.abort();
    }
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// What one reactor keeps of its connections. The lock is never waited for: only its own thread takes it.
pub(crate) struct Pool {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    targets: BTreeMap<u64, (OriginId, Arc<Target>)>,
    origins: BTreeMap<OriginKey, OriginId>,
    /// The last to come is the first to go: what is not needed grows old and is closed.
    idle: BTreeMap<OriginId, Vec<Idle>>,
    idle_count: usize,
    origins_made: u64,
    sweeping: bool,
}

impl Pool {
    pub(crate) fn new() -> Arc<Pool> {
        Arc::new(Pool { inner: Mutex::new(Inner::default()) })
    }

    /// The address made ready, from memory if it is still the same.
    pub(crate) fn target(&self, address: &UpstreamAddress, outbound: &Outbound) -> Result<(OriginId, Arc<Target>), WireFault> {
        let mut inner = self.inner.lock();
        if let Some((origin, target)) = inner.targets.get(&address.id)
            && target.is_of(address)
        {
            return Ok((*origin, target.clone()));
        }
        let target = Arc::new(Target::new(address, outbound)?);
        let origin = inner.origin(target.key());
        inner.targets.insert(address.id, (origin, target.clone()));
        Ok((origin, target))
    }

    /// An idle connection that can be used, the youngest first.
    pub(crate) async fn checkout(&self, origin: OriginId) -> Option<Connection> {
        loop {
            let idle = self.inner.lock().pop(origin, Instant::now())?;
            if idle.since.elapsed() > TRUSTED_FOR {
                // The runtime looks at its sockets before it comes back here, and the driver hears of a close.
                tokio::task::yield_now().await;
            }
            if idle.connection.is_usable() {
                return Some(idle.connection);
            }
        }
    }

    /// Whether the next request to this origin will probably find a connection.
    pub(crate) fn has_idle(&self, origin: OriginId) -> bool {
        let inner = self.inner.lock();
        let youngest = inner.idle.get(&origin).and_then(|stack| stack.last());
        youngest.is_some_and(|idle| idle.connection.is_usable() && idle.since.elapsed() < IDLE_TIMEOUT)
    }

    /// Takes a connection back whose exchange has ended in order.
    pub(crate) fn checkin(self: &Arc<Self>, mut connection: Connection) {
        if connection.is_usable() {
            self.keep(connection);
        } else if !connection.sender.is_closed() {
            let pool = Arc::downgrade(self);
            tokio::spawn(async move {
                let ready = tokio::time::timeout(READY_WAIT, connection.sender.ready()).await;
                if let (Ok(Ok(())), Some(pool)) = (ready, pool.upgrade()) {
                    pool.keep(connection);
                }
            });
        }
    }

    fn keep(self: &Arc<Self>, connection: Connection) {
        let mut inner = self.inner.lock();
        let kept = inner.push(connection, Instant::now());
        if kept && !inner.sweeping {
            inner.sweeping = true;
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Idle connections, over all origins.
    pub(crate) fn idle_count(&self) -> usize {
        self.inner.lock().idle_count
    }
}

impl Inner {
    fn origin(&mut self, key: OriginKey) -> OriginId {
        if self.targets.len() >= TARGETS_MAX || self.origins.len() >= TARGETS_MAX {
            self.targets.clear();
            self.origins.clear();
            self.idle.clear();
            self.idle_count = 0;
        }
        let next = self.origins_made;
        let origin = *self.origins.entry(key).or_insert(next);
        if origin == next {
            self.origins_made += 1;
            self.idle.insert(origin, Vec::new());
        }
        origin
    }

    fn pop(&mut self, origin: OriginId, now: Instant) -> Option<Idle> {
        let stack = self.idle.get_mut(&origin)?;
        let idle = stack.pop()?;
        self.idle_count -= 1;
        if now.saturating_duration_since(idle.since) < IDLE_TIMEOUT {
            return Some(idle);
        }
        // All below are older.
        self.idle_count -= stack.len();
        stack.clear();
        None
    }

    /// Keeps the connection if there is room; tells whether it did.
    fn push(&mut self, connection: Connection, now: Instant) -> bool {
        if self.idle_count >= IDLE_MAX {
            return false;
        }
        // An origin that was forgotten meanwhile gets no connections back.
        let Some(stack) = self.idle.get_mut(&connection.origin) else { return false };
        if stack.len() >= IDLE_PER_ORIGIN_MAX {
            return false;
        }
        stack.push(Idle { connection, since: now });
        self.idle_count += 1;
        true
    }

    fn sweep(&mut self, now: Instant) {
        for stack in self.idle.values_mut() {
            stack.retain(|idle| !idle.connection.sender.is_closed() && now.saturating_duration_since(idle.since) < IDLE_TIMEOUT);
        }
        self.idle_count = self.idle.values().map(Vec::len).sum();
    }
}

/// Closes what has been idle for too long; ends with the last idle connection or with the pool.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut inner = pool.inner.lock();
        inner.sweep(Instant::now());
        if inner.idle_count == 0 {
            inner.sweeping = false;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_util::rt::TokioIo;

    /// A real connection over a pipe, and the other end, which keeps it open.
    async fn connection(origin: OriginId) -> (Connection, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(64);
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(ours)).await.unwrap();
        let driver = tokio::spawn(async move {
            let _ = driver.await;
        });
        sender.ready().await.unwrap();
        (Connection::new(sender, Gauge::new(), origin, driver.abort_handle()), theirs)
    }

    fn address(id: u64, base_url: &str) -> UpstreamAddress {
        UpstreamAddress { id, base_url: base_url.to_owned(), tenant_set: false }
    }

    fn origin_of(pool: &Pool, id: u64, base_url: &str) -> OriginId {
        pool.target(&address(id, base_url), &Outbound::default()).unwrap().0
    }

    #[tokio::test]
    async fn the_youngest_goes_first_and_the_old_are_closed() {
        let mut inner = Inner::default();
        let origin = inner.origin(Target::new(&address(1, "http://a.example"), &Outbound::default()).unwrap().key());
        let start = Instant::now();
        let mut ends = Vec::new();
        for n in 0..3 {
            let (connection, end) = connection(origin).await;
            assert!(inner.push(connection, start + Duration::from_secs(n)));
            ends.push(end);
        }
        assert_eq!(inner.pop(origin, start + Duration::from_secs(3)).unwrap().since, start + Duration::from_secs(2));
        assert_eq!(inner.idle_count, 2);
        assert!(inner.pop(origin, start + Duration::from_secs(61)).is_none(), "the youngest left is 60 s old");
        assert_eq!(inner.idle_count, 0);
        assert!(inner.idle[&origin].is_empty());
    }

    #[tokio::test]
    async fn no_more_than_the_limit_are_kept() {
        let pool = Pool::new();
        let origin = origin_of(&pool, 1, "http://a.example");
        let mut ends = Vec::new();
        for _ in 0..IDLE_PER_ORIGIN_MAX + 5 {
            let (connection, end) = connection(origin).await;
            pool.checkin(connection);
            ends.push(end);
        }
        assert_eq!(pool.idle_count(), IDLE_PER_ORIGIN_MAX);
    }

    #[tokio::test]
    async fn a_sweep_closes_the_closed_and_the_old() {
        let mut inner = Inner::default();
        let origin = inner.origin(Target::new(&address(1, "http://a.example"), &Outbound::default()).unwrap().key());
        let start = Instant::now();
        let (alive, _alive_end) = connection(origin).await;
        let (dead, dead_end) = connection(origin).await;
        inner.push(alive, start + Duration::from_secs(10));
        inner.push(dead, start + Duration::from_secs(20));
        drop(dead_end);
        while !inner.idle[&origin][1].connection.sender.is_closed() {
            tokio::task::yield_now().await;
        }
        inner.sweep(start + Duration::from_secs(30));
        assert_eq!(inner.idle_count, 1);
        inner.sweep(start + Duration::from_secs(70));
        assert_eq!(inner.idle_count, 0);
    }

    #[test]
    fn an_id_whose_url_changed_gets_another_origin_and_equal_urls_share_one() {
        let pool = Pool::new();
        let first = origin_of(&pool, 1, "http://a.example/v1");
        assert_eq!(origin_of(&pool, 2, "http://a.example/v2"), first);
        assert_ne!(origin_of(&pool, 1, "http://b.example/v1"), first);
        assert_eq!(origin_of(&pool, 1, "http://a.example/v1"), first);
        assert!(pool.target(&address(1, "ftp://a.example"), &Outbound::default()).is_err());
    }

    #[tokio::test]
    async fn many_targets_do_not_grow_without_end() {
        let pool = Pool::new();
        let first = origin_of(&pool, 0, "http://h0.example");
        let (held, _end) = connection(first).await;
        for n in 1..=TARGETS_MAX as u64 {
            origin_of(&pool, n, &format!("http://h{n}.example"));
        }
        assert!(pool.inner.lock().targets.len() <= TARGETS_MAX);
        pool.checkin(held);
        assert_eq!(pool.idle_count(), 0, "a forgotten origin keeps nothing");
        assert_ne!(origin_of(&pool, 0, "http://h0.example"), first, "an id of an origin is never used twice");
    }

    #[tokio::test]
    async fn a_dropped_connection_does_not_wait_for_its_driver() {
        let (ours, _theirs) = tokio::io::duplex(64);
        let (sender, _driver) = hyper::client::conn::http1::handshake(TokioIo::new(ours)).await.unwrap();
        // One that would never end by itself, as over TLS with a peer that reads no more.
        let stuck = tokio::spawn(std::future::pending::<()>());
        drop(Connection::new(sender, Gauge::new(), 0, stuck.abort_handle()));
        let ended = tokio::time::timeout(Duration::from_secs(5), stuck).await.expect("the driver goes on without its connection");
        assert!(ended.unwrap_err().is_cancelled());
    }
}
