//! State by itself: the rows of LEDGER §12 that it alone can show.

mod adversary;
mod bytes;
mod changes;
mod claims;
mod ends;
mod fits;
mod oracle;
mod replay;
mod sessions;
mod windows;
mod world;
