//! An upload from its beginning to each of its ends, as a client sees it.

use super::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use lockgate_http_semantics::testing::{House, body, path};
use lockgate_vfs::{Intent, OnAbort, PartialKey};
use std::future::{pending, ready};
use tokio::sync::oneshot;

const OCTETS: (&str, &str) = ("content-type", "application/offset+octet-stream");
const SHA1_45: (&str, &str) = ("upload-checksum", "sha1 +2RDUVYNgpb+baMyI2sfjWGygoo=");

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
}

async fn ask(
    house: &House,
    who: &str,
    method: Method,
    url: &str,
    pairs: &[(&str, &str)],
    body: Body,
) -> Response<Body> {
    let id = url.strip_prefix("/api/v1/uploads/");
    let place = id.map_or(Place::Uploads, Place::Upload);
    let asked = Asked { place, method: &method, headers: &headers(pairs) };
    let answered = asked.answer(&house.vfs, &UserName::new(who).unwrap(), pending::<()>(), body).await;
    answered.unwrap_or_else(Refusal::into_response)
}

async fn post(house: &House, length: &str, pairs: &[(&str, &str)], body: Body) -> Response<Body> {
    let path = format!("path {},other eA==", STANDARD.encode("a"));
    let pairs = [&[("upload-length", length), ("upload-metadata", &path)], pairs].concat();
    ask(house, "alice", Method::POST, "", &pairs, body).await
}

/// A fresh upload of the file `a`.
async fn begun(house: &House, length: &str) -> String {
    let response = post(house, length, &[], empty()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    response.headers()[header::LOCATION].to_str().unwrap().to_owned()
}

async fn patch(house: &House, url: &str, offset: &str, more: &[(&str, &str)], body: Body) -> Response<Body> {
    let pairs = [&[OCTETS, ("upload-offset", offset)], more].concat();
    ask(house, "alice", Method::PATCH, url, &pairs, body).await
}

async fn offset(house: &House, url: &str) -> Option<String> {
    let response = ask(house, "alice", Method::HEAD, url, &[], empty()).await;
    let offset = response.headers().get(UPLOAD_OFFSET).map(|offset| offset.to_str().unwrap().to_owned());
    assert_eq!(response.status(), if offset.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND });
    offset
}

fn said(response: &Response<Body>) -> (u16, Option<&str>) {
    (response.status().as_u16(), response.headers().get(UPLOAD_OFFSET).map(|offset| offset.to_str().unwrap()))
}

#[tokio::test]
async fn an_upload_in_parts_is_the_file_once_all_of_it_is_there() {
    let house = House::new().await;
    house.put("a", b"old");
    let url = begun(&house, "6").await;
    assert_eq!(offset(&house, &url).await.as_deref(), Some("0"));
    let first = patch(&house, &url, "0", &[], body(&[Some(b"01"), Some(b"23")])).await;
    assert_eq!(said(&first), (204, Some("4")));
    let expires = httpdate::parse_http_date(first.headers()[UPLOAD_EXPIRES].to_str().unwrap()).unwrap();
    assert!(expires > SystemTime::now() + Duration::from_secs(3500));
    assert_eq!(house.bytes("a").unwrap(), b"old");
    let head = ask(&house, "alice", Method::HEAD, &url, &[], empty()).await;
    assert_eq!((said(&head), &head.headers()[UPLOAD_LENGTH]), ((200, Some("4")), &HeaderValue::from(6)));
    assert_eq!(head.headers()[UPLOAD_METADATA], "path YQ==,other eA==");
    let last = patch(&house, &url, "4", &[], body(&[Some(b"45")])).await;
    assert_eq!((said(&last), last.headers().get(UPLOAD_EXPIRES)), ((204, Some("6")), None));
    assert_eq!(house.bytes("a").unwrap(), b"012345");
}

#[tokio::test]
async fn whoever_lost_the_last_answer_learns_that_all_is_there() {
    let house = House::new().await;
    let url = begun(&house, "2").await;
    patch(&house, &url, "0", &[], body(&[Some(b"ok")])).await;
    house.put("a", b"newer");
    assert_eq!(offset(&house, &url).await.as_deref(), Some("2"));
    assert_eq!(said(&patch(&house, &url, "2", &[], empty()).await), (204, Some("2")));
    assert_eq!(patch(&house, &url, "0", &[], body(&[Some(b"ok")])).await.status(), StatusCode::CONFLICT);
    assert_eq!(house.bytes("a").unwrap(), b"newer", "it was committed once");
}

#[tokio::test]
async fn an_upload_can_bring_its_first_bytes_or_all_of_them_when_it_begins() {
    let house = House::new().await;
    let part = post(&house, "4", &[OCTETS], body(&[Some(b"01")])).await;
    assert_eq!(said(&part), (201, Some("2")));
    let url = part.headers()[header::LOCATION].to_str().unwrap().to_owned();
    assert_eq!((offset(&house, &url).await.as_deref(), house.bytes("a")), (Some("2"), None));
    assert_eq!(said(&post(&house, "2", &[OCTETS, SHA1_45], body(&[Some(b"45")])).await), (201, Some("2")));
    assert_eq!(house.bytes("a").unwrap(), b"45");
    assert_eq!(said(&post(&house, "0", &[], empty()).await), (201, Some("0")));
    assert_eq!(house.bytes("a").unwrap(), b"");
}

#[tokio::test]
async fn nothing_stays_of_an_upload_whose_address_nobody_learnt() {
    let house = House::new().await;
    let cut = post(&house, "4", &[OCTETS], body(&[Some(b"01"), None])).await;
    assert_eq!(cut.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let wrong = post(&house, "4", &[OCTETS, SHA1_45], body(&[Some(b"no")])).await;
    assert_eq!(wrong.status().as_u16(), 460);
    assert_eq!(std::fs::read_dir(house.on_disk("")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_part_that_is_cut_leaves_what_came_of_it() {
    let house = House::new().await;
    let url = begun(&house, "6").await;
    let cut = patch(&house, &url, "0", &[], body(&[Some(b"012"), None])).await;
    assert_eq!(cut.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!((offset(&house, &url).await.as_deref(), house.bytes("a")), (Some("3"), None));
    patch(&house, &url, "3", &[], body(&[Some(b"345")])).await;
    assert_eq!(house.bytes("a").unwrap(), b"012345");
}

#[tokio::test]
async fn a_part_goes_where_the_last_one_ended_and_nowhere_else() {
    let house = House::new().await;
    let url = begun(&house, "6").await;
    patch(&house, &url, "0", &[], body(&[Some(b"01")])).await;
    for wrong in ["0", "1", "3"] {
        assert_eq!(said(&patch(&house, &url, wrong, &[], body(&[Some(b"x")])).await), (409, Some("2")));
    }
    let beyond = patch(&house, &url, "2", &[], body(&[Some(b"2345"), Some(b"6")])).await;
    assert_eq!(beyond.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let announced = patch(&house, &url, "2", &[("content-length", "5")], body(&[])).await;
    assert_eq!(announced.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!((offset(&house, &url).await.as_deref(), house.bytes("a")), (Some("2"), None));
}

#[tokio::test]
async fn bytes_that_are_not_those_of_their_checksum_are_thrown_away() {
    let house = House::new().await;
    let url = begun(&house, "6").await;
    patch(&house, &url, "0", &[], body(&[Some(b"0123")])).await;
    for body_of in [body(&[Some(b"4x")]), body(&[Some(b"4"), None])] {
        let wrong = patch(&house, &url, "4", &[SHA1_45], body_of).await;
        assert!(matches!(wrong.status().as_u16(), 460 | 500));
        assert_eq!((offset(&house, &url).await.as_deref(), house.bytes("a")), (Some("4"), None));
    }
    assert_eq!(said(&patch(&house, &url, "4", &[SHA1_45], body(&[Some(b"45")])).await), (204, Some("6")));
    assert_eq!(house.bytes("a").unwrap(), b"012345");
    let litter: Vec<_> = std::fs::read_dir(house.on_disk("")).unwrap().collect();
    assert_eq!(litter.len(), 1, "{litter:?}");
}

#[tokio::test]
async fn what_a_server_that_died_left_unchecked_is_cut_off() {
    let house = House::new().await;
    let url = begun(&house, "4").await;
    patch(&house, &url, "0", &[], body(&[Some(b"01")])).await;
    let token = Token::read(url.strip_prefix("/api/v1/uploads/").unwrap()).unwrap();
    let mut note = house.vfs.create_ticketed(&token.path, &token.note(), OnAbort::Keep).await.unwrap();
    note.write_at(0, &2_u64.to_be_bytes()).await.unwrap();
    drop(note);
    let mut upload = house.vfs.resume_ticketed(&token.path, &token.text).await.unwrap();
    upload.write_at(2, b"xx").await.unwrap();
    drop(upload);
    assert_eq!((offset(&house, &url).await.as_deref(), house.bytes("a")), (Some("2"), None));
}

#[tokio::test]
async fn what_is_whole_is_committed_before_anybody_is_told_so() {
    let house = House::new().await;
    let url = begun(&house, "2").await;
    let token = Token::read(url.strip_prefix("/api/v1/uploads/").unwrap()).unwrap();
    let mut upload = house.vfs.resume_ticketed(&token.path, &token.text).await.unwrap();
    upload.write_at(0, b"ok").await.unwrap();
    drop(upload);
    assert_eq!(house.bytes("a"), None);
    assert_eq!(offset(&house, &url).await.as_deref(), Some("2"));
    assert_eq!(house.bytes("a").unwrap(), b"ok");
}

#[tokio::test]
async fn an_upload_that_was_ended_is_gone() {
    let house = House::new().await;
    let url = begun(&house, "6").await;
    patch(&house, &url, "0", &[], body(&[Some(b"01")])).await;
    assert_eq!(ask(&house, "alice", Method::DELETE, &url, &[], empty()).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(offset(&house, &url).await, None);
    assert_eq!(patch(&house, &url, "2", &[], body(&[Some(b"2")])).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ask(&house, "alice", Method::DELETE, &url, &[], empty()).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(std::fs::read_dir(house.on_disk("")).unwrap().count(), 0);
}

#[tokio::test]
async fn one_request_at_a_time_writes_to_an_upload() {
    let house = House::new().await;
    let url = begun(&house, "4").await;
    let (go, wait) = oneshot::channel::<()>();
    let (begins, begun) = oneshot::channel::<()>();
    let mut begins = Some(begins);
    let (tick, ticks) = (Bytes::from_static(b"0"), stream::iter([()]));
    let slow = ticks.map(move |()| {
        drop(begins.take());
        Ok::<_, std::io::Error>(Frame::data(tick.clone()))
    });
    let rest = stream::once(async move {
        let _ = wait.await;
        Ok(Frame::data(Bytes::from_static(b"123")))
    });
    let first = patch(&house, &url, "0", &[], StreamBody::new(slow.chain(rest)).boxed_unsync());
    let second = async {
        let _ = begun.await;
        let busy = patch(&house, &url, "1", &[], body(&[Some(b"x")])).await;
        drop(go);
        busy
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((said(&first), second.status()), ((204, Some("4")), StatusCode::LOCKED));
    assert_eq!(house.bytes("a").unwrap(), b"0123");
}

#[tokio::test]
async fn a_request_that_stands_still_makes_way_for_the_next_one() {
    let house = House::new().await;
    let url = begun(&house, "4").await;
    let dead = stream::iter([Ok(Frame::data(Bytes::from_static(b"01")))]).chain(stream::pending());
    let dead = patch(&house, &url, "0", &[], StreamBody::new(dead).boxed_unsync());
    let next = async {
        let mut found = None;
        while found.is_none() {
            let head = ask(&house, "alice", Method::HEAD, &url, &[], empty()).await;
            found = head.headers().get(UPLOAD_OFFSET).cloned();
        }
        found
    };
    let (dead, next) = tokio::join!(dead, next);
    assert_eq!((dead.status(), next.unwrap()), (StatusCode::LOCKED, HeaderValue::from(2)));
}

#[tokio::test]
async fn an_address_is_good_for_its_user_alone_and_as_it_is() {
    let house = House::new().await;
    let url = begun(&house, "4").await;
    let token = Token::read(url.strip_prefix("/api/v1/uploads/").unwrap()).unwrap();
    let forged = Token::new(2, &token.metadata).unwrap();
    for url in [
        format!("/api/v1/uploads/{}", forged.text),
        format!("/api/v1/uploads/{}", token.text.to_uppercase()),
        "/api/v1/uploads/x".to_owned(),
    ] {
        assert_eq!(offset(&house, &url).await, None, "{url}");
        assert_eq!(patch(&house, &url, "0", &[], body(&[Some(b"01")])).await.status(), StatusCode::NOT_FOUND);
    }
    let elsewhere = House::new().await;
    let theirs = ask(&elsewhere, "bob", Method::HEAD, &url, &[], empty()).await;
    assert_eq!(theirs.status(), StatusCode::NOT_FOUND);
    assert_eq!(offset(&house, &url).await.as_deref(), Some("0"));
}

#[tokio::test]
async fn an_upload_is_never_reachable_by_its_name() {
    let house = House::new().await;
    let url = begun(&house, "4").await;
    patch(&house, &url, "0", &[], body(&[Some(b"01")])).await;
    assert!(house.vfs.stat(&path("/a")).await.is_err());
    let onward = Intent::Patch { offset: Some(2), append: false };
    assert!(house.vfs.create(&path("/a"), onward, OnAbort::Keep).await.is_err());
    assert!(house.vfs.remove_file(&path("/a")).await.is_err());
    assert_eq!(offset(&house, &url).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn no_upload_is_committed_after_the_end_of_its_session() {
    let house = House::new().await;
    let url = begun(&house, "2").await;
    let asked = Asked {
        place: Place::Upload(url.strip_prefix("/api/v1/uploads/").unwrap()),
        method: &Method::PATCH,
        headers: &headers(&[OCTETS, ("upload-offset", "0")]),
    };
    let owner = UserName::new("alice").unwrap();
    let result = asked.answer(&house.vfs, &owner, ready(()), body(&[Some(b"ok")])).await;
    assert_eq!((result.unwrap_err().status, house.bytes("a")), (StatusCode::UNAUTHORIZED, None));
}

#[tokio::test]
async fn a_request_that_cannot_be_an_upload_is_refused() {
    let house = House::new().await;
    let meta = ("upload-metadata", "path YQ==");
    for (pairs, status) in [
        (vec![meta], 400),
        (vec![meta, ("upload-length", "-1")], 400),
        (vec![meta, ("upload-length", "9223372036854775808")], 413),
        (vec![meta, ("upload-defer-length", "1")], 400),
        (vec![meta, ("upload-length", "1"), ("upload-concat", "partial")], 400),
        (vec![("upload-length", "1")], 400),
        (vec![("upload-length", "1"), ("upload-metadata", "filename YQ==")], 400),
        (vec![("upload-length", "1"), ("upload-metadata", "path L3gvLi4vLi4vYQ==")], 400),
        (vec![("upload-length", "1"), ("upload-metadata", "path bm8vYQ==")], 404),
        (vec![("upload-length", "1"), ("upload-metadata", "path LmxvY2tnYXRlLXVwLTE=")], 403),
        (vec![meta, ("upload-length", "9000000000000000000")], 507),
    ] {
        let response = ask(&house, "alice", Method::POST, "", &pairs, empty()).await;
        assert_eq!(response.status().as_u16(), status, "{pairs:?}");
    }
    assert_eq!(post(&house, "1", &[("content-type", "text/plain")], body(&[Some(b"x")])).await.status().as_u16(), 415);
    let url = begun(&house, "2").await;
    for (pairs, status) in [
        (vec![("upload-offset", "0")], 415),
        (vec![OCTETS], 400),
        (vec![OCTETS, ("upload-offset", "x")], 400),
        (vec![OCTETS, ("upload-offset", "0"), ("upload-checksum", "crc8 YQ==")], 400),
        (vec![OCTETS, ("upload-offset", "0"), ("content-encoding", "gzip")], 415),
    ] {
        let response = ask(&house, "alice", Method::PATCH, &url, &pairs, body(&[Some(b"ok")])).await;
        assert_eq!(response.status().as_u16(), status, "{pairs:?}");
    }
    assert_eq!(offset(&house, &url).await.as_deref(), Some("0"));
}

#[tokio::test]
async fn whoever_has_a_thousand_unfinished_uploads_begins_no_more_until_one_is_gone() {
    let house = House::new().await;
    let key = PartialKey::of_ticket(&UserName::new("alice").unwrap(), "");
    for number in 0..999 {
        // As an earlier process left them.
        house.put(&format!(".lockgate-part-{:016x}-{number:032x}", key.owner_tag()), b"");
    }
    let url = begun(&house, "4").await;
    let refused = post(&house, "4", &[], empty()).await;
    assert_eq!(refused.status(), StatusCode::INSUFFICIENT_STORAGE);
    let text = refused.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&text).contains("end some of them"), "{text:?}");
    assert_eq!(patch(&house, &url, "0", &[], body(&[Some(b"01")])).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(post(&house, "4", &[], empty()).await.status(), StatusCode::INSUFFICIENT_STORAGE);
    assert_eq!(ask(&house, "alice", Method::DELETE, &url, &[], empty()).await.status(), StatusCode::NO_CONTENT);
    let url = begun(&house, "2").await;
    assert_eq!(said(&patch(&house, &url, "0", &[], body(&[Some(b"ok")])).await), (204, Some("2")));
    begun(&house, "4").await;
}

#[test]
fn only_this_version_is_spoken() {
    assert!(speaks(&headers(&[("tus-resumable", "1.0.0")])).is_ok());
    for pairs in
        [vec![], vec![("tus-resumable", "0.2.2")], vec![("tus-resumable", "1.0.0"), ("tus-resumable", "1.0.0")]]
    {
        let mut map = HeaderMap::new();
        for (name, value) in &pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        let refusal = speaks(&map).unwrap_err().into_response();
        assert_eq!((refusal.status(), &refusal.headers()[VERSIONS]), (StatusCode::PRECONDITION_FAILED, &VERSION));
    }
}

#[test]
fn another_method_can_be_meant_where_it_changes_something() {
    let meant = |place, actual, meant| method(place, &actual, &headers(&[("x-http-method-override", meant)]));
    assert_eq!(meant(Place::Upload("a"), Method::POST, "PATCH"), Method::PATCH);
    assert_eq!(meant(Place::Upload("a"), Method::POST, "DELETE"), Method::DELETE);
    assert_eq!(meant(Place::Upload("a"), Method::POST, "GET"), Method::POST);
    assert_eq!(meant(Place::Upload("a"), Method::GET, "DELETE"), Method::GET);
    assert_eq!(meant(Place::File("a"), Method::POST, "DELETE"), Method::POST);
}

#[test]
fn what_is_offered_is_told_to_everybody() {
    let mut told = HeaderMap::new();
    offer(&Method::OPTIONS, &mut told);
    assert_eq!((&told["tus-version"], &told["tus-resumable"]), (&VERSION, &VERSION));
    assert_eq!(told["tus-checksum-algorithm"], "sha1,sha256");
    assert!(told["tus-extension"].to_str().unwrap().contains("creation-with-upload"));
}
