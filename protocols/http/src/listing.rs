//! Listings, page by page.
//!
//! A page is the next rows in the wanted order after the row that the cursor names, found in one pass over the folder with no more
//! than a page in memory: a folder of a million names costs time, never memory, and a folder that changes between two pages shows
//! each name at most once.

use crate::{body::Body, json, names, refusal::Refusal, visit::Ask};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Response, StatusCode};
use lockgate_vfs::{Entry, Kind, Listing, VfsError};
use serde::Serialize;
use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::BinaryHeap,
    time::{SystemTime, UNIX_EPOCH},
};
use time::{OffsetDateTime, serde::rfc3339};

const PAGE: usize = 1000;
/// Each page is a pass over the folder, so that few large ones are quicker than many small ones; a row in memory takes some 300 bytes.
const LARGEST_PAGE: usize = 20_000;
const BATCH: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Name,
    Size,
    Modified,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    by: By,
    descending: bool,
}

#[derive(Debug)]
struct Page {
    limit: usize,
    order: Order,
    after: Option<Key>,
}

/// Where a row stands in its order. Names break ties, and are unique.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    number: i64,
    name: Vec<u8>,
}

struct Row {
    key: Key,
    entry: Entry,
    descending: bool,
}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.key, &other.key, self.descending)
    }
}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Row {}

fn compare(a: &Key, b: &Key, descending: bool) -> Ordering {
    let order = a.number.cmp(&b.number).then_with(|| a.name.cmp(&b.name));
    if descending { order.reverse() } else { order }
}

impl Ask {
    /// `GET /api/v1/list/PATH?limit=&cursor=&sort=`.
    pub(crate) async fn list(self, raw: &str) -> Result<Response<Body>, Refusal> {
        let caller = self.caller().await?;
        let path = names::from_url(raw)?;
        let page = page(self.parts.uri.query().unwrap_or_default())?;
        let listing = caller.session.vfs().list(&path).await?;
        let (rows, more) = pick(listing, &page).await?;
        let next = rows.last().filter(|_| more).map(|row| cursor(page.order, &row.key));
        let entries = rows.iter().map(|row| Shown::from(&row.entry)).collect();
        Ok(json::reply(StatusCode::OK, &Reply { entries, next_cursor: next }))
    }
}

#[derive(Serialize)]
struct Reply<'a> {
    entries: Vec<Shown<'a>>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Shown<'a> {
    name: Cow<'a, str>,
    kind: &'static str,
    size: u64,
    #[serde(serialize_with = "rfc3339::option::serialize")]
    modified: Option<OffsetDateTime>,
}

/// The rows of the page in order, and whether there are more.
async fn pick(mut listing: Listing, page: &Page) -> Result<(Vec<Row>, bool), VfsError> {
    let mut shelf = Shelf::new(page);
    loop {
        let batch = listing.next_batch(BATCH).await?;
        if batch.is_empty() {
            return Ok(shelf.into_rows());
        }
        for entry in batch {
            shelf.offer(entry);
        }
        // Listing may be answered from memory without ever waiting; others want a turn too.
        tokio::task::yield_now().await;
    }
}

/// The best rows so far: no more than a page.
struct Shelf<'a> {
    page: &'a Page,
    rows: BinaryHeap<Row>,
    more: bool,
}

impl<'a> Shelf<'a> {
    fn new(page: &'a Page) -> Self {
        Self { page, rows: BinaryHeap::new(), more: false }
    }

    fn offer(&mut self, entry: Entry) {
        let Page { limit, order, after } = self.page;
        let key = Key { number: number(order.by, &entry), name: entry.name.clone() };
        if after.as_ref().is_some_and(|after| compare(&key, after, order.descending) != Ordering::Greater) {
            return;
        }
        self.rows.push(Row { key, entry, descending: order.descending });
        if self.rows.len() > *limit {
            self.rows.pop();
            self.more = true;
        }
    }

    fn into_rows(self) -> (Vec<Row>, bool) {
        (self.rows.into_sorted_vec(), self.more)
    }
}

fn number(by: By, entry: &Entry) -> i64 {
    match by {
        By::Name => 0,
        By::Size => i64::try_from(entry.metadata.size).unwrap_or(i64::MAX),
        By::Modified => milliseconds(entry.metadata.modified),
    }
}

fn milliseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

impl<'a> From<&'a Entry> for Shown<'a> {
    fn from(entry: &'a Entry) -> Self {
        let kind = match entry.metadata.kind {
            Kind::File => "file",
            Kind::Folder => "dir",
            Kind::Link => "link",
        };
        // RFC 3339 has years of four digits.
        let modified = OffsetDateTime::from_unix_timestamp(milliseconds(entry.metadata.modified).div_euclid(1000))
            .ok()
            .filter(|time| (0..10_000).contains(&time.year()));
        Self { name: names::shown(&entry.name).into(), kind, size: entry.metadata.size, modified }
    }
}

fn page(query: &str) -> Result<Page, Refusal> {
    let mut page = Page { limit: PAGE, order: Order { by: By::Name, descending: false }, after: None };
    let mut cursor = None;
    for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match key {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| *limit > 0);
                page.limit = limit
                    .map(|limit: usize| limit.min(LARGEST_PAGE))
                    .ok_or_else(|| wrong("limit", "limit is a number from 1"))?;
            }
            "sort" => {
                page.order = order(value)
                    .ok_or_else(|| wrong("sort", "sort is name, size or modified, with - in front to turn it round"))?
            }
            "cursor" if !value.is_empty() => cursor = Some(value),
            _ => {}
        }
    }
    if let Some(text) = cursor {
        let after =
            key(page.order, text).ok_or_else(|| wrong("cursor", "the cursor does not belong to this listing"))?;
        page.after = Some(after);
    }
    Ok(page)
}

fn wrong(field: &'static str, message: &'static str) -> Refusal {
    Refusal::bad_request(message).about(field)
}

fn order(text: &str) -> Option<Order> {
    let (descending, word) = text.strip_prefix('-').map_or((false, text), |word| (true, word));
    let by = match word {
        "name" => By::Name,
        "size" => By::Size,
        "modified" => By::Modified,
        _ => return None,
    };
    Some(Order { by, descending })
}

fn mark(order: Order) -> u8 {
    order.by as u8 * 2 + u8::from(order.descending)
}

fn cursor(order: Order, key: &Key) -> String {
    let mut bytes = vec![mark(order)];
    bytes.extend_from_slice(&key.number.to_be_bytes());
    bytes.extend_from_slice(&key.name);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn key(order: Order, cursor: &str) -> Option<Key> {
    if cursor.len() > 1024 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (first, rest) = bytes.split_first()?;
    let (number, name) = rest.split_first_chunk()?;
    (*first == mark(order)).then(|| Key { number: i64::from_be_bytes(*number), name: name.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_http_semantics::testing::facts;
    use proptest::prelude::*;

    fn entries() -> Vec<Entry> {
        [("b", 3), ("a", 9), ("c", 3), ("d", 1)]
            .into_iter()
            .map(|(name, size)| {
                let mut metadata = facts("x", size);
                metadata.size = size;
                Entry { name: name.into(), metadata }
            })
            .collect()
    }

    fn walk(query: &str) -> String {
        let mut names = String::new();
        let mut next = String::new();
        for _ in 0..10 {
            let page = page(&format!("{query}&cursor={next}")).unwrap();
            let mut shelf = Shelf::new(&page);
            entries().into_iter().for_each(|entry| shelf.offer(entry));
            let (rows, more) = shelf.into_rows();
            assert!(rows.len() <= page.limit);
            names.extend(rows.iter().map(|row| String::from_utf8_lossy(&row.key.name).into_owned()));
            if !more {
                return names;
            }
            next = cursor(page.order, &rows.last().unwrap().key);
        }
        panic!("the listing has no end");
    }

    #[test]
    fn pages_join_to_the_whole_folder_in_any_order_and_size() {
        for limit in 1..=5 {
            assert_eq!(walk(&format!("limit={limit}")), "abcd");
            assert_eq!(walk(&format!("limit={limit}&sort=-name")), "dcba");
            assert_eq!(walk(&format!("limit={limit}&sort=size")), "dbca");
            assert_eq!(walk(&format!("limit={limit}&sort=-modified")), "acbd");
        }
    }

    #[test]
    fn a_wrong_query_is_refused_by_field() {
        let name = cursor(Order { by: By::Name, descending: false }, &Key { number: 0, name: b"a".to_vec() });
        for (query, field) in [
            ("limit=0".to_owned(), "limit"),
            ("limit=x".to_owned(), "limit"),
            ("sort=colour".to_owned(), "sort"),
            ("cursor=!!".to_owned(), "cursor"),
            (format!("sort=size&cursor={name}"), "cursor"),
            (format!("cursor={name}&sort=-name"), "cursor"),
        ] {
            assert_eq!(page(&query).unwrap_err().field, Some(field), "{query}");
        }
    }

    #[test]
    fn a_row_says_what_the_contract_says() {
        let entry = Entry { name: b"caf\xe9".to_vec(), metadata: facts("x", 86_400) };
        assert_eq!(
            serde_json::to_string(&Shown::from(&entry)).unwrap(),
            r#"{"name":"caf\\xe9","kind":"file","size":10,"modified":"1970-01-02T00:00:00Z"}"#
        );
    }

    proptest! {
        #[test]
        fn any_query_is_survived(query in "\\PC{0,60}") {
            let _ = page(&query);
        }
    }
}
