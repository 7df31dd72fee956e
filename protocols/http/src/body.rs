//! Bodies in both directions, as one type, and the patience with a client that sends one.

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// A request's or a reply's body.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How long a client may leave a body standing still.
pub(crate) const BODY_IDLE: Duration = Duration::from_secs(60);
/// How long the rest of a refused body is read and dropped.
const RUN_OUT: Duration = Duration::from_secs(2);

/// A body that is there already.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
pub(crate) fn empty() -> Body {
    full(Bytes::new())
}

/// The body of a request, which ends with an error where the client stands still for `idle`; and a hold on it.
pub(crate) fn patient(incoming: Incoming, idle: Duration) -> (Body, Option<Held>) {
    if incoming.is_end_stream() {
        return (empty(), None);
    }
    let patient = Patient { incoming, idle, clock: Box::pin(sleep(idle)), running: false };
    let held = Held(Arc::new(Mutex::new(patient)));
    (Held(Arc::clone(&held.0)).boxed_unsync(), Some(held))
}

/// A request's body, in the hands of its reader and of whoever lets it run out after a refusal.
pub(crate) struct Held(Arc<Mutex<Patient>>);

impl Held {
    /// Drops what is still coming, for a while: clients that are stopped in the middle of sending do not all read the reply.
    pub(crate) async fn let_run_out(mut self) {
        let run = async { while let Some(Ok(_)) = self.frame().await {} };
        let _ = tokio::time::timeout(RUN_OUT, run).await;
    }

    fn patient(&self) -> MutexGuard<'_, Patient> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.patient().poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.patient().incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.patient().incoming.size_hint()
    }
}

struct Patient {
    incoming: Incoming,
    idle: Duration,
    clock: Pin<Box<Sleep>>,
    running: bool,
}

impl Patient {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.running = false;
                Poll::Ready(
                    frame.map(|result| result.map_err(|error| io::Error::new(io::ErrorKind::UnexpectedEof, error))),
                )
            }
            Poll::Pending => {
                if !self.running {
                    self.running = true;
                    self.clock.as_mut().reset(Instant::now() + self.idle);
                }
                self.clock
                    .as_mut()
                    .poll(cx)
                    .map(|()| Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped sending"))))
            }
        }
    }
}
