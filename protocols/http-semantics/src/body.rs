//! Bodies in both directions, as one type.

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use lockgate_access::Doing;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

/// A request's or a reply's body.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body that is there already.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The same body, whose bytes are counted as those of something under way for as long as it is there.
pub fn counted(body: Body, doing: Doing) -> Body {
    Counted { body, doing }.boxed_unsync()
}

struct Counted {
    body: Body,
    doing: Doing,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            this.doing.moved(data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// No body.
#[must_use]
pub fn empty() -> Body {
    full(Bytes::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{body, path};
    use http_body::Body as _;
    use lockgate_access::Activity;

    #[tokio::test]
    async fn a_counted_body_is_the_same_body_and_tells_how_far_it_is() {
        let activity = Activity::default();
        let mut counted = counted(full("12345"), activity.begin("PUT", &path("/a")));
        assert_eq!((counted.size_hint().exact(), activity.view().bytes), (Some(5), 0));
        assert_eq!(counted.frame().await.unwrap().unwrap().into_data().unwrap(), "12345");
        assert!(counted.is_end_stream() && counted.frame().await.is_none());
        assert_eq!((activity.view().doing.as_deref(), activity.view().bytes), (Some("PUT /a"), 5));
        drop(counted);
        assert_eq!(activity.view().doing, None);
        let mut cut = super::counted(body(&[Some(b"12"), None]), activity.begin("PUT", &path("/a")));
        assert!(cut.frame().await.unwrap().is_ok() && cut.frame().await.unwrap().is_err());
        assert_eq!(activity.view().bytes, 7);
    }
}
