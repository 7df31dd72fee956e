//! What stands against an address: every denial alike, so that counting one's own tells nothing.

use super::passwords::within;
use crate::{
    Evidence, Outcome,
    testing::{House, PASSWORD, account, origin},
};
use lockgate_events::LoginResult;
use lockgate_model::{Protocol, Secret};

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn house() -> House {
    let house = House::with(|settings| settings.brute_force.failures_per_address = 1000);
    house.add_enrolled("bob");
    house.add_reachable("carol");
    let mut disabled = account("disabled");
    disabled.enabled = false;
    house.add(disabled);
    house
}

#[tokio::test]
async fn every_guess_counts_once_against_its_address_and_a_code_on_its_way_does_not() {
    let house = house();
    let right: u64 = house.totp.code(0).parse().unwrap();
    let wrong = format!("{PASSWORD}:{:06}", (right + 500) % 1_000_000);
    let cases = [
        ("alice", "wrong", "wrong_password"),
        ("nobody", PASSWORD, "unknown_user"),
        ("\0", PASSWORD, "impossible_name"),
        ("disabled", PASSWORD, "account_disabled"),
        ("bob", wrong.as_str(), "wrong_code"),
    ];
    // A code was sent, and within half a minute the same again goes on with it.
    for name in ["bob", "carol", "carol"] {
        assert!(house.log_in(Protocol::Ftp, name, PASSWORD).await.is_denied());
        assert_eq!((house.reason(), house.failures("192.0.2.1").await), ("code_missing", 0));
    }
    for (n, (name, password, reason)) in (1..).zip(cases) {
        assert!(house.log_in(Protocol::Ftp, name, password).await.is_denied());
        assert_eq!(house.reason(), reason);
        assert_eq!(house.failures("192.0.2.1").await, n, "{reason}");
    }
    let mut connection = origin(Protocol::Ftp, "192.0.2.2");
    connection.peer.set_port(1024);
    for n in 1..=5 {
        assert!(house.show(&connection, "bob", &wrong).await.is_denied());
        assert_eq!(house.failures("192.0.2.2").await, n);
    }
    assert_eq!(house.reason(), "connection_spent");
    for n in 1..=12 {
        assert!(house.show(&origin(Protocol::Ftp, "192.0.2.3"), "alice", "wrong").await.is_denied());
        assert_eq!(house.failures("192.0.2.3").await, n);
    }
    assert!(house.show(&origin(Protocol::Ftp, "192.0.2.3"), "alice", PASSWORD).await.is_denied());
    assert_eq!((house.reason(), house.failures("192.0.2.3").await), ("passwords_paused", 13));
    for _ in 0..10 {
        let _ = house.show(&origin(Protocol::Ftp, "192.0.2.4"), "bob", &wrong).await;
    }
    assert_eq!((house.reason(), house.failures("192.0.2.4").await), ("codes_paused", 10));
}

#[tokio::test]
async fn a_success_counts_nothing() {
    let house = house();
    for protocol in Protocol::ALL {
        assert!(house.log_in(protocol, "alice", PASSWORD).await.is_granted());
    }
    let here = origin(Protocol::Sftp, "192.0.2.1");
    let asked = house.gate.knock(here.clone(), "bob").submit_veiled(Evidence::Password(secret(PASSWORD))).await;
    assert!(asked.question().answer(&here, secret(&house.totp.code(0))).await.is_granted());
    assert_eq!(house.failures("192.0.2.1").await, 0);
}

#[tokio::test]
async fn behind_a_veil_answers_count_alike_and_so_does_a_question_that_is_given_up() {
    let house = house();
    for (n, (name, password)) in
        [("bob", PASSWORD), ("bob", "wrong"), ("nobody", PASSWORD), ("disabled", PASSWORD)].into_iter().enumerate()
    {
        let address = format!("192.0.2.{}", n + 1);
        let here = origin(Protocol::Sftp, &address);
        let ask = async || {
            let attempt = house.gate.knock(here.clone(), name);
            attempt.submit_veiled(Evidence::Password(secret(password))).await.question()
        };
        let mut question = ask().await;
        assert_eq!(house.failures(&address).await, 0);
        for answers in 1..=2 {
            question = question.answer(&here, secret("no code")).await.question();
            assert_eq!(house.failures(&address).await, answers, "{name}");
        }
        assert!(question.answer(&here, secret("no code")).await.is_denied());
        assert_eq!(house.failures(&address).await, 3, "{name}");
        drop(ask().await);
        let began = std::time::Instant::now();
        while house.failures(&address).await < 4 {
            assert!(began.elapsed().as_secs() < 5, "{name}: given up and not counted");
            tokio::task::yield_now().await;
        }
        // An answered question that is left after a wrong answer counts no more.
        drop(ask().await.answer(&here, secret("no code")).await);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(house.failures(&address).await, 5, "{name}");
    }
}

#[tokio::test]
async fn logins_that_are_turned_away_count_for_the_address_and_are_recorded_by_their_number() {
    let house = House::with(|settings| settings.logins_per_address = 2);
    let names: Vec<String> = (0..40).map(|n| format!("nobody{n}")).collect();
    let tries = names.iter().map(|name| house.log_in(Protocol::Ftp, name, "wrong"));
    let outcomes = futures_util::future::join_all(tries).await;
    let busy = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Denied(denied) if denied.busy)).count();
    assert_eq!(busy, 38);
    assert_eq!(house.failures("192.0.2.1").await, 40);
    let said = house.said();
    assert_eq!(said.iter().filter(|said| said.reason == "too_many_logins_under_way").count(), 1);
    assert!(said.iter().all(|said| said.result == LoginResult::Denied));
    house.pass(std::time::Duration::from_secs(60));
    within(|| house.everything_said().contains("TurnedAway { address: 192.0.2.1, count: 37 }")).await;
    let tries = names.iter().map(|name| house.log_in(Protocol::Ftp, name, "wrong"));
    let _ = futures_util::future::join_all(tries).await;
    assert!(house.addresses.is_banned("192.0.2.1".parse().unwrap()), "a flood is shut out");
}
