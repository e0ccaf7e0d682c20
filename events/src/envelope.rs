//! The envelope in a fixed layout, little-endian, and behind it the body. Both together are a leaf of the hash tree.

use crate::{Event, KeyId, StreamId, TenantId, Timestamp, codec::Undecodable};
use std::sync::Arc;

/// Version of the layout.
const LAYOUT: u8 = 1;
/// Bytes of an envelope.
pub const ENVELOPE_BYTES: usize = 1 + 8 + 1 + 16 + 8 + 8 + 8 + 1 + 8 + 8 + 8 + 4;

/// Who caused an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Principal {
    /// The cluster itself.
    #[default]
    System,
    /// An administrator's token.
    Admin(u64),
    /// A virtual key.
    Key(KeyId),
}

impl Principal {
    fn to_parts(self) -> (u8, u64) {
        match self {
            Principal::System => (0, 0),
            Principal::Admin(id) => (1, id),
            Principal::Key(id) => (2, id.0),
        }
    }

    fn from_parts(kind: u8, id: u64) -> Option<Principal> {
        match (kind, id) {
            (0, 0) => Some(Principal::System),
            (1, id) => Some(Principal::Admin(id)),
            (2, id) => Some(Principal::Key(KeyId(id))),
            _ => None,
        }
    }
}

/// What is known of an event besides what happened. Filled in by `apply`, alike on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Its number in the history, from 0.
    pub n: u64,
    pub stream: StreamId,
    /// Its number in its stream, from 1; 0 where the stream is no longer known (corrections of closed calls).
    pub version: u64,
    /// None: the platform.
    pub tenant: Option<TenantId>,
    /// The entry's time.
    pub at: Timestamp,
    pub principal: Principal,
    /// The number of the first event of the transaction that it came in.
    pub cause: u64,
    /// The policy position that it was decided at; 0 if none was pinned.
    pub policy: u64,
}

impl Envelope {
    /// Envelope and body as one leaf.
    pub fn leaf(&self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(ENVELOPE_BYTES + body.len());
        let (kind, number) = self.stream.to_parts();
        let (who, id) = self.principal.to_parts();
        out.push(LAYOUT);
        out.extend_from_slice(&self.n.to_le_bytes());
        out.push(kind);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&self.tenant.map_or(u64::MAX, |tenant| tenant.0).to_le_bytes());
        out.extend_from_slice(&self.at.0.to_le_bytes());
        out.push(who);
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(&self.cause.to_le_bytes());
        out.extend_from_slice(&self.policy.to_le_bytes());
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(body);
        out
    }
}

/// An event as it stands in the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub envelope: Envelope,
    pub event: Arc<Event>,
    /// Envelope and body, byte for byte what is stored and hashed.
    pub leaf: Arc<[u8]>,
}

impl Recorded {
    /// Reads a leaf.
    pub fn read(leaf: &[u8]) -> Result<Recorded, Undecodable> {
        let (envelope, body) = read_envelope(leaf).ok_or_else(|| Undecodable("not an envelope".into()))?;
        Ok(Recorded { envelope, event: Arc::new(Event::decode(envelope.stream, body)?), leaf: leaf.into() })
    }
}

/// Takes `N` bytes off the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (front, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*front)
}

fn read_envelope(leaf: &[u8]) -> Option<(Envelope, &[u8])> {
    let mut rest = leaf;
    let bytes = &mut rest;
    if take::<1>(bytes)? != [LAYOUT] {
        return None;
    }
    let n = u64::from_le_bytes(take(bytes)?);
    let [kind] = take::<1>(bytes)?;
    let stream = StreamId::from_parts(kind, u128::from_le_bytes(take(bytes)?))?;
    let version = u64::from_le_bytes(take(bytes)?);
    let tenant = u64::from_le_bytes(take(bytes)?);
    let at = Timestamp(u64::from_le_bytes(take(bytes)?));
    let [who] = take::<1>(bytes)?;
    let principal = Principal::from_parts(who, u64::from_le_bytes(take(bytes)?))?;
    let cause = u64::from_le_bytes(take(bytes)?);
    let policy = u64::from_le_bytes(take(bytes)?);
    let length = u32::from_le_bytes(take(bytes)?) as usize;
    let tenant = (tenant != u64::MAX).then_some(TenantId(tenant));
    (rest.len() == length).then_some((Envelope { n, stream, version, tenant, at, principal, cause, policy }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TenantId, tenant};

    #[test]
    fn a_leaf_reads_back_and_nothing_else_does() {
        let event = Event::Tenant(TenantId(4), tenant::Event::Closed);
        let envelope = Envelope {
            n: 7,
            stream: event.stream(),
            version: 2,
            tenant: Some(TenantId(4)),
            at: Timestamp(99),
            principal: Principal::Admin(1),
            cause: 6,
            policy: 5,
        };
        let leaf = envelope.leaf(&event.encode());
        let recorded = Recorded::read(&leaf).unwrap();
        assert_eq!((recorded.envelope, &*recorded.event), (envelope, &event));
        for cut in 0..leaf.len() {
            assert!(Recorded::read(&leaf[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Recorded::read(&[leaf.as_slice(), &[0]].concat()).is_err());
    }
}
