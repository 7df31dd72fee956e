//! Bodies in both directions, as one type, and the patience with a client that sends one.

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// A request's or a reply's body.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How long a client may leave a body standing still.
pub(crate) const BODY_IDLE: Duration = Duration::from_secs(60);

/// A body that is there already.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
pub(crate) fn empty() -> Body {
    full(Bytes::new())
}

/// The body of a request, which ends with an error where the client stands still for `idle`.
pub(crate) fn patient(incoming: Incoming, idle: Duration) -> Body {
    if incoming.is_end_stream() {
        return empty();
    }
    Patient { incoming, idle, clock: Box::pin(sleep(idle)), running: false }.boxed_unsync()
}

struct Patient {
    incoming: Incoming,
    idle: Duration,
    clock: Pin<Box<Sleep>>,
    running: bool,
}

impl HttpBody for Patient {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.running = false;
                Poll::Ready(
                    frame.map(|result| result.map_err(|error| io::Error::new(io::ErrorKind::UnexpectedEof, error))),
                )
            }
            Poll::Pending => {
                if !this.running {
                    this.running = true;
                    this.clock.as_mut().reset(Instant::now() + this.idle);
                }
                this.clock
                    .as_mut()
                    .poll(cx)
                    .map(|()| Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped sending"))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
