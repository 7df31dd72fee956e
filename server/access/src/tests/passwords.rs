//! The first factor, the account, and what counts against a guesser.

use crate::{
    Evidence, Outcome, SessionEnd, bans,
    candidate::{ANSWER_FLOOR, user_key},
    testing::{House, PASSWORD, account, origin},
};
use lockgate_events::LoginResult;
use lockgate_model::{Conversation, Protocol, ProtocolSet, Secret};
use lockgate_users::{Account, AuthorizedKey};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_right_password_opens_every_door_where_no_factor_is_due() {
    let house = House::new();
    for protocol in Protocol::ALL {
        let session = house.log_in(protocol, "alice", PASSWORD).await.session();
        assert_eq!(session.user().as_str(), "alice");
        assert_eq!(session.origin().protocol, protocol);
        assert_eq!(session.factor(), None);
    }
    assert!(house.said().iter().all(|said| said.result == LoginResult::Granted && said.reason == "factor_not_due"));
}

#[tokio::test]
async fn whatever_is_wrong_the_answer_is_the_same_and_only_the_record_knows() {
    let house = House::new();
    let add = |name: &str, change: fn(&mut Account)| {
        let mut account = account(name);
        change(&mut account);
        house.add(account);
    };
    add("disabled", |a| a.enabled = false);
    add("expired", |a| a.expires = Some(1));
    add("elsewhere", |a| a.ip_restrictions = vec!["198.51.100.0/24".parse().unwrap()]);
    add("webonly", |a| a.allowed_protocols = [Protocol::Https].into_iter().collect());
    house.directory.put(account("passwordless"));
    let long = "x".repeat(2000);
    let cases = [
        ("nobody", PASSWORD, "unknown_user"),
        ("alice", "wrong", "wrong_password"),
        ("alice", "", "wrong_password"),
        ("alice", long.as_str(), "password_too_long"),
        ("passwordless", PASSWORD, "no_password_set"),
        ("Alice", PASSWORD, "unknown_user"),
        ("alice\u{200b}", PASSWORD, "impossible_name"),
        ("alice\0", PASSWORD, "impossible_name"),
        ("", PASSWORD, "impossible_name"),
        ("disabled", PASSWORD, "account_disabled"),
        ("expired", PASSWORD, "account_expired"),
        ("elsewhere", PASSWORD, "address_not_allowed"),
        ("webonly", PASSWORD, "protocol_not_allowed"),
    ];
    for protocol in [Protocol::Ftp, Protocol::Sftp] {
        for (name, password, reason) in cases {
            let before = house.said().len();
            let began = Instant::now();
            let outcome = house.log_in(protocol, name, password).await;
            assert!(outcome.is_denied(), "{name:?}: {outcome:?}");
            assert!(began.elapsed() >= ANSWER_FLOOR, "{name:?} was denied early");
            let said = house.said();
            assert_eq!(said.len(), before + 1, "{name:?}: one record for each outcome");
            assert_eq!(said[before].reason, reason, "{name:?}");
        }
    }
}

#[tokio::test]
async fn two_spellings_of_one_name_open_one_account() {
    let house = House::new();
    house.add(account("Jos\u{e9}"));
    let session = house.log_in(Protocol::Sftp, "Jose\u{301}", PASSWORD).await.session();
    assert_eq!(session.user().as_str(), "Jos\u{e9}");
}

#[tokio::test]
async fn ten_wrong_passwords_bring_a_pause_in_which_the_right_one_is_denied_too() {
    let house = House::new();
    for n in 0..10 {
        let protocol = Protocol::ALL[n % 6];
        assert!(house.log_in(protocol, "alice", "wrong").await.is_denied());
    }
    assert!(house.log_in(Protocol::Sftp, "alice", PASSWORD).await.is_denied());
    assert_eq!(house.reason(), "passwords_paused");
    house.pass(Duration::from_secs(29));
    assert!(house.log_in(Protocol::Sftp, "alice", PASSWORD).await.is_denied());
    house.pass(Duration::from_secs(2));
    assert!(house.log_in(Protocol::Sftp, "alice", PASSWORD).await.is_granted());
    // The row is broken: one wrong password is one again.
    assert!(house.log_in(Protocol::Sftp, "alice", "wrong").await.is_denied());
    assert!(house.log_in(Protocol::Sftp, "alice", PASSWORD).await.is_granted());
}

#[tokio::test]
async fn pauses_double_and_outlive_a_restart() {
    let house = House::new();
    for _ in 0..10 {
        let _ = house.log_in(Protocol::Ftp, "alice", "wrong").await;
    }
    house.pass(Duration::from_secs(31));
    let _ = house.log_in(Protocol::Ftp, "alice", "wrong").await;
    house.pass(Duration::from_secs(31));
    let house = house.restarted();
    assert!(house.log_in(Protocol::Ftp, "alice", PASSWORD).await.is_denied());
    assert_eq!(house.reason(), "passwords_paused");
    house.pass(Duration::from_secs(30));
    assert!(house.log_in(Protocol::Ftp, "alice", PASSWORD).await.is_granted());
}

#[tokio::test]
async fn wrong_passwords_of_one_address_pause_no_other_address() {
    let house = House::new();
    for _ in 0..12 {
        let _ = house.show(&origin(Protocol::Ftp, "198.51.100.1"), "alice", "wrong").await;
    }
    assert!(house.show(&origin(Protocol::Ftp, "198.51.100.2"), "alice", PASSWORD).await.is_granted());
}

#[tokio::test]
async fn addresses_of_one_ipv6_network_share_a_count() {
    let house = House::new();
    for n in 0..10 {
        let _ = house.show(&origin(Protocol::Ftp, &format!("2001:db8:1:2::{n}")), "alice", "wrong").await;
    }
    assert!(house.show(&origin(Protocol::Ftp, "2001:db8:1:2:ffff::1"), "alice", PASSWORD).await.is_denied());
    assert!(house.show(&origin(Protocol::Ftp, "2001:db8:1:3::1"), "alice", PASSWORD).await.is_granted());
}

#[tokio::test]
async fn strangers_from_everywhere_do_not_lock_a_user_out_where_they_have_been_before() {
    let house = House::with(|settings| settings.brute_force.passwords_per_account = 3);
    let home = origin(Protocol::Sftp, "192.0.2.1");
    assert!(house.show(&home, "alice", PASSWORD).await.is_granted());
    for n in 0..30 {
        let _ = house.show(&origin(Protocol::Sftp, &format!("198.51.100.{n}")), "alice", "wrong").await;
    }
    let cafe = origin(Protocol::Sftp, "203.0.113.1");
    assert!(house.show(&cafe, "alice", PASSWORD).await.is_denied());
    assert_eq!(house.reason(), "passwords_paused");
    assert!(house.show(&home, "alice", PASSWORD).await.is_granted());
    house.pass(Duration::from_secs(901));
    assert!(house.show(&cafe, "alice", PASSWORD).await.is_granted());
}

#[tokio::test]
async fn unknown_names_run_through_the_same_counters() {
    let house = House::new();
    for _ in 0..10 {
        let _ = house.log_in(Protocol::Ftp, "nobody", "wrong").await;
    }
    house.add(account("nobody"));
    assert!(house.log_in(Protocol::Ftp, "nobody", PASSWORD).await.is_denied());
    assert_eq!(house.reason(), "passwords_paused");
}

#[tokio::test]
async fn many_guesses_at_once_count_as_if_made_one_by_one() {
    let house = House::with(|settings| settings.brute_force.failures_per_address = 0);
    let guesses = (0..40).map(|_| house.log_in(Protocol::Ftp, "alice", "wrong"));
    for outcome in futures_util::future::join_all(guesses).await {
        assert!(outcome.is_denied());
    }
    let user = user_key(&house.key, b"alice");
    let count = crate::Ledger::count(&house.ledger.inner, &format!("password/{user}/192.0.2.1")).await.unwrap();
    assert_eq!(count.n, 10, "guesses inside a pause are no guesses");
}

#[tokio::test]
async fn an_exempt_address_that_fails_for_many_names_is_not_shut_out() {
    let house = House::with(|settings| settings.brute_force.failures_per_address = 5);
    house.addresses.exempt(vec!["192.0.2.0/24".parse().unwrap()]);
    for n in 0..10 {
        let _ = house.log_in(Protocol::Ftp, &format!("nobody{n}"), "wrong").await;
    }
    assert!(bans::list(&house.ledger.inner).await.unwrap().is_empty());
    assert!(house.log_in(Protocol::Ftp, "alice", PASSWORD).await.is_granted());
}

#[tokio::test]
async fn an_address_that_fails_for_many_names_is_shut_out() {
    let house = House::with(|settings| settings.brute_force.failures_per_address = 20);
    for n in 0..20 {
        let _ = house.log_in(Protocol::Ftp, &format!("nobody{n}"), "wrong").await;
    }
    assert!(house.addresses.is_banned("192.0.2.1".parse().unwrap()));
    assert_eq!(bans::list(&house.ledger.inner).await.unwrap().len(), 1);
    // A banned address that still gets an answer gets the answer that everybody gets, and counts no further.
    assert!(house.log_in(Protocol::Ftp, "alice", PASSWORD).await.is_denied());
    assert_eq!(house.reason(), "banned");
    assert!(house.show(&origin(Protocol::Ftp, "192.0.2.2"), "alice", PASSWORD).await.is_granted());
}

#[tokio::test]
async fn a_ban_is_lifted_from_outside_and_survives_a_restart() {
    let house = House::new();
    let address = "192.0.2.1".parse().unwrap();
    bans::add(&house.ledger.inner, address, Duration::from_secs(600), "manual").await.unwrap();
    let house = house.restarted();
    within(|| house.addresses.is_banned(address)).await;
    bans::clear(&house.ledger.inner, address).await.unwrap();
    within(|| !house.addresses.is_banned(address)).await;
}

#[tokio::test]
async fn an_administrator_unlocks_a_user() {
    let house = House::new();
    for _ in 0..10 {
        let _ = house.log_in(Protocol::Ftp, "alice", "wrong").await;
    }
    crate::unlock(&house.ledger.inner, &house.key, &lockgate_model::UserName::new("alice").unwrap()).await.unwrap();
    assert!(house.log_in(Protocol::Ftp, "alice", PASSWORD).await.is_granted());
}

#[tokio::test]
async fn an_address_with_too_many_logins_under_way_is_told_later_whoever_it_asks_for() {
    let house = House::with(|settings| settings.logins_per_address = 2);
    let tries = (0..6).map(|n| house.log_in(Protocol::Ftp, if n % 2 == 0 { "alice" } else { "nobody" }, "wrong"));
    let outcomes = futures_util::future::join_all(tries).await;
    let busy = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Denied(denied) if denied.busy)).count();
    assert_eq!(busy, 4);
    assert!(house.log_in(Protocol::Ftp, "alice", PASSWORD).await.is_granted());
}

#[tokio::test]
async fn an_app_password_is_its_own_whole_login_on_the_protocols_it_names() {
    let house = House::new();
    house.add_enrolled("bob");
    let text = house.app_password("bob", &[Protocol::Webdav, Protocol::Ftp]).await;
    let session = house.log_in(Protocol::Webdav, "bob", &text).await.session();
    assert_eq!(session.factor(), Some("app_password"));
    assert!(house.log_in(Protocol::Ftp, "bob", &text).await.is_granted());
    assert!(house.log_in(Protocol::Sftp, "bob", &text).await.is_denied());
    assert_eq!(house.reason(), "app_password_not_for_protocol");
    assert!(house.log_in(Protocol::Webdav, "alice", &text).await.is_denied());
}

#[tokio::test]
async fn app_passwords_can_be_switched_off() {
    let house = House::with(|settings| settings.app_passwords = false);
    let text = house.app_password("alice", &[Protocol::Webdav]).await;
    assert!(house.log_in(Protocol::Webdav, "alice", &text).await.is_denied());
    assert_eq!(house.reason(), "app_passwords_off");
}

#[tokio::test]
async fn a_proven_key_is_a_first_factor_and_an_offer_is_none() {
    let house = House::new();
    let key = |blob: &[u8]| AuthorizedKey {
        fingerprint: String::new(),
        blob: blob.to_vec(),
        comment: String::new(),
        added: 0,
    };
    house.directory.change("alice", |alice| alice.keys = vec![key(b"alice's key")]);
    house.add_enrolled("bob");
    house.directory.change("bob", |bob| bob.keys = vec![key(b"bob's key")]);
    let here = origin(Protocol::Sftp, "192.0.2.1");
    let prove =
        |name: &str, blob: &[u8]| house.gate.knock(here.clone(), name).submit(Evidence::PublicKey(blob.to_vec()));

    assert!(prove("alice", b"alice's key").await.is_granted());
    assert!(matches!(prove("bob", b"bob's key").await, Outcome::Challenge(_)), "a key is not a second factor");
    assert!(prove("bob", b"alice's key").await.is_denied());
    assert!(prove("nobody", b"alice's key").await.is_denied());

    let before = house.said().len();
    assert!(house.gate.would_accept_key(&here, "bob", b"bob's key").await);
    assert!(!house.gate.would_accept_key(&here, "bob", b"alice's key").await);
    assert!(!house.gate.would_accept_key(&here, "nobody", b"alice's key").await);
    assert_eq!(house.said().len(), before, "an offer is a question, not a try");
}

#[tokio::test]
async fn an_offer_is_answered_in_the_same_time_for_known_and_unknown_names_and_not_without_end() {
    let house = House::new();
    let key = AuthorizedKey { fingerprint: String::new(), blob: b"key".to_vec(), comment: String::new(), added: 0 };
    house.directory.change("alice", |alice| alice.keys = vec![key]);
    let mut here = origin(Protocol::Sftp, "192.0.2.1");
    here.peer.set_port(1024);
    for (name, blob) in [("alice", "key"), ("alice", "other"), ("nobody", "key"), ("", "key")] {
        let began = Instant::now();
        assert_eq!(house.gate.would_accept_key(&here, name, blob.as_bytes()).await, (name, blob) == ("alice", "key"));
        assert!(began.elapsed() >= Duration::from_millis(20), "{name:?}");
    }
    for _ in 4..32 {
        assert!(house.gate.would_accept_key(&here, "alice", b"key").await);
    }
    assert!(!house.gate.would_accept_key(&here, "alice", b"key").await, "a connection has 32");
    here.peer.set_port(1025);
    assert!(house.gate.would_accept_key(&here, "alice", b"key").await);
}

#[tokio::test]
async fn a_client_certificate_opens_the_account_that_names_its_subject() {
    let house = House::new();
    house.directory.change("alice", |alice| alice.client_certificate = Some("CN=alice,O=Example".into()));
    let prove = |name: &str, subject: &str| {
        house.gate.knock(origin(Protocol::Https, "192.0.2.1"), name).submit(Evidence::ClientCertificate(subject.into()))
    };
    let here = origin(Protocol::Ftps, "192.0.2.1");
    house.add(account("bob"));
    house.add(Account { client_certificate: Some(String::new()), ..account("carol") });
    for (name, subject, opens) in [
        ("alice", "CN=alice,O=Example", true),
        ("alice", "CN=alice", false),
        ("alice", "CN=alice,O=Example,C=DE", false),
        ("alice", "cn=alice,o=example", false),
        ("alice", "", false),
        ("bob", "CN=alice,O=Example", false),
        ("bob", "", false),
        ("carol", "", false),
        ("nobody", "CN=alice,O=Example", false),
    ] {
        assert_eq!(house.gate.would_accept_certificate(&here, name, subject).await, opens, "{name} {subject}");
        assert_eq!(prove(name, subject).await.is_granted(), opens, "{name} {subject}");
    }
}

#[tokio::test]
async fn a_certificate_is_a_first_factor_and_no_second() {
    let house = House::new();
    house.add_enrolled("bob");
    house.directory.change("bob", |bob| bob.client_certificate = Some("CN=bob".into()));
    let mut here = origin(Protocol::Ftps, "192.0.2.1");
    let evidence = Evidence::ClientCertificate("CN=bob".into());
    assert!(house.gate.knock(here.clone(), "bob").submit(evidence.clone()).await.is_denied(), "nobody can be asked");
    here.conversation = Conversation::Interactive;
    let question = house.gate.knock(here.clone(), "bob").submit(evidence.clone()).await.question();
    let question = question.answer(&here, Secret::new("000000".into())).await.question();
    let session = question.answer(&here, Secret::new(house.totp.code(0))).await.session();
    assert_eq!(session.factor(), Some("totp"));
    // Taken from the account, it ends what it opened.
    house.directory.change("bob", |bob| bob.client_certificate = None);
    assert_eq!(tokio::time::timeout(Duration::from_secs(2), session.ended()).await.unwrap(), SessionEnd::Revoked);
    assert!(house.gate.knock(here, "bob").submit(evidence).await.is_denied());
}

#[tokio::test]
async fn no_record_holds_what_was_shown() {
    let house = House::new();
    house.add_enrolled("bob");
    let code = house.totp.code(0);
    let _ = house.log_in(Protocol::Ftp, "alice", "canary-password").await;
    let _ = house.log_in(Protocol::Ftp, "bob", &format!("{PASSWORD}:{code}")).await;
    let evidence = Evidence::Compound(Secret::new("canary-password".into()), Secret::new("424242".into()));
    let _ = house.gate.knock(origin(Protocol::Ftp, "192.0.2.1"), "bob").submit(evidence).await;
    let said = house.everything_said();
    for secret in ["canary", PASSWORD, code.as_str(), "424242"] {
        assert!(!said.contains(secret), "{secret} is in the records");
    }
}

#[tokio::test]
async fn a_login_that_nobody_waits_for_is_counted_and_recorded_all_the_same() {
    let house = House::new();
    let hung_up = house.log_in(Protocol::Ftp, "alice", "wrong");
    assert!(tokio::time::timeout(Duration::from_millis(1), hung_up).await.is_err());
    within(|| house.said().len() == 1).await;
    assert_eq!(house.reason(), "wrong_password");
}

#[tokio::test]
async fn a_protocol_that_no_account_may_use_opens_for_nobody() {
    let house = House::new();
    house.directory.change("alice", |alice| alice.allowed_protocols = ProtocolSet::NONE);
    for protocol in Protocol::ALL {
        assert!(house.log_in(protocol, "alice", PASSWORD).await.is_denied());
    }
}

/// Waits until it is so, at most five seconds.
pub(super) async fn within(mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(5), "it did not come to be");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
