//! When a code is due, and what it takes then: every door alike.

use super::enrolled_for_each_door;
use crate::{clients::every_door, house::House};

#[test]
fn a_right_code_opens_every_door() {
    let house = House::open();
    for (client, user) in enrolled_for_each_door(&house) {
        client.login(&house, &user.with(&user.code())).must_be_granted(client.name());
    }
}

#[test]
fn the_password_alone_opens_no_door_where_a_code_is_due() {
    let house = House::open();
    for (client, user) in enrolled_for_each_door(&house) {
        client.login(&house, &user.with_password()).must_be_refused(client.name());
    }
}

#[test]
fn a_wrong_code_opens_no_door() {
    let house = House::open();
    for (client, user) in enrolled_for_each_door(&house) {
        client.login(&house, &user.with(&user.app().wrong_code())).must_be_refused(client.name());
        client
            .login(&house, &user.with(&user.code()))
            .must_be_granted(format!("{} after one wrong code", client.name()));
    }
}

#[test]
fn a_code_of_more_than_a_step_ago_opens_no_door() {
    let house = House::open();
    for (client, user) in enrolled_for_each_door(&house) {
        client.login(&house, &user.with(&user.app().stale_code())).must_be_refused(client.name());
    }
}

#[test]
fn a_right_code_behind_a_wrong_password_opens_no_door_and_is_not_spent() {
    let house = House::open();
    for (client, user) in enrolled_for_each_door(&house) {
        let code = user.code();
        let mistaken = crate::clients::Login { password: "not the password", ..user.with(&code) };
        client.login(&house, &mistaken).must_be_refused(client.name());
        client.login(&house, &user.with(&code)).must_be_granted(client.name());
    }
}

#[test]
fn where_no_code_is_due_the_password_alone_opens_every_door() {
    let house = House::open();
    let user = house.newcomer("plain").add();
    for client in every_door(&house) {
        client.login(&house, &user.with_password()).must_be_granted(client.name());
    }
}

#[test]
fn a_flagged_user_whom_no_channel_can_serve_is_refused_on_every_door() {
    let house = House::open();
    let user = house.newcomer("stranded").with(&["--otp"]).add();
    for client in every_door(&house) {
        client.login(&house, &user.with_password()).must_be_refused(client.name());
    }
}

#[test]
fn a_recovery_code_stands_for_the_app_once_on_whatever_door() {
    let house = House::open();
    let user = house.newcomer("unlucky").enrolled().add();
    let doors = every_door(&house);
    assert!(user.recovery.len() >= doors.len(), "{} recovery codes for {} doors", user.recovery.len(), doors.len());
    for (client, code) in doors.iter().zip(&user.recovery) {
        client.login(&house, &user.with(code)).must_be_granted(client.name());
    }
    // From another address, where nothing is remembered.
    let elsewhere = [127, 0, 0, 2].into();
    for (client, code) in doors.iter().rev().zip(&user.recovery) {
        client
            .login(&house, &user.with(code).from(elsewhere))
            .must_be_refused(format!("{} with a used code", client.name()));
    }
}
