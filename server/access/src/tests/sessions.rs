//! Sessions: counted, listed, ended.

use super::passwords::within;
use crate::{
    SessionEnd, SessionId,
    testing::{House, PASSWORD, account, origin},
};
use lockgate_model::{Protocol, UserName};
use std::time::Duration;

#[tokio::test]
async fn a_session_is_listed_until_its_last_holder_drops_it() {
    let house = House::new();
    let session = house.log_in(Protocol::Sftp, "alice", PASSWORD).await.session();
    let clone = session.clone();
    let list = house.gate.sessions();
    assert_eq!((list.len(), list[0].user.as_str(), &list[0].id), (1, "alice", session.id()));
    drop(session);
    assert_eq!(house.gate.sessions().len(), 1);
    let ended = clone.ended();
    drop(clone);
    assert!(house.gate.sessions().is_empty());
    assert_eq!(ended.await, SessionEnd::Closed);
}

#[tokio::test]
async fn a_session_is_listed_with_what_it_does() {
    let house = House::new();
    let session = house.log_in(Protocol::Ftp, "alice", PASSWORD).await.session();
    let doing = session.activity().begin("RETR", &lockgate_model::VPath::parse("/a/b").unwrap());
    doing.moved(42);
    let view = house.gate.sessions().remove(0).activity;
    assert_eq!((view.doing.as_deref(), view.others, view.bytes), (Some("RETR /a/b"), 0, 42));
    drop(doing);
    assert_eq!(house.gate.sessions().remove(0).activity.doing, None);
}

#[tokio::test]
async fn a_killed_session_says_so_to_everybody_who_waits() {
    let house = House::new();
    let session = house.log_in(Protocol::Sftp, "alice", PASSWORD).await.session();
    let waiting = tokio::spawn(session.ended());
    assert!(house.gate.end_session(session.id(), SessionEnd::Killed));
    session.end(SessionEnd::Closed);
    assert_eq!(waiting.await.unwrap(), SessionEnd::Killed);
    assert_eq!(session.ended().await, SessionEnd::Killed);
    assert_eq!(session.is_over(), Some(SessionEnd::Killed), "the first reason stays");
    assert!(house.gate.sessions().is_empty());
    assert!(!house.gate.end_session(&SessionId::from_text("no such"), SessionEnd::Killed));
    assert_eq!(house.everything_said().matches("SessionEnded").count(), 1);
}

#[tokio::test]
async fn a_user_has_no_more_sessions_than_they_may() {
    let house = House::new();
    house.directory.change("alice", |alice| alice.max_logins = Some(2));
    let first = house.log_in(Protocol::Sftp, "alice", PASSWORD).await.session();
    let _second = house.log_in(Protocol::Sftp, "alice", PASSWORD).await.session();
    assert!(house.log_in(Protocol::Sftp, "alice", PASSWORD).await.is_denied());
    assert_eq!(house.reason(), "too_many_sessions_of_user");
    first.end(SessionEnd::Closed);
    assert!(house.log_in(Protocol::Sftp, "alice", PASSWORD).await.is_granted());
}

#[tokio::test]
async fn an_address_has_no_more_sessions_than_it_may() {
    let house = House::with(|settings| settings.max_sessions_per_address = 1);
    house.add(account("carl"));
    let first = house.log_in(Protocol::Sftp, "alice", PASSWORD).await.session();
    assert!(house.log_in(Protocol::Ftps, "carl", PASSWORD).await.is_denied());
    assert_eq!(house.reason(), "too_many_sessions_of_address");
    let elsewhere = origin(Protocol::Sftp, "198.51.100.1");
    assert!(house.show(&elsewhere, "alice", PASSWORD).await.is_granted());
    drop(first);
    assert!(house.log_in(Protocol::Ftps, "carl", PASSWORD).await.is_granted());
}

#[tokio::test]
async fn the_server_has_no_more_sessions_than_it_may() {
    let house = House::with(|settings| settings.max_sessions = 1);
    let _first = house.log_in(Protocol::Sftp, "alice", PASSWORD).await.session();
    assert!(house.log_in(Protocol::Sftp, "alice", PASSWORD).await.is_denied());
    assert_eq!(house.reason(), "too_many_sessions");
}

#[tokio::test]
async fn sessions_of_a_changed_or_removed_user_end_within_two_seconds() {
    let house = House::new();
    let changed = house.log_in(Protocol::Sftp, "alice", PASSWORD).await.session();
    house.add_enrolled("bob");
    house.directory.change("bob", |bob| bob.enrolments.clear());
    let other = house.log_in(Protocol::Sftp, "bob", PASSWORD).await.session();
    house.directory.change("alice", |alice| alice.enabled = false);
    assert_eq!(tokio::time::timeout(Duration::from_secs(2), changed.ended()).await.unwrap(), SessionEnd::Revoked);
    assert_eq!(other.is_over(), None, "nobody else is touched");
    lockgate_users::Directory::remove(&*house.directory, &UserName::new("bob").unwrap()).await.unwrap();
    assert_eq!(tokio::time::timeout(Duration::from_secs(2), other.ended()).await.unwrap(), SessionEnd::Revoked);
}

#[tokio::test]
async fn sessions_that_were_made_without_a_factor_end_when_one_becomes_due() {
    let house = House::new();
    house.add_enrolled("bob");
    let without = house.log_in(Protocol::Sftp, "alice", PASSWORD).await.session();
    let with = house.log_in(Protocol::Sftp, "bob", &format!("{PASSWORD}:{}", house.totp.code(0))).await.session();
    let app = house.app_password("alice", &[Protocol::Sftp]).await;
    let by_app = house.log_in(Protocol::Sftp, "alice", &app).await.session();
    let mut settings = house.settings.clone();
    settings.enforce = crate::Enforce::All;
    house.gate.reconfigure(settings.clone(), house.factors());
    assert_eq!(tokio::time::timeout(Duration::from_secs(2), without.ended()).await.unwrap(), SessionEnd::Revoked);
    assert_eq!((with.is_over(), by_app.is_over()), (None, None));
    settings.app_passwords = false;
    house.gate.reconfigure(settings, house.factors());
    assert_eq!(tokio::time::timeout(Duration::from_secs(2), by_app.ended()).await.unwrap(), SessionEnd::Revoked);
    assert_eq!(with.is_over(), None);
}

#[tokio::test]
async fn sessions_and_grants_end_within_two_seconds_of_the_end_of_their_account() {
    let house = House::new();
    let now = house.clock().now_ms();
    house.directory.change("alice", |alice| alice.expires = Some(now + 60_000));
    let evidence = crate::Evidence::Password(lockgate_model::Secret::new(PASSWORD.to_owned()));
    let webdav = origin(Protocol::Webdav, "192.0.2.1");
    let ftp = origin(Protocol::Ftp, "192.0.2.1");
    let sessions = [
        house.log_in(Protocol::Sftp, "alice", PASSWORD).await.session(),
        house.show(&webdav, "alice", PASSWORD).await.session(),
        house.show(&ftp, "alice", PASSWORD).await.session(),
    ];
    house.pass(Duration::from_secs(59));
    for from in [&webdav, &ftp] {
        assert!(house.gate.resume(from, "alice", &evidence).await.is_some());
    }
    house.pass(Duration::from_secs(1));
    for from in [&webdav, &ftp] {
        assert!(house.gate.resume(from, "alice", &evidence).await.is_none());
    }
    for session in sessions {
        assert_eq!(tokio::time::timeout(Duration::from_secs(2), session.ended()).await.unwrap(), SessionEnd::Revoked);
    }
}

#[tokio::test]
async fn a_later_end_of_the_account_keeps_its_sessions() {
    let house = House::new();
    let now = house.clock().now_ms();
    let ends = |name: &str, at: u64| {
        // A later end takes nothing away, so that the epoch stays.
        let account = account(name);
        house.add(lockgate_users::Account { expires: Some(at), ..account });
    };
    ends("alice", now + 1000);
    let session = house.log_in(Protocol::Sftp, "alice", PASSWORD).await.session();
    ends("alice", now + 60_000);
    house.pass(Duration::from_secs(2));
    within(|| session.inner.until_ms.load(std::sync::atomic::Ordering::SeqCst) == now + 60_000).await;
    assert_eq!(session.is_over(), None);
    house.pass(Duration::from_secs(60));
    assert_eq!(tokio::time::timeout(Duration::from_secs(2), session.ended()).await.unwrap(), SessionEnd::Revoked);
}

#[tokio::test]
async fn where_a_user_came_from_is_remembered_after_a_whole_login_only() {
    let house = House::new();
    house.add_enrolled("bob");
    let bob = UserName::new("bob").unwrap();
    let _ = house.log_in(Protocol::Sftp, "bob", PASSWORD).await;
    assert!(!lockgate_users::Directory::knows_address(&*house.directory, &bob, "192.0.2.1").await.unwrap());
    let _ = house.log_in(Protocol::Sftp, "bob", &format!("{PASSWORD}:{}", house.totp.code(0))).await.session();
    assert!(lockgate_users::Directory::knows_address(&*house.directory, &bob, "192.0.2.1").await.unwrap());
}

#[tokio::test]
async fn a_greeting_may_speak_of_codes_only_where_somebody_needs_one() {
    let house = House::new();
    within(|| !house.gate.may_ask(Protocol::Ftp)).await;
    let mut settings = house.settings.clone();
    settings.enforce = crate::Enforce::Admins;
    house.gate.reconfigure(settings.clone(), house.factors());
    assert!(house.gate.may_ask(Protocol::Ftp));
    settings.validated_logins = false;
    house.gate.reconfigure(settings, house.factors());
    assert!(!house.gate.may_ask(Protocol::Ftp));
}
