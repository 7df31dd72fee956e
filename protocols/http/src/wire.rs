//! The stream below hyper: a client that stops reading is let go, and a head that gives the length of its body in two ways is seen.
//!
//! hyper settles `Content-Length` beside `Transfer-Encoding` silently, in favour of the latter. Another reader in front of us may have
//! settled it the other way (request smuggling), so such a request must be refused, and only the raw head still shows it. The scan
//! here follows heads and skips bodies of a given length; it ends at the first chunked body, after which the connection is closed.

use std::{
    future::Future,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// How long a client may take no bytes while there are some for it.
const WRITE_IDLE: Duration = Duration::from_secs(60);
/// How long a client that is told to go may go on sending.
const LINGER: Duration = Duration::from_secs(2);

/// What the scan has seen.
#[derive(Debug, Default)]
pub(crate) struct Framing(AtomicBool);

impl Framing {
    /// Whether a head gave both lengths. The connection serves nothing more after that.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A stream with both watches on it.
pub(crate) struct Wire<S> {
    stream: S,
    scan: Option<Scan>,
    clock: Pin<Box<Sleep>>,
    running: bool,
    farewell: Farewell,
}

/// The end of a connection on our side: what the client is still sending is read and dropped for a while, since a socket that is
/// closed on unread bytes takes back the reply that is on its way.
enum Farewell {
    NotYet,
    Saying,
    Listening,
}

impl<S> Wire<S> {
    /// Watches `stream`; heads are scanned where it speaks HTTP/1.
    pub(crate) fn new(stream: S, framing: Option<Arc<Framing>>) -> Self {
        Self {
            stream,
            scan: framing.map(Scan::new),
            clock: Box::pin(sleep(WRITE_IDLE)),
            running: false,
            farewell: Farewell::NotYet,
        }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.running = false;
            return progress;
        }
        if !self.running {
            self.running = true;
            self.clock.as_mut().reset(Instant::now() + WRITE_IDLE);
        }
        self.clock
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if let Some(scan) = &mut this.scan {
            scan.feed(buffer.filled().get(before..).unwrap_or_default());
        }
        result
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.judge(cx, progress)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.judge(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.stream).poll_flush(cx);
        this.judge(cx, progress)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match this.farewell {
                Farewell::NotYet => {
                    this.clock.as_mut().reset(Instant::now() + LINGER);
                    this.farewell = Farewell::Saying;
                }
                Farewell::Saying => match Pin::new(&mut this.stream).poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => this.farewell = Farewell::Listening,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return this.clock.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
                },
                Farewell::Listening => {
                    let mut space = [MaybeUninit::uninit(); 16 * 1024];
                    let mut dropped = ReadBuf::uninit(&mut space);
                    match Pin::new(&mut this.stream).poll_read(cx, &mut dropped) {
                        Poll::Ready(Ok(())) if !dropped.filled().is_empty() && !this.clock.is_elapsed() => {}
                        Poll::Ready(_) => return Poll::Ready(Ok(())),
                        Poll::Pending => return this.clock.as_mut().poll(cx).map(Ok),
                    }
                }
            }
        }
    }
}

/// Follows heads through the bytes of a connection.
struct Scan {
    framing: Arc<Framing>,
    state: State,
    /// The present line, lower case, as far as it is of interest.
    line: Vec<u8>,
    length: Option<u64>,
    chunked: bool,
    /// Whether a line of the present head has been seen: empty lines before a request are none.
    begun: bool,
}

enum State {
    Head,
    Body(u64),
    Over,
}

const LINE: usize = 64;

impl Scan {
    fn new(framing: Arc<Framing>) -> Self {
        Self { framing, state: State::Head, line: Vec::new(), length: None, chunked: false, begun: false }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Over => return,
                State::Body(left) => {
                    let step = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= step as u64;
                    bytes = bytes.get(step..).unwrap_or_default();
                    if *left == 0 {
                        self.state = State::Head;
                    }
                }
                State::Head => {
                    let end = bytes.iter().position(|b| *b == b'\n');
                    let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
                    let room = LINE.saturating_sub(self.line.len());
                    self.line.extend(part.iter().take(room).map(u8::to_ascii_lowercase));
                    bytes = end.and_then(|end| bytes.get(end + 1..)).unwrap_or_default();
                    if end.is_some() {
                        self.end_line();
                    }
                }
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = line.strip_suffix(b"\r").unwrap_or(&line);
        if text.is_empty() {
            if std::mem::take(&mut self.begun) {
                self.end_head();
            }
            return;
        }
        self.begun = true;
        if let Some(value) = text.strip_prefix(b"content-length:") {
            let digits = std::str::from_utf8(value.trim_ascii()).unwrap_or_default();
            self.length = Some(digits.parse().unwrap_or(0));
        } else if text.starts_with(b"transfer-encoding:") {
            self.chunked = true;
        }
    }

    fn end_head(&mut self) {
        let length = self.length.take();
        if self.chunked {
            if length.is_some() {
                self.framing.0.store(true, Ordering::Release);
            }
            self.state = State::Over;
        } else if let Some(length @ 1..) = length {
            self.state = State::Body(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ambiguous(bytes: &[u8], step: usize) -> bool {
        let framing = Arc::new(Framing::default());
        let mut scan = Scan::new(Arc::clone(&framing));
        for part in bytes.chunks(step) {
            scan.feed(part);
        }
        framing.is_ambiguous()
    }

    #[test]
    fn two_lengths_in_one_head_are_seen_in_any_order_and_any_pieces() {
        let heads: [&[u8]; 3] = [
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nHost: a\r\nCONTENT-LENGTH: 0\r\n\r\n",
            b"PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: x\r\nContent-Length: 1\r\n\r\n",
        ];
        for head in heads {
            for step in [1, 2, 7, 1000] {
                assert!(ambiguous(head, step));
            }
        }
    }

    #[test]
    fn a_body_is_not_taken_for_a_head() {
        let body = b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut bytes = format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        for step in [1, 5, 1000] {
            assert!(!ambiguous(&bytes, step));
        }
    }

    #[test]
    fn long_lines_cost_no_memory() {
        let mut scan = Scan::new(Arc::default());
        for _ in 0..1000 {
            scan.feed(&[b'a'; 1000]);
        }
        assert!(scan.line.capacity() <= 2 * LINE);
    }

    #[tokio::test]
    async fn a_client_that_is_still_sending_gets_its_reply_before_the_end() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut client, server) = tokio::io::duplex(1024);
        let mut wire = Wire::new(server, None);
        let sending = tokio::spawn(async move {
            client.write_all(&[b'x'; 50_000]).await.unwrap();
            let mut reply = String::new();
            client.read_to_string(&mut reply).await.unwrap();
            reply
        });
        wire.write_all(b"no room").await.unwrap();
        let closing = tokio::spawn(async move { wire.shutdown().await });
        assert_eq!(sending.await.unwrap(), "no room");
        closing.await.unwrap().unwrap();
    }
}
