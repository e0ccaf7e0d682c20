//! Everything that dials: providers now, peers later. The only home of an HTTP client and of TLS.
//!
//! Each reactor has an [`Egress`] of its own over one shared [`Setup`]; it implements the port `Wire`. Three rules shape it:
//!
//! * **The URL rule** (DESIGN §8): [`check_url`] holds it against what a URL says, and every address is held against it again
//!   when it is dialled, after its name was resolved.
//! * **`Sent::No` is money**: it is said only when no byte of the request was handed to the stream and none ever will be.
//! * **A body that is dropped before its end closes its connection**; one that has ended gives it back.

mod address;
mod body;
mod decode;
mod dial;
mod fault;
mod outbound;
mod pool;
mod stream;
mod target;
mod tls;
mod tunnel;
mod url;
mod wire;

/// The port that is implemented here.
pub use actors::ports as port;
pub use address::{Reach, permitted, reach};
pub use outbound::{NoProxy, Outbound, OutboundFault, Proxy};
pub use pool::{IDLE_MAX, IDLE_PER_ORIGIN_MAX, IDLE_TIMEOUT, TARGETS_MAX};
pub use tls::TlsFault;
pub use url::{BaseUrl, Host, URL_BYTES_MAX, UrlFault, check_url};
pub use wire::{Egress, Setup};
