//! The real ports: the clock and chance.

use actors::ports::Entropy;
use events::Timestamp;
use journal::Clock;
use std::{
    cell::Cell,
    time::{SystemTime, UNIX_EPOCH},
};

/// The system's wall clock.
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

/// Chance for ids: drawn from the system in blocks, a block a thread, so that a call costs no system call.
pub struct SystemEntropy;

const BLOCK: usize = 64;

thread_local! {
    static DRAWN: Cell<([u128; BLOCK], usize)> = const { Cell::new(([0; BLOCK], BLOCK)) };
}

impl Entropy for SystemEntropy {
    fn draw(&self) -> u128 {
        DRAWN.with(|drawn| {
            let (mut block, mut next) = drawn.get();
            if next == BLOCK {
                let mut bytes = [0u8; BLOCK * 16];
                getrandom::fill(&mut bytes).expect("the system has a random source");
                for (number, bytes) in block.iter_mut().zip(bytes.as_chunks::<16>().0) {
                    *number = u128::from_le_bytes(*bytes);
                }
                next = 0;
            }
            let number = std::mem::take(&mut block[next]);
            drawn.set((block, next + 1));
            number
        })
    }
}
