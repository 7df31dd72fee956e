//! The socket as russh sees it: buffered both ways, and with a cord to cut.
//!
//! russh reads each packet in two small pieces and writes each answer by itself. One large read serves many packets, and
//! answers to requests that have already arrived leave together; both save system calls, not copies. The cord is how the
//! door ends a connection whose task russh owns: a revoked session must be gone whether or not its client reads.

use bytes::{Buf as _, BytesMut};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A stream with large buffers that exist only while they hold something.
pub(crate) struct Wire<S> {
    inner: S,
    input: BytesMut,
    output: BytesMut,
    cord: Pin<Box<WaitForCancellationFutureOwned>>,
    is_cut: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Wraps `inner`; once `cord` is cancelled every read and write fails.
    pub(crate) fn new(inner: S, cord: CancellationToken) -> Self {
        Self {
            inner,
            input: BytesMut::new(),
            output: BytesMut::new(),
            cord: Box::pin(cord.cancelled_owned()),
            is_cut: false,
        }
    }

    fn check_cord(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.is_cut {
            self.is_cut = self.cord.as_mut().poll(cx).is_ready();
        }
        if self.is_cut { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.output))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(sent);
        }
        if self.output.capacity() > KEPT {
            self.output = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        me.check_cord(cx)?;
        if me.input.is_empty() {
            // Whoever waits for more input has answered everything before it: that goes out first.
            if !me.output.is_empty()
                && let Poll::Ready(Err(error)) = me.poll_drain(cx)
            {
                return Poll::Ready(Err(error));
            }
            if out.remaining() >= READ {
                return Pin::new(&mut me.inner).poll_read(cx, out);
            }
            me.input.reserve(READ);
            match tokio_util::io::poll_read_buf(Pin::new(&mut me.inner), cx, &mut me.input) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    me.input = BytesMut::new();
                    return Poll::Pending;
                }
            }
        }
        let length = out.remaining().min(me.input.len());
        out.put_slice(me.input.get(..length).unwrap_or_default());
        me.input.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let me = &mut *self;
        me.check_cord(cx)?;
        if me.output.len() >= SEND_FROM
            && let Poll::Ready(Err(error)) = me.poll_drain(cx)
        {
            return Poll::Ready(Err(error));
        }
        if me.output.is_empty()
            && bytes.len() >= SEND_FROM
            && let Poll::Ready(result) = Pin::new(&mut me.inner).poll_write(cx, bytes)
        {
            return Poll::Ready(result);
        }
        let taken = bytes.len().min(HELD.saturating_sub(me.output.len()));
        if taken == 0 && !bytes.is_empty() {
            // poll_drain has left its waker with the socket.
            return Poll::Pending;
        }
        me.output.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        me.check_cord(cx)?;
        // More requests are here already: their answers join this write, at the latest when the input runs dry.
        if !me.input.is_empty() && me.output.len() < SEND_FROM {
            return Poll::Ready(Ok(()));
        }
        me.poll_drain(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        me.check_cord(cx)?;
        ready!(me.poll_drain(cx))?;
        Pin::new(&mut me.inner).poll_shutdown(cx)
    }
}

/// One read from the socket.
const READ: usize = 64 << 10;
/// From here on output is sent without waiting for more.
const SEND_FROM: usize = 128 << 10;
/// The most output held back.
const HELD: usize = 256 << 10;
/// An output buffer up to this size is kept for the next answer.
const KEPT: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test]
    async fn bytes_pass_unchanged_both_ways_whatever_the_sizes() {
        let (near, mut far) = duplex(10_000);
        let mut wire = Wire::new(near, CancellationToken::new());
        let sent: Vec<u8> = (0..1_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
        let copy = sent.clone();
        let peer = tokio::spawn(async move {
            let mut back = vec![0; copy.len()];
            far.read_exact(&mut back).await.unwrap();
            assert_eq!(back, copy);
            far.write_all(&copy).await.unwrap();
        });
        for piece in sent.chunks(77_777) {
            wire.write_all(piece).await.unwrap();
        }
        wire.flush().await.unwrap();
        let mut back = Vec::new();
        let mut piece = [0; 5];
        while back.len() < sent.len() {
            let length = wire.read(&mut piece).await.unwrap();
            back.extend_from_slice(&piece[..length]);
        }
        assert_eq!(back, sent);
        peer.await.unwrap();
    }

    #[tokio::test]
    async fn answers_leave_before_the_wire_waits_for_more_input() {
        let (near, mut far) = duplex(1 << 20);
        let mut wire = Wire::new(near, CancellationToken::new());
        far.write_all(b"two").await.unwrap();
        assert_eq!(wire.read_u8().await.unwrap(), b't');
        wire.write_all(b"answer").await.unwrap();
        wire.flush().await.unwrap();
        let mut rest = [0; 2];
        wire.read_exact(&mut rest).await.unwrap();
        let waiting = tokio::spawn(async move { wire.read_u8().await });
        let mut answer = [0; 6];
        far.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        waiting.abort();
    }

    #[tokio::test]
    async fn a_cut_cord_ends_a_read_that_waits_and_a_write_that_is_stuck() {
        let cord = CancellationToken::new();
        let (near, _far) = duplex(10);
        let mut reader = Wire::new(near, cord.clone());
        let (near, _far_too) = duplex(10);
        let mut writer = Wire::new(near, cord.clone());
        let read = tokio::spawn(async move { reader.read_u8().await.unwrap_err().kind() });
        let write = tokio::spawn(async move { writer.write_all(&vec![0; 1 << 20]).await.unwrap_err().kind() });
        tokio::task::yield_now().await;
        cord.cancel();
        assert_eq!(read.await.unwrap(), io::ErrorKind::ConnectionAborted);
        assert_eq!(write.await.unwrap(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn output_to_a_peer_that_does_not_read_is_bounded() {
        let (near, _far) = duplex(10);
        let mut wire = Wire::new(near, CancellationToken::new());
        let piece = vec![0; 10_000];
        while wire.write_all(&piece).now_or_never().is_some() {}
        assert!(wire.output.len() <= HELD);
    }
}
