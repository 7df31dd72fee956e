//! The patience with a client that sends a body.

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
pub use lockgate_http_semantics::Body;
pub(crate) use lockgate_http_semantics::{empty, full};
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// How long a client may leave a body standing still.
pub(crate) const BODY_IDLE: Duration = Duration::from_secs(60);
/// How long the rest of a refused body is read and dropped.
const RUN_OUT: Duration = Duration::from_secs(2);

/// How the wire says that a body is at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// HTTP/1: hyper tells a cut from an end by the length or the last chunk.
    ByLength,
    /// HTTP/2: by `END_STREAM` alone.
    ByFlag,
}

/// The body of a request, which ends with an error where the client stands still for `idle`; and a hold on it.
pub(crate) fn patient(incoming: Incoming, ends: Ends, idle: Duration) -> (Body, Option<Held>) {
    if incoming.is_end_stream() {
        return (empty(), None);
    }
    let patient = Patient { incoming, ends, idle, clock: Box::pin(sleep(idle)), running: false };
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
    ends: Ends,
    idle: Duration,
    clock: Pin<Box<Sleep>>,
    running: bool,
}

impl Patient {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            // hyper takes a stream that the client resets without an error for one that has ended, since a server may end its
            // own that way (RFC 9113 section 8.1). From a client it is a cut: only the flag proves that all of the bytes are here.
            Poll::Ready(None) if self.ends == Ends::ByFlag && !self.incoming.is_end_stream() => {
                Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client reset the stream"))))
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use h2::{Reason, SendStream, client};
    use http::{Request, Response};
    use hyper::{server::conn::http2, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use std::convert::Infallible;
    use tokio::sync::mpsc;

    /// What a server reads of the body that `send` sends over HTTP/2.
    async fn received(send: impl FnOnce(SendStream<Bytes>)) -> io::Result<Vec<u8>> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (tell, mut told) = mpsc::unbounded_channel();
        let service = service_fn(move |request: Request<Incoming>| {
            let tell = tell.clone();
            async move {
                let (body, _held) = patient(request.into_body(), Ends::ByFlag, BODY_IDLE);
                tell.send(body.collect().await.map(|all| all.to_bytes().to_vec())).unwrap();
                Ok::<_, Infallible>(Response::new(empty()))
            }
        });
        tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(far), service));
        let (mut client, connection) = client::handshake(near).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method("PUT").uri("http://files.example/a").body(()).unwrap();
        let (_response, stream) = client.send_request(request, false).unwrap();
        send(stream);
        told.recv().await.unwrap()
    }

    #[tokio::test]
    async fn an_upload_over_http_2_ends_only_by_its_flag() {
        let whole = received(|mut stream| {
            stream.send_data(Bytes::from_static(b"first "), false).unwrap();
            stream.send_data(Bytes::from_static(b"last"), true).unwrap();
        });
        assert_eq!(whole.await.unwrap(), b"first last");
        let trailers = received(|mut stream| {
            stream.send_data(Bytes::from_static(b"all"), false).unwrap();
            stream.send_trailers(http::HeaderMap::new()).unwrap();
        });
        assert_eq!(trailers.await.unwrap(), b"all");
    }

    #[tokio::test]
    async fn a_stream_that_the_client_resets_is_a_cut_whatever_its_reason() {
        for reason in [Reason::NO_ERROR, Reason::CANCEL] {
            let cut = received(move |mut stream| {
                stream.send_data(Bytes::from_static(b"the first half"), false).unwrap();
                stream.send_reset(reason);
            });
            assert_eq!(cut.await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{reason}");
        }
    }
}
