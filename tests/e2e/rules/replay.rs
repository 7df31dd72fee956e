//! A code used once is used: on every door, at every address, after a restart.

use super::enrolled_for_each_door;
use crate::{
    clients::{Verdict, every_door},
    house::House,
};
use std::net::Ipv4Addr;

/// Where nobody has logged in from.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[test]
fn a_used_code_opens_neither_its_own_door_nor_another() {
    let house = House::open();
    for (client, user) in enrolled_for_each_door(&house) {
        let code = user.code();
        client.login(&house, &user.with(&code)).must_be_granted(client.name());
        for other in every_door(&house) {
            let replay = other.login(&house, &user.with(&code).from(ELSEWHERE));
            replay.must_be_refused(format!("a code used on {} again on {}", client.name(), other.name()));
        }
    }
}

#[test]
fn only_a_client_that_repeats_its_login_from_its_address_goes_on_with_the_same_code() {
    let house = House::open();
    for (client, user) in enrolled_for_each_door(&house) {
        let code = user.code();
        client.login(&house, &user.with(&code)).must_be_granted(client.name());
        let again = client.login(&house, &user.with(&code));
        let wanted = if client.repeats() { Verdict::Granted } else { Verdict::Refused };
        assert_eq!(again.verdict, wanted, "{}: {}", client.name(), again.said);
    }
}

#[test]
fn no_code_older_than_the_last_one_used_is_taken() {
    let house = House::open();
    for (client, user) in enrolled_for_each_door(&house) {
        let (older, newer) = (user.code(), user.code());
        client.login(&house, &user.with(&newer)).must_be_granted(client.name());
        client.login(&house, &user.with(&older).from(ELSEWHERE)).must_be_refused(client.name());
    }
}

#[test]
fn a_used_code_stays_used_when_the_server_dies_and_comes_back() {
    let mut house = House::open();
    let users = enrolled_for_each_door(&house);
    let mut used = Vec::new();
    for (client, user) in &users {
        let code = user.code();
        client.login(&house, &user.with(&code)).must_be_granted(client.name());
        used.push(code);
    }
    house.kill();
    house.serve();
    for ((client, user), code) in users.iter().zip(&used) {
        let replay = client.login(&house, &user.with(code).from(ELSEWHERE));
        replay.must_be_refused(format!("{} after a crash", client.name()));
    }
}
