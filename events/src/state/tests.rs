//! State by itself: the rows of LEDGER §12 that it alone can show.

mod fits;
mod oracle;
mod sessions;
mod world;
