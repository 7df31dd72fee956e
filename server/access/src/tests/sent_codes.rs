//! Codes that a channel carries: to whom, how often, for which login.

use super::passwords::within;
use crate::{
    Outcome,
    testing::{House, Mood, PASSWORD, account, origin},
};
use lockgate_model::{Protocol, Secret};
use std::time::Duration;

fn house() -> House {
    let house = House::new();
    house.add_reachable("carol");
    house
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn compound(code: &str) -> String {
    format!("{PASSWORD}:{code}")
}

#[tokio::test]
async fn a_client_that_cannot_be_asked_is_denied_gets_a_code_and_comes_back_with_it() {
    for protocol in [Protocol::Ftp, Protocol::Ftps, Protocol::Webdav] {
        let house = house();
        assert!(house.log_in(protocol, "carol", PASSWORD).await.is_denied());
        assert_eq!(house.reason(), "code_missing");
        let code = house.sms.code(1).await;
        assert_eq!(code.len(), 6);
        let session = house.log_in(protocol, "carol", &compound(&code)).await.session();
        assert_eq!(session.factor(), Some("sms"));
        assert!(house.log_in(protocol, "carol", &compound(&code)).await.is_denied(), "a code is used once");
        assert!(house.email.sent().is_empty());
    }
}

#[tokio::test]
async fn the_code_alone_is_never_enough_and_elsewhere_it_is_worth_nothing() {
    let house = house();
    let _ = house.log_in(Protocol::Ftp, "carol", PASSWORD).await;
    let code = house.sms.code(1).await;
    assert!(house.log_in(Protocol::Ftp, "carol", &code).await.is_denied());
    assert!(house.log_in(Protocol::Ftp, "carol", &format!("wrong:{code}")).await.is_denied());
    house.add_reachable("dave");
    assert!(house.log_in(Protocol::Ftp, "dave", &compound(&code)).await.is_denied());
    assert!(house.show(&origin(Protocol::Ftp, "192.0.2.9"), "carol", &compound(&code)).await.is_denied());
    assert!(house.log_in(Protocol::Webdav, "carol", &compound(&code)).await.is_denied());
    let here = origin(Protocol::Ftp, "192.0.2.1");
    assert!(house.show(&here, "carol", &compound(&code)).await.is_granted(), "all of that consumed nothing");
}

#[tokio::test]
async fn nothing_is_sent_for_wrong_passwords_unknown_users_and_closed_accounts() {
    let house = house();
    let mut closed = account("erin");
    closed.otp_auth = true;
    closed.phone = Some("+4999".into());
    closed.enabled = false;
    house.add(closed);
    for protocol in Protocol::ALL {
        let _ = house.log_in(protocol, "carol", "wrong").await;
        let _ = house.log_in(protocol, "nobody", PASSWORD).await;
        let _ = house.log_in(protocol, "erin", PASSWORD).await;
    }
    let _ = house.log_in(Protocol::Ftp, "carol", PASSWORD).await;
    house.sms.code(1).await;
    assert_eq!(house.sms.sent().len(), 1);
    assert_eq!(house.sms.sent()[0].0, "carol");
}

#[tokio::test]
async fn a_retry_within_half_a_minute_goes_on_with_the_code_and_a_later_one_gets_a_fresh_one() {
    let house = house();
    let _ = house.log_in(Protocol::Ftp, "carol", PASSWORD).await;
    let first = house.sms.code(1).await;
    house.pass(Duration::from_secs(29));
    let _ = house.log_in(Protocol::Ftp, "carol", PASSWORD).await;
    let _ = house.log_in(Protocol::Ftp, "carol", PASSWORD).await;
    house.pass(Duration::from_secs(2));
    let _ = house.log_in(Protocol::Ftp, "carol", PASSWORD).await;
    let second = house.sms.code(2).await;
    assert_ne!(first, second);
    assert!(house.log_in(Protocol::Ftp, "carol", &compound(&first)).await.is_denied(), "the older code is void");
    assert!(house.log_in(Protocol::Ftp, "carol", &compound(&second)).await.is_granted());
    assert_eq!(house.sms.sent().len(), 2);
}

#[tokio::test]
async fn a_new_question_within_half_a_minute_takes_the_live_code_over() {
    let house = house();
    let here = origin(Protocol::Https, "192.0.2.1");
    let first = house.asked(&here, "carol").await;
    let second = house.asked(&here, "carol").await;
    let code = house.sms.code(1).await;
    assert!(
        matches!(first.answer(&here, secret(&code)).await, Outcome::Challenge(_)),
        "it belongs to the newer question"
    );
    assert!(second.answer(&here, secret(&code)).await.is_granted());
    assert_eq!(house.sms.sent().len(), 1);
}

#[tokio::test]
async fn the_code_of_one_question_never_answers_another() {
    let house = house();
    let here = origin(Protocol::Https, "192.0.2.1");
    let first = house.asked(&here, "carol").await;
    let old = house.sms.code(1).await;
    house.pass(Duration::from_secs(31));
    let second = house.asked(&here, "carol").await;
    let new = house.sms.code(2).await;
    let first = first.answer(&here, secret(&new)).await.question();
    assert!(matches!(first.answer(&here, secret(&old)).await, Outcome::Challenge(_)));
    let second = second.answer(&here, secret(&old)).await.question();
    assert!(second.answer(&here, secret(&new)).await.is_granted());
}

#[tokio::test]
async fn three_wrong_answers_void_the_code() {
    let house = house();
    let _ = house.log_in(Protocol::Ftp, "carol", PASSWORD).await;
    let code = house.sms.code(1).await;
    let wrong = if code == "000000" { "111111" } else { "000000" };
    for _ in 0..3 {
        assert!(house.log_in(Protocol::Ftp, "carol", &compound(wrong)).await.is_denied());
    }
    assert!(house.log_in(Protocol::Ftp, "carol", &compound(&code)).await.is_denied());
    assert_eq!(house.reason(), "no_live_code");
}

#[tokio::test]
async fn a_code_dies_with_its_time() {
    let house = house();
    let _ = house.log_in(Protocol::Ftp, "carol", PASSWORD).await;
    let code = house.sms.code(1).await;
    house.pass(Duration::from_secs(301));
    assert!(house.log_in(Protocol::Ftp, "carol", &compound(&code)).await.is_denied());
    assert_eq!(house.reason(), "no_live_code");
}

#[tokio::test]
async fn a_life_of_the_users_own_is_honoured_and_never_over_ten_minutes() {
    let house = house();
    house.directory.change("carol", |carol| carol.otp_token_timeout_ms = Some(3_600_000));
    let here = origin(Protocol::Https, "192.0.2.1");
    assert!(house.asked(&here, "carol").await.expires_in() <= Duration::from_secs(600));
    house.pass(Duration::from_secs(31));
    house.directory.change("carol", |carol| carol.otp_token_timeout_ms = Some(60_000));
    assert!(house.asked(&here, "carol").await.expires_in() <= Duration::from_secs(60));
}

#[tokio::test]
async fn a_code_and_its_count_survive_a_restart() {
    let house = house();
    let _ = house.log_in(Protocol::Ftp, "carol", PASSWORD).await;
    let code = house.sms.code(1).await;
    let house = house.restarted();
    assert!(house.log_in(Protocol::Ftp, "carol", &compound(&code)).await.is_granted());
}

#[tokio::test]
async fn a_sent_code_dies_with_a_change_of_its_account_and_of_where_it_went() {
    type Change = fn(&mut lockgate_users::Account);
    let changes: [Change; 3] =
        [|a| a.phone = Some("+4999".into()), |a| a.password = a.password.clone(), |a| a.max_logins = Some(7)];
    for change in changes {
        let house = house();
        let _ = house.log_in(Protocol::Ftp, "carol", PASSWORD).await;
        let code = house.sms.code(1).await;
        house.directory.change("carol", change);
        assert!(house.log_in(Protocol::Ftp, "carol", &compound(&code)).await.is_denied());
        assert_eq!(house.reason(), "no_live_code");
        // Nor does a question within half a minute go on with it.
        let here = origin(Protocol::Ftp, "192.0.2.1");
        assert!(house.show(&here, "carol", PASSWORD).await.is_denied());
        within(|| house.everything_said().contains("limited") || house.sms.sent().len() == 2).await;
        assert!(house.log_in(Protocol::Ftp, "carol", &compound(&code)).await.is_denied());
    }
    // Where it went counts by itself too: a store that keeps the epoch does not keep the code.
    let house = house();
    let _ = house.log_in(Protocol::Ftp, "carol", PASSWORD).await;
    let code = house.sms.code(1).await;
    let name = lockgate_model::UserName::new("carol").unwrap();
    let mut carol = lockgate_users::Directory::find(&*house.directory, &name).await.unwrap().unwrap();
    carol.phone = Some("+4998".into());
    house.directory.put(carol);
    assert!(house.log_in(Protocol::Ftp, "carol", &compound(&code)).await.is_denied());
    assert_eq!(house.reason(), "no_live_code");
}

#[tokio::test]
async fn a_phone_is_one_destination_whatever_the_channel_and_the_spelling() {
    let house = House::with(|settings| settings.channels.insert(0, crate::ChannelName::new("voice").unwrap()));
    let voice = std::sync::Arc::new(crate::testing::Messenger::new("voice"));
    let mut factors = house.factors();
    factors.push(std::sync::Arc::clone(&voice) as _);
    house.gate.reconfigure(house.settings.clone(), factors);
    for (name, phone) in [("carol", "+49 151 1"), ("caren", "+49-1511")] {
        house.add_reachable(name);
        house.directory.change(name, |account| {
            account.phone = Some(phone.into());
            account.email = None;
        });
    }
    assert!(matches!(house.log_in(Protocol::Sftp, "carol", PASSWORD).await, Outcome::Challenge(_)));
    assert!(house.log_in(Protocol::Sftp, "caren", PASSWORD).await.is_denied());
    assert_eq!(house.reason(), "send_limited");
    assert_eq!(voice.sent().len() + house.sms.sent().len(), 1);
}

#[tokio::test]
async fn a_factor_that_calls_people_is_held_to_the_limits_of_messages() {
    let house = House::new();
    let push = std::sync::Arc::new(crate::testing::Authenticator::new("push", house.clock()));
    push.calls.store(true, std::sync::atomic::Ordering::SeqCst);
    let mut settings = house.settings.clone();
    settings.channels = vec![crate::ChannelName::new("push").unwrap()];
    house.gate.reconfigure(settings, vec![std::sync::Arc::clone(&push) as _]);
    let mut dave = account("dave");
    dave.otp_auth = true;
    dave.enrolments.insert("push".into(), vec![1].into());
    house.add(dave);
    let called = || push.called.load(std::sync::atomic::Ordering::SeqCst);
    let tries = (0..12).map(|n| {
        let house = &house;
        async move { house.show(&origin(Protocol::Sftp, &format!("198.51.100.{n}")), "dave", PASSWORD).await }
    });
    let asked = futures_util::future::join_all(tries).await;
    assert_eq!(asked.iter().filter(|outcome| matches!(outcome, Outcome::Challenge(_))).count(), 1);
    assert_eq!(called(), 1);
    assert_eq!(house.reason(), "send_limited");
    assert!(house.log_in(Protocol::Ftp, "dave", &compound("123456")).await.is_denied());
    assert_eq!(called(), 1, "a code in the same string calls nobody either");
    for n in 2..=7 {
        house.pass(Duration::from_secs(31));
        let _ = house.log_in(Protocol::Sftp, "dave", PASSWORD).await;
        assert_eq!(called(), n.min(5));
    }
}

#[tokio::test]
async fn five_messages_an_hour_go_to_one_user() {
    let house = house();
    for n in 1..=5 {
        let _ = house.log_in(Protocol::Ftp, "carol", PASSWORD).await;
        house.sms.code(n).await;
        house.pass(Duration::from_secs(31));
    }
    house.pass(Duration::from_secs(400));
    let denied = house.log_in(Protocol::Sftp, "carol", PASSWORD).await;
    assert!(denied.is_denied());
    assert_eq!(house.reason(), "send_limited");
    assert_eq!(house.sms.sent().len() + house.email.sent().len(), 5);
    house.pass(Duration::from_secs(3600));
    assert!(matches!(house.log_in(Protocol::Sftp, "carol", PASSWORD).await, Outcome::Challenge(_)));
}

#[tokio::test]
async fn two_users_with_one_phone_share_its_limits() {
    let house = House::new();
    for name in ["carol", "caren"] {
        house.add_reachable(name);
        house.directory.change(name, |account| account.email = None);
    }
    assert!(matches!(house.log_in(Protocol::Sftp, "carol", PASSWORD).await, Outcome::Challenge(_)));
    assert!(house.log_in(Protocol::Sftp, "caren", PASSWORD).await.is_denied());
    assert_eq!(house.reason(), "send_limited");
}

#[tokio::test]
async fn an_operator_may_allow_more_messages_or_fewer() {
    let house = House::with(|settings| {
        settings.send.interval = Duration::ZERO;
        settings.send.per_hour = 2;
    });
    house.add_reachable("carol");
    for n in 0..3 {
        let outcome = house.show(&origin(Protocol::Sftp, &format!("198.51.100.{n}")), "carol", PASSWORD).await;
        assert_eq!(matches!(outcome, Outcome::Challenge(_)), n < 2, "{n}: {outcome:?}");
    }
    assert_eq!(house.sms.sent().len(), 2);
}

#[tokio::test]
async fn one_address_and_all_together_have_a_limit() {
    let house = House::with(|settings| settings.send.per_minute = 25);
    for n in 0..30 {
        let name = "u".repeat(n + 1);
        house.add_reachable(&name);
        let from = if n < 22 { "192.0.2.1".to_owned() } else { format!("198.51.100.{n}") };
        let _ = house.show(&origin(Protocol::Sftp, &from), &name, PASSWORD).await;
        if n == 21 {
            assert_eq!(house.sms.sent().len(), 20, "one address");
        }
    }
    // The two that the address was refused took nothing from the rest.
    assert_eq!(house.sms.sent().len(), 25, "all together");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn logins_at_once_on_all_doors_send_one_message() {
    let house = house();
    let tries = (0..24).map(|n| {
        let house = &house;
        async move { house.show(&origin(Protocol::ALL[n % 6], &format!("198.51.100.{n}")), "carol", PASSWORD).await }
    });
    let outcomes = futures_util::future::join_all(tries).await;
    assert!(!outcomes.iter().any(Outcome::is_granted));
    within(|| house.everything_said().matches("limited").count() >= 12).await;
    assert_eq!(house.sms.sent().len() + house.email.sent().len(), 1);
}

#[tokio::test]
async fn a_failing_channel_gives_way_to_the_next_and_none_is_a_denial() {
    for mood in [Mood::Failing, Mood::Panicking] {
        let house = house();
        *house.sms.mood.lock().unwrap() = mood;
        let here = origin(Protocol::Sftp, "192.0.2.1");
        let challenge = house.asked(&here, "carol").await;
        assert_eq!(challenge.channel().as_str(), "email");
        assert!(challenge.answer(&here, secret(&house.email.code(1).await)).await.is_granted());

        house.pass(Duration::from_secs(60));
        *house.email.mood.lock().unwrap() = mood;
        assert!(house.show(&here, "carol", PASSWORD).await.is_denied());
        assert_eq!(house.reason(), "factor_failed");
    }
}

#[tokio::test]
async fn a_channel_that_hangs_is_left_for_the_next_in_time() {
    let house = house();
    *house.sms.mood.lock().unwrap() = Mood::Hanging;
    let here = origin(Protocol::Ftp, "192.0.2.1");
    let began = std::time::Instant::now();
    assert!(house.show(&here, "carol", PASSWORD).await.is_denied());
    assert!(began.elapsed() < Duration::from_secs(3), "the answer does not wait for the sending");
    let code = house.email.code(1).await;
    assert!(house.show(&here, "carol", &compound(&code)).await.is_granted());
}

#[tokio::test]
async fn a_user_turns_to_another_of_their_channels_and_to_no_other() {
    let house = house();
    house.directory.change("carol", |carol| {
        carol.enrolments.insert("totp".into(), vec![1].into());
        carol.email = None;
    });
    let here = origin(Protocol::Https, "192.0.2.1");
    let challenge = house.asked(&here, "carol").await;
    assert_eq!(challenge.channel().as_str(), "totp");
    let names: Vec<&str> = challenge.alternatives().iter().map(crate::ChannelName::as_str).collect();
    assert_eq!(names, ["sms"]);
    let id = challenge.id().clone();
    let same = challenge.through(&here, "email").await.question();
    assert_eq!(same.channel().as_str(), "totp", "not a channel of this user");
    let turned = same.through(&here, "sms").await.question();
    assert_eq!((turned.channel().as_str(), turned.id()), ("sms", &id));
    let code = house.sms.code(1).await;
    assert!(turned.answer(&here, secret(&code)).await.is_granted());
    assert!(house.email.sent().is_empty());
}

#[tokio::test]
async fn a_code_of_letters_is_taken_in_either_case() {
    let house = House::with(|settings| {
        settings.token_numeric = false;
        settings.token_length = 8;
    });
    house.add_reachable("carol");
    let _ = house.log_in(Protocol::Ftp, "carol", PASSWORD).await;
    let code = house.sms.code(1).await;
    assert!(house.log_in(Protocol::Ftp, "carol", &compound(&code.to_lowercase())).await.is_granted());
}

#[tokio::test]
async fn an_interactive_login_that_was_given_up_goes_on_in_one_string() {
    let house = house();
    let here = origin(Protocol::Sftp, "192.0.2.1");
    drop(house.asked(&here, "carol").await);
    let code = house.sms.code(1).await;
    assert!(house.show(&here, "carol", &compound(&code)).await.is_granted());
}

#[tokio::test]
async fn where_the_authenticator_is_away_the_next_channel_sends() {
    let house = house();
    house.directory.change("carol", |carol| {
        carol.enrolments.insert("totp".into(), vec![1].into());
    });
    assert!(house.log_in(Protocol::Ftp, "carol", PASSWORD).await.is_denied());
    *house.totp.mood.lock().unwrap() = Mood::Failing;
    assert!(house.log_in(Protocol::Ftp, "carol", &compound("123456")).await.is_denied());
    assert_eq!(house.reason(), "factor_failed");
    let _ = house.log_in(Protocol::Ftp, "carol", PASSWORD).await;
    let code = house.sms.code(1).await;
    assert_eq!(house.sms.sent().len(), 1, "nothing went out while the authenticator was well");
    assert!(house.log_in(Protocol::Ftp, "carol", &compound(&code)).await.is_granted());
}
