//! Guessing: counted per account over all doors and addresses, and no weapon in a stranger's hand.

use super::ftp::Control;
use crate::{
    clients::{Login, Verdict, every_door},
    house::House,
};
use std::net::Ipv4Addr;

/// N7 b and N17 of the security numbers: wrong ones in a row.
const IN_A_ROW: u8 = 10;

#[test]
fn after_ten_wrong_codes_over_all_doors_the_right_one_must_wait_until_somebody_unlocks() {
    let house = House::open();
    let user = house.newcomer("guessed").enrolled().add();
    let doors = every_door(&house);
    for guess in 0..IN_A_ROW {
        let client = &doors[usize::from(guess) % doors.len()];
        let wrong = user.app().wrong_code();
        // Each from an address of its own: a fresh one buys nothing.
        client
            .login(&house, &user.with(&wrong).from(Ipv4Addr::new(127, 0, 5, guess + 1)))
            .must_be_refused(client.name());
    }
    let code = user.code();
    for client in &doors {
        client
            .login(&house, &user.with(&code))
            .must_be_refused(format!("{}: the right code in the pause", client.name()));
    }
    house.run(&["user", "unlock", &user.name]).ok();
    doors[0].login(&house, &user.with(&user.code())).must_be_granted("after unlock");
}

#[test]
fn wrong_passwords_of_a_stranger_do_not_keep_the_user_out() {
    let house = House::open();
    let user = house.newcomer("targeted").add();
    let doors = every_door(&house);
    let home = Ipv4Addr::new(127, 0, 6, 1);
    doors[0].login(&house, &user.with_password().from(home)).must_be_granted("known from here");
    for guess in 0..2 * IN_A_ROW {
        let client = &doors[usize::from(guess) % doors.len()];
        let reply = client.login(&house, &Login::new(&user.name, "a guess").from(Ipv4Addr::new(127, 0, 6, 66)));
        assert_ne!(reply.verdict, Verdict::Granted);
    }
    for client in &doors {
        client
            .login(&house, &user.with_password().from(home))
            .must_be_granted(format!("{} from a known address", client.name()));
    }
}

#[test]
fn wrong_passwords_are_counted_over_all_doors_and_then_the_right_one_waits() {
    let house = House::open();
    let user = house.newcomer("brute").add();
    let doors = every_door(&house);
    let attacker = Ipv4Addr::new(127, 0, 7, 7);
    for guess in 0..IN_A_ROW {
        let client = &doors[usize::from(guess) % doors.len()];
        client.login(&house, &Login::new(&user.name, "a guess").from(attacker)).must_be_refused(client.name());
    }
    for client in &doors {
        let reply = client.login(&house, &user.with_password().from(attacker));
        assert_ne!(reply.verdict, Verdict::Granted, "{}: the right password in the pause", client.name());
    }
}

#[test]
fn a_one_string_door_takes_three_wrong_codes_on_one_connection() {
    let house = House::open();
    let user = house.newcomer("stubborn").enrolled().add();
    let mut control = Control::open(&house);
    let mut tries = 0;
    for _ in 0..12 {
        control.say(&format!("USER {}", user.name));
        let reply = control.say(&format!("PASS {}:{}", user.password, user.app().wrong_code()));
        assert!(!reply.starts_with("230"), "{reply}");
        if reply.starts_with("530") {
            tries += 1;
        }
    }
    assert!(tries <= 3, "{tries} wrong codes were taken on one connection");
    control.say(&format!("USER {}", user.name));
    let reply = control.say(&format!("PASS {}:{}", user.password, user.code()));
    assert!(!reply.starts_with("230"), "the right code after them: {reply}");
}
