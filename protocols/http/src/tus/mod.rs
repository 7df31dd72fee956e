//! Resumable uploads at `/api/v1/uploads`: the tus protocol 1.0.0, with creation, creation-with-upload, checksum, expiration and
//! termination.
//!
//! Here stands what the protocol says on the wire: headers in, headers out, and which status a refusal has. An upload is known by its
//! address alone ([`token`]), what came of it lies with the tree, and it becomes the file once as many bytes are there as were announced
//! ([`work`]).
//!
//! Never: judges a right, or reaches an upload by the name that it is for.

mod checksum;
mod table;
mod token;
mod work;

use crate::{
    body::{Body, empty},
    caller::Caller,
    refusal::Refusal,
    routes::Place,
    visit::Ask,
};
use checksum::ALGORITHMS;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body as _;
use lockgate_http_semantics::{UPLOAD_OFFSET, as_they_are, content_length, digits};
use lockgate_model::UserName;
use lockgate_vfs::Vfs;
use std::{
    future::Future,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use token::{MOST_BYTES, NoToken, Token};
use work::{Ends, Piece, Standing, Target};

const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const VERSIONS: HeaderName = HeaderName::from_static("tus-version");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
const EXTENSIONS: HeaderValue =
    HeaderValue::from_static("creation,creation-with-upload,checksum,expiration,termination");
/// The last second that a date in a header can say.
const YEAR_9999: Duration = Duration::from_secs(253_402_300_799);

/// The method that is meant: a client that can send nothing but `POST` says another one in a header. Only towards methods that change
/// something, so that nothing passes for a request that merely reads.
pub(crate) fn method(place: Place<'_>, method: &Method, headers: &HeaderMap) -> Method {
    let meant = headers.get("x-http-method-override").map(HeaderValue::as_bytes);
    match (place, meant) {
        (Place::Upload(_), Some(b"PATCH")) if *method == Method::POST => Method::PATCH,
        (Place::Upload(_), Some(b"DELETE")) if *method == Method::POST => Method::DELETE,
        _ => method.clone(),
    }
}

/// What is offered, for everybody: it belongs to the answer to `OPTIONS`.
pub(crate) fn offer(method: &Method, headers: &mut HeaderMap) {
    dress(headers);
    if method == Method::OPTIONS {
        headers.extend([
            (VERSIONS, VERSION),
            (HeaderName::from_static("tus-extension"), EXTENSIONS),
            (HeaderName::from_static("tus-checksum-algorithm"), HeaderValue::from_static(ALGORITHMS)),
        ]);
    }
}

/// What each answer says, also a refusal.
fn dress(headers: &mut HeaderMap) {
    headers.insert(RESUMABLE, VERSION);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

impl Ask {
    /// Any request to `/api/v1/uploads` and below.
    pub(crate) async fn upload(self, place: Place<'_>, body: Body) -> Result<Response<Body>, Refusal> {
        // A body that is refused is still under way, and not read to the end for nothing.
        let sends = !body.is_end_stream();
        let answered = self.known_upload(place, body).await;
        let refused = |refusal: Refusal| if sends { refusal.closing() } else { refusal }.into_response();
        let mut response = answered.unwrap_or_else(refused);
        dress(response.headers_mut());
        Ok(response)
    }

    async fn known_upload(self, place: Place<'_>, body: Body) -> Result<Response<Body>, Refusal> {
        speaks(&self.parts.headers)?;
        let Caller { session, .. } = self.caller().await?;
        let request = Asked { place, method: &self.parts.method, headers: &self.parts.headers };
        request.answer(session.vfs(), session.user(), session.ended(), body).await
    }
}

/// A request by somebody who is known.
struct Asked<'a> {
    place: Place<'a>,
    method: &'a Method,
    headers: &'a HeaderMap,
}

impl Asked<'_> {
    async fn answer<E>(
        self,
        vfs: &Vfs,
        owner: &UserName,
        ended: impl Future<Output = E>,
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        let headers = self.headers;
        let Place::Upload(id) = self.place else {
            let token = asked_for(headers)?;
            let piece = if body.is_end_stream() { None } else { Some(piece(headers, 0, token.length)?) };
            let target = Target::new(vfs, owner, token);
            let standing = target.create(piece, body, ended).await?;
            let mut response = moved(StatusCode::CREATED, &standing);
            let address = HeaderValue::from_str(&target.address()).ok();
            response.headers_mut().extend(address.map(|address| (header::LOCATION, address)));
            return Ok(response);
        };
        let target = Target::new(vfs, owner, Token::read(id).ok_or_else(unknown)?);
        match *self.method {
            Method::PATCH => {
                let offset = number(headers, &UPLOAD_OFFSET)?
                    .ok_or_else(|| Refusal::bad_request("a part says its place in Upload-Offset"))?;
                let piece = piece(headers, offset, target.length())?;
                Ok(moved(StatusCode::NO_CONTENT, &target.append(piece, body, ended).await?))
            }
            Method::DELETE => {
                target.terminate().await?;
                Ok(done(StatusCode::NO_CONTENT))
            }
            _ => Ok(told(&target, &target.standing().await?)),
        }
    }
}

/// Whether the client speaks this version.
fn speaks(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut said = headers.get_all(RESUMABLE).iter();
    match (said.next(), said.next()) {
        (Some(version), None) if *version == VERSION => Ok(()),
        _ => Err(Refusal::new(StatusCode::PRECONDITION_FAILED, "tus_version", "say Tus-Resumable: 1.0.0")
            .with(VERSIONS, VERSION)),
    }
}

fn moved(status: StatusCode, standing: &Standing) -> Response<Body> {
    let mut response = done(status);
    response.headers_mut().insert(UPLOAD_OFFSET, HeaderValue::from(standing.offset));
    response.headers_mut().extend(expiry(standing));
    response
}

fn told(target: &Target<'_>, standing: &Standing) -> Response<Body> {
    let mut response = moved(StatusCode::OK, standing);
    let headers = response.headers_mut();
    headers.insert(UPLOAD_LENGTH, HeaderValue::from(target.length()));
    headers.extend(HeaderValue::from_str(target.metadata()).ok().map(|value| (UPLOAD_METADATA, value)));
    response
}

/// The upload that a `POST` asks for.
fn asked_for(headers: &HeaderMap) -> Result<Token, Refusal> {
    for (name, why) in [
        ("upload-defer-length", "an upload says its length when it begins"),
        ("upload-concat", "uploads are not put together from parts"),
    ] {
        if headers.contains_key(name) {
            return Err(Refusal::bad_request(why));
        }
    }
    let length = number(headers, &UPLOAD_LENGTH)?
        .ok_or_else(|| Refusal::bad_request("an upload says its length in Upload-Length").about("Upload-Length"))?;
    if length > MOST_BYTES {
        return Err(too_large());
    }
    Token::new(length, &single(headers, &UPLOAD_METADATA)?.unwrap_or_default()).map_err(|error| {
        let refusal = match error {
            NoToken::Metadata => Refusal::bad_request(
                "pairs of a key and a value in base64 are wanted, between commas; path is one of them",
            ),
            NoToken::TooLong => Refusal::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                "Upload-Metadata has at most 4096 bytes",
            ),
            NoToken::Path => {
                Refusal::new(StatusCode::BAD_REQUEST, "bad_path", "path is the name of the file, in UTF-8")
            }
            NoToken::Folder => {
                Refusal::new(StatusCode::CONFLICT, "is_folder", "the name of a file does not end in a slash")
            }
            NoToken::Randomness => {
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "storage_error", "no upload can begin now")
            }
        };
        refusal.about("Upload-Metadata")
    })
}

/// What a request with a body says of it.
fn piece(headers: &HeaderMap, offset: u64, length: u64) -> Result<Piece, Refusal> {
    let kind = single(headers, &header::CONTENT_TYPE)?.unwrap_or_default();
    if !kind.eq_ignore_ascii_case("application/offset+octet-stream") {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_offset",
            "send the bytes as Content-Type: application/offset+octet-stream",
        ));
    }
    as_they_are(headers)?;
    if content_length(headers)?.is_some_and(|count| offset.checked_add(count).is_none_or(|end| end > length)) {
        return Err(too_large());
    }
    let checksum = match single(headers, &HeaderName::from_static("upload-checksum"))? {
        Some(value) => Some(checksum::read(&value).ok_or_else(|| {
            Refusal::bad_request("a checksum is sha1 or sha256, and its value in base64").about("Upload-Checksum")
        })?),
        None => None,
    };
    Ok(Piece { offset, checksum })
}

fn single(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(_) => Err(Refusal::bad_request(format!("{name} holds what no header may hold"))),
        },
        _ => Err(Refusal::bad_request(format!("{name} is there twice"))),
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Refusal> {
    single(headers, name)?
        .map(|text| digits(&text).ok_or_else(|| Refusal::bad_request(format!("{name} is a number of bytes"))))
        .transpose()
}

/// Until when what came is kept.
fn expiry(standing: &Standing) -> Option<(HeaderName, HeaderValue)> {
    let Ends::At(time) = standing.ends else { return None };
    let time = time.min(UNIX_EPOCH + YEAR_9999).max(UNIX_EPOCH);
    Some((UPLOAD_EXPIRES, HeaderValue::from_str(&httpdate::fmt_http_date(time)).ok()?))
}

/// The moment so long after `time`, or the last that there is.
fn after(time: SystemTime, keep: Duration) -> SystemTime {
    time.checked_add(keep).unwrap_or(UNIX_EPOCH + YEAR_9999)
}

/// The answer for each address that leads to no upload, whyever.
fn unknown() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "no_upload", "there is no such upload, or not any more: begin anew")
}

fn too_large() -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "this is more than the upload may have")
}

fn done(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
