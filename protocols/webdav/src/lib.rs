//! The WebDAV door: RFC 4918 classes 1, 2 and 3 over the tree, mounted at `/dav/` by the HTTP door.
//!
//! dav-server does locks, setting properties and new folders. What changes bytes or names (`PUT`, `DELETE`, `COPY`, `MOVE`) is done here against the tree, because an upload must be staged and committed on the proof of its end, a replaced file must
//! stay whole until the new one is, and the library knows neither; `PROPFIND` is done here because a listing that fails must not look
//! complete; files are sent as on the HTTP door, with the same reading of conditions and ranges. In front of all stands an edge that lets nothing unbounded or ambiguous through, and nobody without credentials.
//!
//! Never: remembers credentials (the gate does), checks a right (the tree does), parses a body before it knows who is asking, or
//! imports the HTTP door: both use the same plain types, and the daemon joins them.

mod address;
mod condition;
mod credentials;
mod edge;
mod fetch;
mod files;
mod locks;
mod propfind;
mod relocate;
mod reply;
mod store;
mod xml;

use futures_util::future::BoxFuture;
use http::{Request, Response};
use lockgate_access::Gate;
pub use lockgate_http_semantics::Body;
use lockgate_model::Origin;
use lockgate_net::Stranger;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What the HTTP door mounts at `/dav/`: a request with its path as it came, where it comes from, the stranger to admit once somebody
/// has logged in, and a token that cuts the connection when a session in use on it has ended.
pub type Mounted = Arc<
    dyn Fn(Request<Body>, Origin, Arc<Stranger>, CancellationToken) -> BoxFuture<'static, Response<Body>> + Send + Sync,
>;

/// The door, ready to be mounted.
///
/// Dropping the future of a request abandons it: an upload that was not committed is gone.
#[must_use]
pub fn mount(gate: Gate) -> Mounted {
    Arc::new(move |request, origin, stranger, cut| {
        let gate = gate.clone();
        Box::pin(async move { edge::answer(&gate, request, origin, &stranger, cut).await })
    })
}
