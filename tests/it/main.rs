//! One test binary. The rules of the house are tests ([`tidy`]); what users see is tested by their own clients in `tests/sdk`.
#![allow(clippy::unwrap_used, reason = "a test file, helpers included")]

mod tidy;
