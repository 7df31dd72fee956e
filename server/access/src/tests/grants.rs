//! Logins that are repeated: remembered for the very same client, and for nobody else.

use super::passwords::within;
use crate::{
    Evidence, Outcome, Session, SessionEnd,
    testing::{House, PASSWORD, account, origin},
};
use lockgate_model::{Conversation, Origin, Protocol, Secret};
use std::time::Duration;

fn shown(password: &str) -> Evidence {
    Evidence::Password(Secret::new(password.to_owned()))
}

struct Repeated {
    house: House,
    here: Origin,
    line: String,
    session: Session,
}

/// A whole login with a code that is then repeated.
async fn repeated(protocol: Protocol) -> Repeated {
    let house = House::new();
    house.add_enrolled("bob");
    let here = Origin { conversation: Conversation::SingleShot, ..origin(protocol, "192.0.2.1") };
    let line = format!("{PASSWORD}:{}", house.totp.code(0));
    assert!(house.gate.resume(&here, "bob", &shown(&line)).await.is_none(), "nothing is remembered before");
    let session = house.show(&here, "bob", &line).await.session();
    Repeated { house, here, line, session }
}

#[tokio::test]
async fn requests_that_repeat_credentials_get_the_same_session() {
    for protocol in [Protocol::Webdav, Protocol::Http, Protocol::Https] {
        let Repeated { house, here, line, session } = repeated(protocol).await;
        let again = house.gate.resume(&here, "bob", &shown(&line)).await.unwrap();
        assert_eq!(again.id(), session.id());
        assert_eq!(house.gate.sessions().len(), 1);
    }
}

#[tokio::test]
async fn requests_find_the_folder_that_took_the_place_of_one_that_was_removed() {
    let house = House::new();
    house.add(account("bob"));
    let here = Origin { conversation: Conversation::SingleShot, ..origin(Protocol::Webdav, "192.0.2.1") };
    let session = house.show(&here, "bob", PASSWORD).await.session();
    std::fs::remove_dir_all(house.home.path().join("bob")).unwrap();
    assert!(house.gate.resume(&here, "bob", &shown(PASSWORD)).await.is_none());
    let again = house.show(&here, "bob", PASSWORD).await.session();
    assert_ne!(again.id(), session.id());
    assert!(!again.vfs().is_gone());
    assert_eq!(house.gate.resume(&here, "bob", &shown(PASSWORD)).await.unwrap().id(), again.id());
}

#[tokio::test]
async fn connections_that_repeat_credentials_get_sessions_of_their_own() {
    for protocol in [Protocol::Ftp, Protocol::Ftps] {
        let Repeated { house, here, line, session } = repeated(protocol).await;
        let again = house.gate.resume(&here, "bob", &shown(&line)).await.unwrap();
        assert_ne!(again.id(), session.id());
        assert_eq!(again.factor(), Some("totp"));
        assert_eq!(house.reason(), "resumed");
        assert_eq!(house.gate.sessions().len(), 2);
    }
}

#[tokio::test]
async fn nobody_else_is_let_in_by_what_is_remembered() {
    let Repeated { house, here, line, session: _session } = repeated(Protocol::Webdav).await;
    let elsewhere = Origin { peer: "192.0.2.2:0".parse().unwrap(), ..here.clone() };
    let over_http = Origin { protocol: Protocol::Https, ..here.clone() };
    house.add_enrolled("eve");
    for (from, name, evidence) in [
        (&elsewhere, "bob", shown(&line)),
        (&over_http, "bob", shown(&line)),
        (&here, "eve", shown(&line)),
        (&here, "bob", shown(PASSWORD)),
        (&here, "bob", shown(&format!("{line}0"))),
        (&here, "bob", Evidence::PublicKey(line.clone().into_bytes())),
    ] {
        assert!(house.gate.resume(from, name, &evidence).await.is_none());
    }
    assert!(house.show(&elsewhere, "bob", &line).await.is_denied(), "the same string from elsewhere is a used code");
}

#[tokio::test]
async fn a_grant_for_requests_ends_idle_and_at_its_longest() {
    let Repeated { house, here, line, session } = repeated(Protocol::Webdav).await;
    drop(session);
    for _ in 0..24 {
        house.pass(Duration::from_secs(1790));
        assert!(house.gate.resume(&here, "bob", &shown(&line)).await.is_some());
    }
    house.pass(Duration::from_secs(1000));
    assert!(house.gate.resume(&here, "bob", &shown(&line)).await.is_none(), "twelve hours are over");

    let Repeated { house, here, line, session } = repeated(Protocol::Webdav).await;
    drop(session);
    house.pass(Duration::from_secs(1801));
    assert!(house.gate.resume(&here, "bob", &shown(&line)).await.is_none(), "idle for half an hour");
    within(|| house.gate.sessions().is_empty()).await;
}

#[tokio::test]
async fn a_grant_for_connections_lives_with_them_and_a_minute_longer() {
    let Repeated { house, here, line, session } = repeated(Protocol::Ftp).await;
    house.pass(Duration::from_secs(7200));
    let second = house.gate.resume(&here, "bob", &shown(&line)).await.unwrap();
    drop(session);
    house.pass(Duration::from_secs(61));
    assert!(house.gate.resume(&here, "bob", &shown(&line)).await.is_some(), "one connection still lives");
    drop(second);
    house.pass(Duration::from_secs(59));
    assert!(house.gate.resume(&here, "bob", &shown(&line)).await.is_some());
    house.pass(Duration::from_secs(61));
    assert!(house.gate.resume(&here, "bob", &shown(&line)).await.is_none());
}

#[tokio::test]
async fn a_changed_account_ends_its_grants() {
    for protocol in [Protocol::Ftp, Protocol::Webdav] {
        let Repeated { house, here, line, session } = repeated(protocol).await;
        house.directory.change("bob", |_| {});
        assert_eq!(tokio::time::timeout(Duration::from_secs(2), session.ended()).await.unwrap(), SessionEnd::Revoked);
        assert!(house.gate.resume(&here, "bob", &shown(&line)).await.is_none());
    }
}

#[tokio::test]
async fn nothing_is_remembered_for_protocols_that_are_not_listed() {
    let house = House::new();
    house.add_enrolled("bob");
    let here = origin(Protocol::Sftp, "192.0.2.1");
    let challenge = house.asked(&here, "bob").await;
    let _session = challenge.answer(&here, Secret::new(house.totp.code(0))).await.session();
    assert!(house.gate.resume(&here, "bob", &shown(PASSWORD)).await.is_none());
}

#[tokio::test]
async fn where_an_operator_lists_sftp_the_first_factor_is_remembered_after_a_whole_login() {
    let house = House::with(|settings| settings.grant_protocols = Protocol::ALL.into_iter().collect());
    house.add_enrolled("bob");
    let here = origin(Protocol::Sftp, "192.0.2.1");
    let challenge = house.asked(&here, "bob").await;
    assert!(house.gate.resume(&here, "bob", &shown(PASSWORD)).await.is_none(), "half a login is none");
    let _session = challenge.answer(&here, Secret::new(house.totp.code(0))).await.session();
    assert!(house.gate.resume(&here, "bob", &shown(PASSWORD)).await.is_some());
    assert!(house.gate.resume(&origin(Protocol::Sftp, "192.0.2.2"), "bob", &shown(PASSWORD)).await.is_none());
}

/// Logs in on FTP as a client does that is asked for its code.
async fn asked_over_ftp(house: &House, from: &Origin, evidence: &Evidence, code: &str) -> Outcome {
    if let Some(session) = house.gate.resume(from, "bob", evidence).await {
        return Outcome::Granted(session);
    }
    match house.gate.knock(from.clone(), "bob").submit(evidence.clone()).await {
        Outcome::Challenge(question) => question.answer(from, Secret::new(code.into())).await,
        other => other,
    }
}

#[tokio::test]
async fn a_client_that_was_asked_is_let_in_again_by_the_same_password_and_code_and_not_by_the_password() {
    let house = House::new();
    house.add_enrolled("bob");
    house.directory.change("bob", |bob| bob.client_certificate = Some("CN=bob".into()));
    let here = Origin { conversation: Conversation::Interactive, ..origin(Protocol::Ftps, "192.0.2.1") };
    let elsewhere = Origin { peer: "192.0.2.2:0".parse().unwrap(), ..here.clone() };
    let certificate = Evidence::ClientCertificate("CN=bob".into());
    for (evidence, other) in [(shown(PASSWORD), certificate.clone()), (certificate, shown(PASSWORD))] {
        house.pass(Duration::from_secs(90));
        let code = house.totp.code(0);
        let first = asked_over_ftp(&house, &here, &evidence, &code).await.session();
        let second = asked_over_ftp(&house, &here, &evidence, &code).await.session();
        assert_eq!((house.reason(), second.factor()), ("resumed", Some("totp")));
        assert_ne!(first.id(), second.id());
        assert!(house.gate.resume(&here, "bob", &evidence).await.is_none(), "half of it is nothing");
        for (from, evidence, code) in [
            (&elsewhere, &evidence, code.as_str()),
            (&here, &other, code.as_str()),
            (&here, &evidence, "000000"),
            (&here, &evidence, ""),
        ] {
            assert!(!asked_over_ftp(&house, from, evidence, code).await.is_granted(), "{from:?} {evidence:?} {code}");
        }
        drop((first, second));
        house.pass(Duration::from_secs(61));
        assert!(!asked_over_ftp(&house, &here, &evidence, &code).await.is_granted(), "a minute after the last");
    }
}

#[tokio::test]
async fn where_the_person_answers_elsewhere_each_connection_is_asked_for_anew() {
    let house = House::new();
    house.add_enrolled("bob");
    house.totp.calls.store(true, std::sync::atomic::Ordering::SeqCst);
    let here = Origin { conversation: Conversation::Interactive, ..origin(Protocol::Ftps, "192.0.2.1") };
    let yes = house.totp.code(0);
    let first = asked_over_ftp(&house, &here, &shown(PASSWORD), &yes).await.session();
    house.pass(Duration::from_secs(90));
    let second = asked_over_ftp(&house, &here, &shown(PASSWORD), &yes).await;
    assert!(!second.is_granted(), "what was typed once says nothing of who answers elsewhere");
    assert_eq!(house.totp.called.load(std::sync::atomic::Ordering::SeqCst), 2);
    drop(first);
}

#[tokio::test]
async fn while_codes_are_paused_nobody_goes_on_by_a_code_either() {
    let house = House::new();
    house.add_enrolled("bob");
    let here = Origin { conversation: Conversation::Interactive, ..origin(Protocol::Ftps, "192.0.2.1") };
    let code = house.totp.code(0);
    let _first = asked_over_ftp(&house, &here, &shown(PASSWORD), &code).await.session();
    for _ in 0..house.settings.brute_force.codes_per_account {
        assert!(!asked_over_ftp(&house, &here, &shown(PASSWORD), "000000").await.is_granted());
    }
    assert!(!asked_over_ftp(&house, &here, &shown(PASSWORD), &code).await.is_granted());
    assert_eq!(house.reason(), "codes_paused");
}

#[tokio::test]
async fn where_a_client_can_be_asked_what_is_whole_is_remembered_too() {
    let house = House::new();
    house.add_enrolled("bob");
    let here = Origin { conversation: Conversation::Interactive, ..origin(Protocol::Ftp, "192.0.2.1") };
    let line = format!("{PASSWORD}:{}", house.totp.code(0));
    let _first = house.show(&here, "bob", &line).await.session();
    assert!(house.gate.resume(&here, "bob", &shown(&line)).await.is_some());
    let _alice = house.show(&here, "alice", PASSWORD).await.session();
    assert!(house.gate.resume(&here, "alice", &shown(PASSWORD)).await.is_some());
}

#[tokio::test]
async fn a_web_login_in_two_steps_makes_no_grant_for_the_password_alone() {
    let house = House::new();
    house.add_enrolled("bob");
    let here = origin(Protocol::Https, "192.0.2.1");
    let _session = house.asked(&here, "bob").await.answer(&here, Secret::new(house.totp.code(0))).await.session();
    let basic = Origin { conversation: Conversation::SingleShot, ..here };
    assert!(house.gate.resume(&basic, "bob", &shown(PASSWORD)).await.is_none());
}

#[tokio::test]
async fn logins_without_a_factor_are_remembered_until_one_becomes_due() {
    let house = House::new();
    let here = origin(Protocol::Webdav, "192.0.2.1");
    let first = house.show(&here, "alice", PASSWORD).await.session();
    let second = house.show(&here, "alice", PASSWORD).await.session();
    assert_eq!(first.id(), second.id(), "whole logins at once share the session too");
    let mut settings = house.settings.clone();
    settings.enforce = crate::Enforce::All;
    house.gate.reconfigure(settings, house.factors());
    assert_eq!(tokio::time::timeout(Duration::from_secs(2), first.ended()).await.unwrap(), SessionEnd::Revoked);
    assert!(house.gate.resume(&here, "alice", &shown(PASSWORD)).await.is_none());
}

#[tokio::test]
async fn an_ended_session_is_not_resumed() {
    let Repeated { house, here, line, session } = repeated(Protocol::Webdav).await;
    assert!(house.gate.end_session(session.id(), SessionEnd::Killed));
    assert!(house.gate.resume(&here, "bob", &shown(&line)).await.is_none());
}

#[tokio::test]
async fn a_killed_session_takes_the_grant_along_that_it_came_from() {
    for protocol in [Protocol::Ftp, Protocol::Ftps, Protocol::Webdav] {
        let Repeated { house, here, line, session } = repeated(protocol).await;
        let resumed = house.gate.resume(&here, "bob", &shown(&line)).await.unwrap();
        assert!(house.gate.end_session(resumed.id(), SessionEnd::Killed));
        assert!(house.gate.resume(&here, "bob", &shown(&line)).await.is_none(), "{protocol}");
        assert!(house.show(&here, "bob", &line).await.is_denied(), "and its code is used");
        drop(session);
    }
}

#[tokio::test]
async fn a_login_is_remembered_last_when_nothing_can_deny_it_any_more() {
    let house = House::new();
    house.directory.forgetful.store(true, std::sync::atomic::Ordering::SeqCst);
    let here = origin(Protocol::Webdav, "192.0.2.1");
    let login = house.show(&here, "alice", PASSWORD);
    let meanwhile = async {
        within(|| house.gate.sessions().len() == 1).await;
        house.gate.resume(&here, "alice", &shown(PASSWORD)).await
    };
    let (outcome, early) = tokio::join!(login, meanwhile);
    assert!(early.is_none(), "remembered before the login was through");
    assert!(outcome.is_granted());
    assert!(house.gate.resume(&here, "alice", &shown(PASSWORD)).await.is_some());
}

#[tokio::test]
async fn a_user_can_have_a_bounded_number_of_grants() {
    let house = House::new();
    for n in 0..80 {
        let _ = house.show(&origin(Protocol::Webdav, &format!("198.51.100.{n}")), "alice", PASSWORD).await;
        house.pass(Duration::from_millis(10));
    }
    assert_eq!(house.gate.sessions().len(), 64);
    assert!(house.gate.resume(&origin(Protocol::Webdav, "198.51.100.79"), "alice", &shown(PASSWORD)).await.is_some());
    assert!(house.gate.resume(&origin(Protocol::Webdav, "198.51.100.1"), "alice", &shown(PASSWORD)).await.is_none());
}
