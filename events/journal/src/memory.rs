//! The in-memory journal: the same State, the same guards, no disk and no quorum. For tests, first steps and the bench.

use crate::{AppendFault, Clock, Future, Health, Journal, Observer, ReadFault, Reader, check_at_the_door};
use events::{
    State,
    envelope::Recorded,
    transaction::{Group, GroupOutcome},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

struct Inner {
    state: State,
    history: Vec<Recorded>,
    observers: Vec<Box<dyn Observer>>,
    stopped: bool,
}

/// See the module.
pub struct Memory {
    clock: Arc<dyn Clock>,
    inner: Arc<Mutex<Inner>>,
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

fn part(inner: &Inner, from: u64, limit: usize) -> Vec<Recorded> {
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(inner.history.len());
    inner.history[from..].iter().take(limit).cloned().collect()
}

struct MemoryReader(Arc<Mutex<Inner>>);

impl Reader for MemoryReader {
    fn end(&self) -> u64 {
        lock(&self.0).history.len() as u64
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<Recorded>, ReadFault> {
        Ok(part(&lock(&self.0), from, limit))
    }
}

impl Memory {
    pub fn new(clock: Arc<dyn Clock>) -> Memory {
        let inner = Inner { state: State::default(), history: Vec::new(), observers: Vec::new(), stopped: false };
        Memory { clock, inner: Arc::new(Mutex::new(inner)) }
    }

    /// Hardly contended: all but followers run on the core thread.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    fn append_now(&self, mut groups: Vec<Group>) -> Result<Vec<GroupOutcome>, AppendFault> {
        check_at_the_door(&mut groups);
        let time = self.clock.now();
        let mut guard = self.inner();
        let inner = &mut *guard;
        if inner.stopped {
            return Err(AppendFault::Stopped("it was told to".into()));
        }
        let mut records = Vec::new();
        let outcomes: Result<Vec<GroupOutcome>, _> = groups.iter().map(|group| inner.state.apply(group, time, &mut records)).collect();
        let due = inner.state.take_due();
        for observer in &mut inner.observers {
            observer.applied(&inner.state, &records, &due);
        }
        inner.history.append(&mut records);
        outcomes.map_err(|error| AppendFault::Stopped(error.to_string()))
    }
}

impl Journal for Memory {
    fn append(&self, groups: Vec<Group>) -> Future<'_, Result<Vec<GroupOutcome>, AppendFault>> {
        Box::pin(async move { self.append_now(groups) })
    }

    fn view(&self, look: &mut dyn FnMut(&State)) {
        look(&self.inner().state);
    }

    fn read(&self, from: u64, limit: usize) -> Future<'_, Result<Vec<Recorded>, ReadFault>> {
        Box::pin(async move { Ok(part(&self.inner(), from, limit)) })
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(MemoryReader(self.inner.clone()))
    }

    fn observe(&self, observer: Box<dyn Observer>) {
        self.inner().observers.push(observer);
    }

    fn health(&self) -> Health {
        Health::Ready
    }

    fn stop(&self) -> Future<'_, ()> {
        Box::pin(async move { self.inner().stopped = true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;
    use events::Timestamp;
    use std::task::{Context, Poll, Waker};

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Timestamp {
            Timestamp(1_700_000_000_000_000)
        }
    }

    /// Nothing here ever waits.
    fn run<R>(future: impl std::future::Future<Output = R>) -> R {
        match Box::pin(future).as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => done,
            Poll::Pending => panic!("the journal in memory never waits"),
        }
    }

    #[test]
    fn it_conforms() {
        run(suite::all(&|| Box::pin(async { Arc::new(Memory::new(Arc::new(Noon))) as Arc<dyn Journal> })));
    }
}
