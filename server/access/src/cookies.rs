//! Cookies of the web interface: 256 random bits outside, a digest inside.
//!
//! A cookie is bound to the protocol it was made for, and unless that is switched off to the address, so that what was granted on one door by its rules opens
//! no other; a fresh one ends the session's older ones (login, rotation). Bounded by user and in all.

use crate::{Session, WebSession, WebToken, codes::millis, gate::Inner, grants::Lives, locked};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockgate_model::{Origin, Secret};
use std::{collections::HashMap, net::IpAddr, sync::Mutex};
use zeroize::Zeroizing;

const OF_A_USER: usize = 64;
const IN_ALL: usize = 16_384;
const TOKEN_BYTES: usize = 32;

/// Live cookies by the digest of their value.
#[derive(Default)]
pub(crate) struct Cookies {
    table: Mutex<HashMap<[u8; 32], Cookie>>,
}

struct Cookie {
    session: Session,
    address: IpAddr,
    made_ms: u64,
    used_ms: u64,
}

impl Cookies {
    fn put(&self, digest: [u8; 32], session: &Session, lives: Lives) {
        let mut table = locked(&self.table);
        let mut dropped = Vec::new();
        // The whole life counts from the login, not from the last rotation.
        let mut made_ms = lives.now_ms;
        let own: Vec<_> =
            table.iter().filter(|(_, old)| old.session.id() == session.id()).map(|(digest, _)| *digest).collect();
        for old in own.iter().filter_map(|old| table.remove(old)) {
            made_ms = made_ms.min(old.made_ms);
            dropped.push(old);
        }
        dropped.extend(make_room(&mut table, OF_A_USER, |other| other.session.user() == session.user()));
        dropped.extend(make_room(&mut table, IN_ALL, |_| true));
        let address = session.origin().address();
        table.insert(digest, Cookie { session: session.clone(), address, made_ms, used_ms: lives.now_ms });
        drop(table);
        drop(dropped);
    }

    /// `bound`: from its own address alone.
    fn find(&self, digest: &[u8; 32], origin: &Origin, lives: Lives, bound: bool) -> Option<Session> {
        let mut table = locked(&self.table);
        let cookie = table.get_mut(digest)?;
        let fits = (!bound || cookie.address == origin.address())
            && cookie.session.origin().protocol == origin.protocol
            && cookie.session.is_over().is_none()
            && !lives.over(cookie.made_ms, cookie.used_ms);
        if !fits {
            return None;
        }
        cookie.used_ms = lives.now_ms;
        Some(cookie.session.clone())
    }

    /// Drops what has passed. A request that still runs keeps its session; it ends with it.
    pub(crate) fn sweep(&self, lives: Lives) {
        let mut table = locked(&self.table);
        let over: Vec<_> = table
            .iter()
            .filter(|(_, cookie)| cookie.session.is_over().is_some() || lives.over(cookie.made_ms, cookie.used_ms))
            .map(|(digest, _)| *digest)
            .collect();
        let dropped: Vec<_> = over.iter().filter_map(|digest| table.remove(digest)).collect();
        drop(table);
        drop(dropped);
    }
}

fn make_room(table: &mut HashMap<[u8; 32], Cookie>, limit: usize, counts: impl Fn(&Cookie) -> bool) -> Vec<Cookie> {
    let mut own: Vec<(u64, [u8; 32])> =
        table.iter().filter(|(_, cookie)| counts(cookie)).map(|(digest, cookie)| (cookie.used_ms, *digest)).collect();
    if own.len() < limit {
        return Vec::new();
    }
    own.sort_unstable();
    own.iter().take(own.len() + 1 - limit).filter_map(|(_, digest)| table.remove(digest)).collect()
}

impl Inner {
    /// How long cookies live.
    pub(crate) fn web_lives(&self) -> Lives {
        let web = self.rules().settings.web;
        Lives { idle_ms: millis(web.idle), max_ms: millis(web.max), now_ms: self.clock.now_ms() }
    }

    pub(crate) fn issue_cookie(&self, session: &Session) -> (WebToken, WebSession) {
        let mut random = Zeroizing::new([0_u8; TOKEN_BYTES]);
        let drawn = aws_lc_rs::rand::fill(&mut *random);
        let token = Secret::new(URL_SAFE_NO_PAD.encode(*random));
        if drawn.is_ok() && session.is_over().is_none() {
            self.cookies.put(self.key.keyed_digest("cookie", token.expose().as_bytes()), session, self.web_lives());
        } else {
            // A value that anybody could guess is kept nowhere: it opens nothing.
            tracing::error!("a cookie could not be made: no random bytes, or the session is over");
        }
        let csrf = self.csrf(token.expose());
        (token, WebSession { session: session.clone(), csrf })
    }

    pub(crate) fn by_cookie(&self, origin: &Origin, token: &str) -> Option<WebSession> {
        if self.addresses.is_banned(origin.address()) || !self.watch_is_fresh() {
            return None;
        }
        let bound = self.rules().settings.web.bound_to_address;
        let digest = self.key.keyed_digest("cookie", token.as_bytes());
        let session = self.cookies.find(&digest, origin, self.web_lives(), bound)?;
        Some(WebSession { session, csrf: self.csrf(token) })
    }

    /// Derived, so that nothing more has to be kept: who knows the cookie alone (a browser sending it) cannot compute it.
    fn csrf(&self, token: &str) -> Secret<String> {
        Secret::new(URL_SAFE_NO_PAD.encode(self.key.keyed_digest("csrf", token.as_bytes())))
    }
}
