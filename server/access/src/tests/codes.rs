//! Codes of an authenticator, and recovery codes: used once, guessed seldom.

use super::passwords::within;
use crate::{
    Because, Evidence, Outcome,
    testing::{House, PASSWORD, account, origin},
};
use lockgate_model::{Origin, Protocol, Secret, UserName};
use std::time::Duration;

const CODE_DOORS: [Protocol; 4] = [Protocol::Ftp, Protocol::Ftps, Protocol::Sftp, Protocol::Webdav];

fn house() -> House {
    let house = House::new();
    house.add_enrolled("bob");
    house
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn compound(code: &str) -> String {
    format!("{PASSWORD}:{code}")
}

/// A wrong code that has the shape of one.
fn wrong(house: &House) -> String {
    let right: u64 = house.totp.code(0).parse().unwrap();
    format!("{:06}", (right + 500) % 1_000_000)
}

#[tokio::test]
async fn a_password_alone_opens_no_door_where_a_factor_is_due() {
    let house = house();
    for protocol in Protocol::ALL {
        assert!(!house.log_in(protocol, "bob", PASSWORD).await.is_granted(), "{protocol}");
    }
}

#[tokio::test]
async fn password_and_code_in_one_string_open_every_door() {
    let house = house();
    for protocol in Protocol::ALL {
        let session = house.log_in(protocol, "bob", &compound(&house.totp.code(0))).await.session();
        assert_eq!(session.factor(), Some("totp"), "{protocol}");
        assert_eq!(house.reason(), "both_factors_right");
        house.pass(Duration::from_secs(30));
    }
}

#[tokio::test]
async fn a_code_that_came_apart_is_the_same() {
    let house = house();
    let evidence = Evidence::Compound(secret(PASSWORD), secret(&house.totp.code(0)));
    assert!(house.gate.knock(origin(Protocol::Sftp, "192.0.2.1"), "bob").submit(evidence).await.is_granted());
}

#[tokio::test]
async fn a_password_that_looks_like_password_and_code_is_a_password() {
    let house = House::new();
    let own = "pass:word:123456";
    let phc = lockgate_users::password::hash(&secret(own)).unwrap();
    house.directory.put(lockgate_users::Account { password: Some(phc), ..account("carol") });
    house.directory.change("carol", |carol| {
        carol.enrolments.insert("totp".into(), vec![1].into());
    });
    assert!(matches!(house.log_in(Protocol::Sftp, "carol", own).await, Outcome::Challenge(_)));
    assert!(house.log_in(Protocol::Ftp, "carol", &format!("{own}:{}", house.totp.code(0))).await.is_granted());
}

#[tokio::test]
async fn a_used_code_is_refused_on_every_door_and_after_a_restart() {
    let house = house();
    let line = compound(&house.totp.code(0));
    assert!(house.log_in(Protocol::Ftp, "bob", &line).await.is_granted());
    for protocol in Protocol::ALL {
        assert!(house.show(&origin(protocol, "192.0.2.2"), "bob", &line).await.is_denied(), "{protocol}");
        assert_eq!(house.reason(), "code_replayed");
    }
    let house = house.restarted();
    assert!(house.log_in(Protocol::Ftp, "bob", &line).await.is_denied());
}

#[tokio::test]
async fn an_older_code_is_refused_once_a_newer_one_was_used() {
    let house = house();
    let (older, newer) = (house.totp.code(1), house.totp.code(0));
    assert!(house.log_in(Protocol::Sftp, "bob", &compound(&newer)).await.is_granted());
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&older)).await.is_denied());
    assert_eq!(house.reason(), "code_replayed");
}

#[tokio::test]
async fn after_the_clock_was_set_back_no_step_before_the_last_used_one_opens() {
    let house = house();
    assert!(house.log_in(Protocol::Sftp, "bob", &compound(&house.totp.code(0))).await.is_granted());
    house.set_back(Duration::from_secs(3600));
    for protocol in CODE_DOORS {
        assert!(house.log_in(protocol, "bob", &compound(&house.totp.code(0))).await.is_denied());
        assert_eq!(house.reason(), "code_replayed");
    }
    house.pass(Duration::from_secs(3630));
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house.totp.code(0))).await.is_granted());
    house.set_back(Duration::from_secs(600));
    house.add_enrolled("carol");
    assert!(house.log_in(Protocol::Ftp, "carol", &compound(&house.totp.code(0))).await.is_granted(), "nobody else's");
}

#[tokio::test]
async fn the_code_before_the_last_is_good_where_the_last_was_not_used() {
    let house = house();
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house.totp.code(1))).await.is_granted());
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house.totp.code(0))).await.is_granted());
}

#[tokio::test]
async fn the_codes_of_a_fresh_enrolment_are_not_those_of_the_old_one() {
    let house = house();
    let line = compound(&house.totp.code(0));
    assert!(house.log_in(Protocol::Ftp, "bob", &line).await.is_granted());
    house.directory.change("bob", |bob| {
        bob.enrolments.insert("totp".into(), vec![8].into());
    });
    assert!(house.log_in(Protocol::Ftp, "bob", &line).await.is_granted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_code_shown_many_times_at_once_opens_exactly_one_session() {
    for round in 0..3_u8 {
        let house = house();
        let line = compound(&house.totp.code(0));
        let tries = (0..200_u8).map(|n| {
            let protocol = CODE_DOORS[usize::from(n) % CODE_DOORS.len()];
            let from: Origin = origin(protocol, &format!("198.51.{round}.{n}"));
            let (house, line) = (&house, &line);
            async move { house.show(&from, "bob", line).await }
        });
        let outcomes = futures_util::future::join_all(tries).await;
        let granted = outcomes.iter().filter(|outcome| outcome.is_granted()).count();
        assert_eq!(granted, 1, "round {round}");
        assert_eq!(house.gate.sessions().len(), 1);
    }
}

#[tokio::test]
async fn a_wrong_password_uses_no_code_and_tells_nothing_about_it() {
    let house = house();
    let code = house.totp.code(0);
    assert!(house.log_in(Protocol::Ftp, "bob", &format!("wrong:{code}")).await.is_denied());
    assert_eq!(house.reason(), "wrong_password");
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&code)).await.is_granted());
}

#[tokio::test]
async fn a_right_password_with_a_wrong_code_is_denied_like_a_wrong_password() {
    let house = house();
    for protocol in CODE_DOORS {
        assert!(house.log_in(protocol, "bob", &compound(&wrong(&house))).await.is_denied());
        assert_eq!(house.reason(), "wrong_code");
        assert!(house.log_in(protocol, "bob", &format!("wrong:{}", wrong(&house))).await.is_denied());
    }
}

#[tokio::test]
async fn a_question_is_answered_by_the_client_it_was_put_to() {
    let house = house();
    let here = origin(Protocol::Sftp, "192.0.2.1");
    let challenge = house.asked(&here, "bob").await;
    assert_eq!(challenge.because(), Because::NextFactor);
    assert_eq!(challenge.channel().as_str(), "totp");
    let session = challenge.answer(&here, secret(&house.totp.code(0))).await.session();
    assert_eq!(session.factor(), Some("totp"));

    house.pass(Duration::from_secs(60));
    let foreign = house.asked(&here, "bob").await;
    let there = origin(Protocol::Sftp, "192.0.2.2");
    assert!(foreign.answer(&there, secret(&house.totp.code(0))).await.is_denied());
    assert_eq!(house.reason(), "challenge_of_another_client");
    assert!(
        house.log_in(Protocol::Ftp, "bob", &compound(&house.totp.code(0))).await.is_granted(),
        "nothing was consumed"
    );
}

#[tokio::test]
async fn three_wrong_answers_end_a_question() {
    let house = house();
    let here = origin(Protocol::Https, "192.0.2.1");
    let first = house.asked(&here, "bob").await;
    let id = first.id().clone();
    let second = first.answer(&here, secret(&wrong(&house))).await.question();
    assert_eq!((second.because(), second.id()), (Because::TryAgain, &id));
    let third = second.answer(&here, secret("no code at all")).await.question();
    assert!(third.answer(&here, secret("")).await.is_denied());
}

#[tokio::test]
async fn a_question_ends_with_its_time_and_with_the_account_it_was_put_for() {
    let house = house();
    let here = origin(Protocol::Sftp, "192.0.2.1");
    let late = house.asked(&here, "bob").await;
    house.pass(Duration::from_secs(301));
    assert!(late.answer(&here, secret(&house.totp.code(0))).await.is_denied());
    assert_eq!(house.reason(), "challenge_expired");

    let changed = house.asked(&here, "bob").await;
    house.directory.change("bob", |bob| bob.phone = Some("+491".into()));
    assert!(changed.answer(&here, secret(&house.totp.code(0))).await.is_denied());
    assert_eq!(house.reason(), "account_changed");
}

#[tokio::test]
async fn ten_wrong_codes_over_all_doors_and_addresses_bring_a_pause() {
    let house = house();
    for n in 0..10 {
        let from = origin(CODE_DOORS[n % 4], &format!("198.51.100.{n}"));
        assert!(house.show(&from, "bob", &compound(&wrong(&house))).await.is_denied());
        // A right password in between resets nothing.
        let _ = house.show(&from, "bob", PASSWORD).await;
    }
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house.totp.code(0))).await.is_denied());
    assert_eq!(house.reason(), "codes_paused");
    let here = origin(Protocol::Sftp, "192.0.2.1");
    let again = house.asked(&here, "bob").await.answer(&here, secret(&house.totp.code(0))).await.question();
    assert_eq!(again.because(), Because::TryAgain, "a pause looks like a wrong code");
    let house = house.restarted();
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house.totp.code(0))).await.is_denied());
    house.pass(Duration::from_secs(31));
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house.totp.code(0))).await.is_granted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_codes_guessed_at_once_get_ten_looks() {
    let house = House::with(|settings| settings.brute_force.failures_per_address = 0);
    house.add_enrolled("bob");
    let line = compound(&wrong(&house));
    let tries = (0..60).map(|n| {
        let (house, line) = (&house, &line);
        async move { house.show(&origin(Protocol::Ftp, &format!("198.51.100.{n}")), "bob", line).await }
    });
    let _ = futures_util::future::join_all(tries).await;
    let looked = house.said().iter().filter(|said| said.reason == "wrong_code").count();
    assert_eq!(looked, 10);
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house.totp.code(0))).await.is_denied());
}

#[tokio::test]
async fn strangers_without_the_password_cannot_pause_codes() {
    let house = house();
    for n in 0..20 {
        let line = format!("wrong:{}", wrong(&house));
        let _ = house.show(&origin(Protocol::Ftp, &format!("198.51.100.{n}")), "bob", &line).await;
    }
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house.totp.code(0))).await.is_granted());
}

#[tokio::test]
async fn too_many_wrong_codes_freeze_the_factor_until_a_recovery_code_comes() {
    let house = House::with(|settings| {
        settings.brute_force.codes_until_frozen = 12;
        settings.brute_force.failures_per_address = 0;
    });
    house.add_enrolled("bob");
    let recovery = house.recovery_code("bob").await;
    for _ in 0..12 {
        let _ = house.log_in(Protocol::Ftp, "bob", &compound(&wrong(&house))).await;
        house.pass(Duration::from_secs(901));
    }
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house.totp.code(0))).await.is_denied());
    assert_eq!(house.reason(), "factor_frozen");
    house.pass(Duration::from_secs(901));
    let session = house.log_in(Protocol::Ftp, "bob", &compound(&recovery)).await.session();
    assert_eq!(session.factor(), Some("recovery"));
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house.totp.code(0))).await.is_granted());
}

#[tokio::test]
async fn an_administrator_thaws_a_frozen_factor() {
    let house = House::with(|settings| settings.brute_force.codes_until_frozen = 10);
    house.add_enrolled("bob");
    for _ in 0..10 {
        let _ = house.log_in(Protocol::Ftp, "bob", &compound(&wrong(&house))).await;
    }
    house.pass(Duration::from_secs(3600));
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house.totp.code(0))).await.is_denied());
    crate::unlock(&house.ledger.inner, &house.key, &UserName::new("bob").unwrap()).await.unwrap();
    assert!(house.log_in(Protocol::Ftp, "bob", &compound(&house.totp.code(0))).await.is_granted());
}

#[tokio::test]
async fn a_recovery_code_answers_once_whatever_is_asked() {
    let house = house();
    let recovery = house.recovery_code("bob").await;
    let here = origin(Protocol::Sftp, "192.0.2.1");
    let challenge = house.asked(&here, "bob").await;
    let session = challenge.answer(&here, secret(&recovery.to_uppercase())).await.session();
    assert_eq!(session.factor(), Some("recovery"));
    let again = house.asked(&here, "bob").await;
    assert!(matches!(again.answer(&here, secret(&recovery)).await, Outcome::Challenge(_)));
    assert_eq!(house.reason(), "wrong_code");
}

#[tokio::test]
async fn a_connection_that_cannot_be_asked_has_three_wrong_codes() {
    let house = house();
    let mut connection = origin(Protocol::Ftp, "192.0.2.1");
    connection.peer.set_port(1024);
    for _ in 0..3 {
        assert!(house.show(&connection, "bob", &compound(&wrong(&house))).await.is_denied());
    }
    assert!(house.show(&connection, "bob", &compound(&house.totp.code(0))).await.is_denied());
    assert_eq!(house.reason(), "connection_spent");
    connection.peer.set_port(1025);
    assert!(house.show(&connection, "bob", &compound(&house.totp.code(0))).await.is_granted());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_lines_of_one_connection_at_once_get_three_looks() {
    let house = house();
    let mut connection = origin(Protocol::Ftp, "192.0.2.1");
    connection.peer.set_port(1024);
    let line = compound(&wrong(&house));
    let _ = futures_util::future::join_all((0..20).map(|_| house.show(&connection, "bob", &line))).await;
    let count = |reason: &str| house.said().iter().filter(|said| said.reason == reason).count();
    assert_eq!((count("wrong_code"), count("connection_spent")), (3, 17));
}

#[tokio::test]
async fn behind_a_veil_a_wrong_password_is_asked_for_a_code_like_a_right_one() {
    let house = house();
    let here = origin(Protocol::Sftp, "192.0.2.1");
    for (name, password, reason) in
        [("nobody", PASSWORD, "unknown_user"), ("bob", "wrong", "wrong_password"), ("bob", PASSWORD, "factor_due")]
    {
        let attempt = house.gate.knock(here.clone(), name);
        let challenge = attempt.submit_veiled(Evidence::Password(secret(password))).await.question();
        assert_eq!(challenge.because(), Because::NextFactor);
        assert_eq!(house.reason(), reason);
        let code = if password == PASSWORD && name == "bob" { wrong(&house) } else { house.totp.code(0) };
        let again = challenge.answer(&here, secret(&code)).await.question();
        assert_eq!(again.because(), Because::TryAgain);
    }
    let compounds = [compound(&wrong(&house)), format!("wrong:{}", house.totp.code(0))];
    for line in compounds {
        let attempt = house.gate.knock(here.clone(), "bob");
        assert!(matches!(attempt.submit_veiled(Evidence::Password(secret(&line))).await, Outcome::Challenge(_)));
    }
    let right =
        house.gate.knock(here.clone(), "bob").submit_veiled(Evidence::Password(secret(PASSWORD))).await.question();
    assert!(right.answer(&here, secret(&house.totp.code(0))).await.is_granted());
}

#[tokio::test]
async fn behind_a_veil_a_failing_factor_does_not_show_that_the_password_was_right() {
    let house = house();
    *house.totp.mood.lock().unwrap() = crate::testing::Mood::Failing;
    let here = origin(Protocol::Sftp, "192.0.2.1");
    for password in ["wrong", PASSWORD] {
        let attempt = house.gate.knock(here.clone(), "bob");
        let challenge = attempt.submit_veiled(Evidence::Password(secret(password))).await.question();
        let again = challenge.answer(&here, secret(&house.totp.code(0))).await.question();
        assert_eq!(again.because(), Because::TryAgain);
    }
}

#[tokio::test]
async fn no_veil_is_drawn_where_nobody_can_be_asked() {
    let house = House::new();
    let here = origin(Protocol::Sftp, "192.0.2.1");
    within(|| !house.gate.may_ask(Protocol::Sftp)).await;
    let attempt = house.gate.knock(here, "alice");
    assert!(attempt.submit_veiled(Evidence::Password(secret("wrong"))).await.is_denied());
}
