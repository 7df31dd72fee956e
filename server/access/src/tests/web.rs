//! What the web needs: questions that wait for another request, and cookies.

use crate::{
    ChallengeId, SessionEnd,
    testing::{House, PASSWORD, origin},
};
use lockgate_model::{Conversation, Door, Origin, Protocol, Secret};
use std::{collections::BTreeSet, time::Duration};

async fn parked(house: &House, here: &Origin) -> ChallengeId {
    house.asked(here, "bob").await.park().await
}

#[tokio::test]
async fn a_parked_question_comes_back_once_and_to_its_client_alone() {
    let house = House::new();
    house.add_enrolled("bob");
    let here = origin(Protocol::Https, "192.0.2.1");
    let id = parked(&house, &here).await;
    assert!(id.as_str().len() >= 32);
    let others = [
        Origin { peer: "192.0.2.2:1".parse().unwrap(), ..here.clone() },
        Origin { protocol: Protocol::Webdav, conversation: Conversation::SingleShot, ..here.clone() },
        Origin { door: Door::Http, ..here.clone() },
    ];
    for other in &others {
        assert!(house.gate.unpark(other, id.as_str()).await.is_none());
    }
    assert!(house.gate.unpark(&here, "0123456789abcdef0123456789abcdef").await.is_none());
    let challenge = house.gate.unpark(&here, id.as_str()).await.unwrap();
    assert!(house.gate.unpark(&here, id.as_str()).await.is_none());
    let again = challenge.answer(&here, Secret::new("000000".into())).await.question();
    assert_eq!(again.park().await, id, "the id stays the same over wrong answers");
    let challenge = house.gate.unpark(&here, id.as_str()).await.unwrap();
    assert!(challenge.answer(&here, Secret::new(house.totp.code(0))).await.is_granted());
}

#[tokio::test]
async fn a_question_that_is_not_found_is_recorded_and_counts_against_the_address() {
    let house = House::new();
    house.add_enrolled("bob");
    let here = origin(Protocol::Https, "192.0.2.1");
    let there = origin(Protocol::Https, "192.0.2.2");
    let id = parked(&house, &here).await;
    let before = house.said().len();
    assert!(house.gate.unpark(&there, id.as_str()).await.is_none());
    assert!(house.gate.unpark(&there, "0123456789abcdef0123456789abcdef").await.is_none());
    let said: Vec<_> = house.said().drain(before..).map(|said| (said.user, said.reason)).collect();
    let expected = [("bob".to_owned(), "challenge_of_another_client"), (String::new(), "no_such_challenge")];
    assert_eq!(said, expected);
    assert_eq!((house.failures("192.0.2.2").await, house.failures("192.0.2.1").await), (2, 0));
    house.pass(Duration::from_secs(301));
    assert!(house.gate.unpark(&here, id.as_str()).await.is_none());
    assert!(["challenge_expired", "no_such_challenge"].contains(&house.reason()));
    assert_eq!(house.failures("192.0.2.1").await, 1);
}

#[tokio::test]
async fn a_parked_question_ends_with_its_time() {
    let house = House::new();
    house.add_enrolled("bob");
    let here = origin(Protocol::Https, "192.0.2.1");
    let late = parked(&house, &here).await;
    house.pass(Duration::from_secs(301));
    assert!(house.gate.unpark(&here, late.as_str()).await.is_none());
}

#[tokio::test]
async fn a_user_has_few_questions_waiting_and_the_newest_stay() {
    let house = House::new();
    house.add_enrolled("bob");
    let here = origin(Protocol::Https, "192.0.2.1");
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(parked(&house, &here).await);
        house.pass(Duration::from_millis(10));
    }
    let mut waiting = 0;
    for (place, id) in ids.iter().enumerate() {
        let found = house.gate.unpark(&here, id.as_str()).await.is_some();
        assert_eq!(found, place >= 4, "{place}");
        waiting += usize::from(found);
    }
    assert_eq!(waiting, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_answers_to_one_question_at_once_are_one_answer() {
    let house = House::new();
    house.add_enrolled("bob");
    let here = origin(Protocol::Https, "192.0.2.1");
    let id = parked(&house, &here).await;
    let answers = (0..64).map(|_| {
        let (house, here, id) = (&house, &here, &id);
        async move {
            let challenge = house.gate.unpark(here, id.as_str()).await?;
            Some(challenge.answer(here, Secret::new("000000".into())).await)
        }
    });
    let answered = futures_util::future::join_all(answers).await.into_iter().flatten().count();
    assert_eq!(answered, 1);
}

#[tokio::test]
async fn a_cookie_opens_from_its_address_and_on_its_protocol() {
    let house = House::new();
    let here = origin(Protocol::Https, "192.0.2.1");
    let session = house.show(&here, "alice", PASSWORD).await.session();
    let (token, web) = house.gate.issue_cookie(&session).await;
    let found = house.gate.by_cookie(&here, token.expose()).await.unwrap();
    assert_eq!(found.session.id(), session.id());
    assert_eq!(found.csrf.expose(), web.csrf.expose());
    assert_ne!(found.csrf.expose(), token.expose());
    let elsewhere = Origin { peer: "192.0.2.2:1".parse().unwrap(), ..here.clone() };
    assert!(house.gate.by_cookie(&elsewhere, token.expose()).await.is_none());
    let webdav = Origin { protocol: Protocol::Webdav, ..here.clone() };
    assert!(house.gate.by_cookie(&webdav, token.expose()).await.is_none(), "granted by the rules of another protocol");
    assert!(house.gate.by_cookie(&here, "").await.is_none());
    assert!(house.gate.by_cookie(&here, session.id().as_str()).await.is_none());
}

#[tokio::test]
async fn a_fresh_cookie_ends_the_older_ones_of_its_session() {
    let house = House::new();
    let here = origin(Protocol::Https, "192.0.2.1");
    let session = house.show(&here, "alice", PASSWORD).await.session();
    let (old, old_web) = house.gate.issue_cookie(&session).await;
    let (new, new_web) = house.gate.issue_cookie(&session).await;
    assert!(house.gate.by_cookie(&here, old.expose()).await.is_none());
    assert!(house.gate.by_cookie(&here, new.expose()).await.is_some());
    assert_ne!(old_web.csrf.expose(), new_web.csrf.expose());
}

#[tokio::test]
async fn a_cookie_ends_with_its_session_idle_and_at_its_longest() {
    let house = House::new();
    let here = origin(Protocol::Https, "192.0.2.1");
    let log_in = || async {
        let session = house.show(&here, "alice", PASSWORD).await.session();
        house.gate.issue_cookie(&session).await.0
    };
    let token = log_in().await;
    let session = house.gate.by_cookie(&here, token.expose()).await.unwrap().session;
    session.end(SessionEnd::Closed);
    assert!(house.gate.by_cookie(&here, token.expose()).await.is_none());

    let token = log_in().await;
    house.pass(Duration::from_secs(1801));
    assert!(house.gate.by_cookie(&here, token.expose()).await.is_none());

    let mut token = log_in().await;
    for _ in 0..24 {
        house.pass(Duration::from_secs(1790));
        let found = house.gate.by_cookie(&here, token.expose()).await.unwrap();
        token = house.gate.issue_cookie(&found.session).await.0;
    }
    house.pass(Duration::from_secs(1000));
    assert!(house.gate.by_cookie(&here, token.expose()).await.is_none(), "a rotation does not lengthen the whole life");
}

#[tokio::test]
async fn cookies_carry_256_bits_and_differ() {
    let house = House::new();
    let session = house.log_in(Protocol::Https, "alice", PASSWORD).await.session();
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let (token, _) = house.gate.issue_cookie(&session).await;
        assert_eq!(token.expose().len(), 43);
        assert!(seen.insert(token.expose().clone()));
    }
}

#[tokio::test]
async fn a_cookie_follows_its_user_to_another_address_only_where_that_is_allowed() {
    for bound in [true, false] {
        let house = House::with(|settings| settings.web.bound_to_address = bound);
        let here = origin(Protocol::Https, "192.0.2.1");
        let session = house.show(&here, "alice", PASSWORD).await.session();
        let (token, _) = house.gate.issue_cookie(&session).await;
        let elsewhere = origin(Protocol::Https, "198.51.100.1");
        assert_eq!(house.gate.by_cookie(&elsewhere, token.expose()).await.is_some(), !bound);
        let other_door = origin(Protocol::Http, "192.0.2.1");
        assert!(house.gate.by_cookie(&other_door, token.expose()).await.is_none());
    }
}

#[tokio::test]
async fn a_web_session_lives_by_its_own_times_and_not_by_those_of_grants() {
    let house = House::with(|settings| {
        settings.grant_idle = Duration::from_secs(1);
        settings.web.idle = Duration::from_secs(100);
    });
    let here = origin(Protocol::Https, "192.0.2.1");
    let session = house.show(&here, "alice", PASSWORD).await.session();
    let (token, _) = house.gate.issue_cookie(&session).await;
    house.pass(Duration::from_secs(99));
    assert!(house.gate.by_cookie(&here, token.expose()).await.is_some());
    house.pass(Duration::from_secs(101));
    assert!(house.gate.by_cookie(&here, token.expose()).await.is_none());
}
