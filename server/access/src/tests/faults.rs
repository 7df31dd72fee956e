//! Nothing that goes wrong turns "due" into "not due", or a denial into a session.

use crate::{
    Evidence, LedgerHealth, SessionEnd,
    testing::{Authenticator, House, Mood, PASSWORD, account, origin},
};
use lockgate_model::{Protocol, Secret};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

fn compound(house: &House) -> String {
    format!("{PASSWORD}:{}", house.totp.code(0))
}

#[tokio::test]
async fn a_failing_ledger_denies_every_login() {
    let house = House::new();
    house.add_enrolled("bob");
    house.ledger.broken.store(true, Ordering::SeqCst);
    for protocol in Protocol::ALL {
        assert!(house.log_in(protocol, "alice", PASSWORD).await.is_denied());
        assert!(house.log_in(protocol, "bob", &compound(&house)).await.is_denied());
        assert_eq!(house.reason(), "ledger_failed");
    }
    assert_eq!(house.gate.ledger_health(), LedgerHealth::Failing);
    house.ledger.broken.store(false, Ordering::SeqCst);
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house)).await.is_granted());
    assert_eq!(house.gate.ledger_health(), LedgerHealth::Well);
}

#[tokio::test]
async fn a_ledger_that_fails_between_question_and_answer_denies() {
    let house = House::new();
    house.add_enrolled("bob");
    let here = origin(Protocol::Sftp, "192.0.2.1");
    let challenge = house.asked(&here, "bob").await;
    house.ledger.broken.store(true, Ordering::SeqCst);
    assert!(challenge.answer(&here, Secret::new(house.totp.code(0))).await.is_denied());
    assert!(house.gate.sessions().is_empty());
}

#[tokio::test]
async fn while_the_audit_trail_cannot_be_written_nobody_is_let_in() {
    let house = House::new();
    house.add_enrolled("bob");
    let (here, webdav) = (origin(Protocol::Sftp, "192.0.2.1"), origin(Protocol::Webdav, "192.0.2.1"));
    let evidence = Evidence::Password(Secret::new(PASSWORD.to_owned()));
    let asked = house.asked(&here, "bob").await;
    let _session = house.show(&webdav, "alice", PASSWORD).await.session();
    house.trail.failing.store(true, Ordering::SeqCst);
    for protocol in Protocol::ALL {
        assert!(house.log_in(protocol, "alice", PASSWORD).await.is_denied());
        assert!(house.log_in(protocol, "bob", &compound(&house)).await.is_denied());
        assert_eq!(house.reason(), "audit_failed");
    }
    assert!(asked.answer(&here, Secret::new(house.totp.code(0))).await.is_denied());
    assert!(house.gate.resume(&webdav, "alice", &evidence).await.is_none());
    assert_eq!(house.failures("192.0.2.1").await, 0, "nobody is shut out for it");
    house.trail.failing.store(false, Ordering::SeqCst);
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house)).await.is_granted());
}

#[tokio::test]
async fn a_session_whose_own_record_could_not_be_written_is_none() {
    let house = House::new();
    house.trail.fails_when_granted.store(true, Ordering::SeqCst);
    let webdav = origin(Protocol::Webdav, "192.0.2.1");
    assert!(house.show(&webdav, "alice", PASSWORD).await.is_denied());
    assert!(house.gate.sessions().is_empty());
    house.trail.fails_when_granted.store(false, Ordering::SeqCst);
    house.trail.failing.store(false, Ordering::SeqCst);
    let evidence = Evidence::Password(Secret::new(PASSWORD.to_owned()));
    assert!(house.gate.resume(&webdav, "alice", &evidence).await.is_none());
}

#[tokio::test]
async fn a_failing_directory_denies_every_login() {
    let house = House::new();
    house.directory.broken.store(true, Ordering::SeqCst);
    for protocol in Protocol::ALL {
        assert!(house.log_in(protocol, "alice", PASSWORD).await.is_denied());
        assert_eq!(house.reason(), "directory_failed");
    }
}

#[tokio::test]
async fn while_revocation_cannot_be_looked_at_nothing_remembered_is_handed_out() {
    let house = House::new();
    let here = origin(Protocol::Webdav, "192.0.2.1");
    let web = origin(Protocol::Https, "192.0.2.1");
    let _session = house.show(&here, "alice", PASSWORD).await.session();
    let (token, _) = house.gate.issue_cookie(&house.show(&web, "alice", PASSWORD).await.session()).await;
    house.directory.broken.store(true, Ordering::SeqCst);
    let evidence = Evidence::Password(Secret::new(PASSWORD.to_owned()));
    let began = std::time::Instant::now();
    while house.gate.resume(&here, "alice", &evidence).await.is_some() {
        assert!(began.elapsed() < Duration::from_secs(7), "still handed out");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(house.gate.by_cookie(&web, token.expose()).await.is_none());
}

#[tokio::test]
async fn a_user_for_whom_a_factor_is_due_and_none_can_serve_is_denied() {
    let house = House::with(|settings| settings.enforce = crate::Enforce::All);
    for protocol in Protocol::ALL {
        assert!(house.log_in(protocol, "alice", PASSWORD).await.is_denied(), "{protocol}");
        assert_eq!(house.reason(), "no_channel_can_serve");
        assert!(house.log_in(protocol, "alice", &compound(&house)).await.is_denied(), "{protocol}");
    }
}

#[tokio::test]
async fn a_factor_that_is_not_loaded_or_not_listed_denies() {
    let house = House::new();
    house.add_enrolled("bob");
    house.gate.reconfigure(house.settings.clone(), Vec::new());
    assert!(house.log_in(Protocol::Sftp, "bob", PASSWORD).await.is_denied());
    let mut settings = house.settings.clone();
    settings.channels.clear();
    house.gate.reconfigure(settings, house.factors());
    assert!(house.log_in(Protocol::Sftp, "bob", PASSWORD).await.is_denied());
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house)).await.is_denied());
}

#[tokio::test]
async fn a_factor_that_fails_panics_or_names_nothing_as_used_denies() {
    for mood in [Mood::Failing, Mood::Panicking, Mood::Careless] {
        let house = House::new();
        house.add_enrolled("bob");
        let here = origin(Protocol::Sftp, "192.0.2.1");
        let challenge = house.asked(&here, "bob").await;
        *house.totp.mood.lock().unwrap() = mood;
        assert!(challenge.answer(&here, Secret::new(house.totp.code(0))).await.is_denied(), "{mood:?}");
        assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house)).await.is_denied(), "{mood:?}");
        assert_eq!(house.reason(), "factor_failed");
        *house.totp.mood.lock().unwrap() = Mood::Well;
        assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house)).await.is_granted(), "it recovers by itself");
    }
}

#[tokio::test]
async fn a_foreign_factor_says_for_itself_whom_it_serves() {
    let house = House::new();
    let foreign = Arc::new(Authenticator::new("radius", house.clock()));
    let mut settings = house.settings.clone();
    settings.channels = vec![crate::ChannelName::new("radius").unwrap()];
    settings.enforce = crate::Enforce::All;
    house.gate.reconfigure(settings, vec![Arc::clone(&foreign) as _]);
    assert!(house.log_in(Protocol::Sftp, "alice", PASSWORD).await.is_denied(), "it does not serve alice");
    let mut dave = account("dave");
    dave.enrolments.insert("radius".into(), vec![1].into());
    house.add(dave);
    let here = origin(Protocol::Sftp, "192.0.2.1");
    let challenge = house.asked(&here, "dave").await;
    assert_eq!(challenge.channel().as_str(), "radius");
    assert!(challenge.answer(&here, Secret::new(foreign.code(0))).await.is_granted());
    *foreign.mood.lock().unwrap() = Mood::Panicking;
    assert!(house.show(&here, "dave", PASSWORD).await.is_denied());
}

#[tokio::test]
async fn files_that_cannot_be_opened_deny_and_leave_no_session() {
    let house = House::new();
    house.directory.change("alice", |alice| alice.root = Some("/nonexistent/folder".into()));
    assert!(house.log_in(Protocol::Sftp, "alice", PASSWORD).await.is_denied());
    assert_eq!(house.reason(), "storage_failed");
    assert!(house.gate.sessions().is_empty());
    assert!(!house.everything_said().contains("SessionEnded"));
}

#[tokio::test]
async fn changed_preferences_hold_for_logins_that_began_before() {
    let house = House::new();
    let settings = house.settings.clone();
    let here = origin(Protocol::Sftp, "192.0.2.1");
    let under_way = house.show(&here, "alice", PASSWORD);
    let mut strict = settings;
    strict.enforce = crate::Enforce::All;
    let change = async { house.gate.reconfigure(strict, house.factors()) };
    let (outcome, ()) = tokio::join!(under_way, change);
    if let crate::Outcome::Granted(session) = outcome {
        assert_eq!(tokio::time::timeout(Duration::from_secs(2), session.ended()).await.unwrap(), SessionEnd::Revoked);
    }
}
