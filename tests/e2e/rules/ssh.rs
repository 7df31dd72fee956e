//! What is particular to SSH: the methods, and the words of the prompts.

use crate::{
    clients::{Client, Method, OpenSsh, Verdict},
    house::House,
    program::{clean_command, python, run_with, sources},
};
use serde_json::Value;
use std::path::PathBuf;

/// A fresh Ed25519 key whose public half belongs to the user.
fn key_of(house: &House, user: &str) -> PathBuf {
    let path = house.scratch(&format!("id-{user}"));
    let mut keygen = clean_command("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path);
    run_with(keygen, "").ok();
    let public = path.with_extension("pub");
    house.run(&["user", "key", "add", user, public.to_str().unwrap()]).ok();
    path
}

/// Every way in.
fn ways(house: &House, user: &str) -> Vec<OpenSsh> {
    let key = key_of(house, user);
    [Method::Any, Method::Password, Method::KeyboardInteractive, Method::Compound, Method::Key(key)].into_iter().map(OpenSsh).collect()
}

#[test]
fn a_code_is_due_whichever_method_comes_first() {
    let house = House::open();
    for n in 0..5 {
        let user = house.newcomer(&format!("asked{n}")).enrolled().add();
        let way = ways(&house, &user.name).swap_remove(n);
        way.login(&house, &user.with_password()).must_be_refused(format!("{} without a code", way.name()));
        way.login(&house, &user.with(&user.code())).must_be_granted(format!("{} with a code", way.name()));
    }
}

#[test]
fn where_no_code_is_due_each_method_is_enough() {
    let house = House::open();
    let user = house.newcomer("plain").add();
    for way in ways(&house, &user.name) {
        way.login(&house, &user.with_password()).must_be_granted(way.name());
    }
}

#[test]
fn a_key_of_someone_else_opens_nothing() {
    let house = House::open();
    let (alice, bob) = (house.newcomer("alice").add(), house.newcomer("bob").add());
    let way = OpenSsh(Method::Key(key_of(&house, &bob.name)));
    // The password would open it: keep the client to its key.
    let reply = way.login(&house, &crate::clients::Login::new(&alice.name, "not the password"));
    assert_eq!(reply.verdict, Verdict::Refused, "{}", reply.said);
    way.login(&house, &bob.with_password()).must_be_granted("the key's owner");
}

/// One login with asyncssh, told step by step by `probe.py`.
fn probe(house: &House, name: &str, password: &str, code: &str, methods: &str) -> Value {
    let door = house.door("sftp");
    let mut command = clean_command(python());
    command.env("HOME", house.folder()).env("TEST_PASSWORD", password).env("TEST_CODE", code);
    command.arg(sources().join("tests/e2e/clients/probe.py"));
    command.args([&door.ip().to_string(), &door.port().to_string(), name, methods]);
    run_with(command, "").json()
}

#[test]
fn the_prompts_are_the_words_that_clients_recognise_one_a_request() {
    let house = House::open();
    let user = house.newcomer("prompted").enrolled().add();
    let told = probe(&house, &user.name, &user.password, &user.code(), "keyboard-interactive");
    assert_eq!(told["granted"], true, "{told}");
    // Each request: a list of prompts, each with its echo.
    assert_eq!(told["requests"], serde_json::json!([[["Password: ", false]], [["Verification code: ", true]]]));
}

#[test]
fn partial_success_is_told_after_a_right_first_factor_and_never_after_a_wrong_one() {
    let house = House::open();
    let user = house.newcomer("partial").enrolled().add();
    let right = probe(&house, &user.name, &user.password, &user.code(), "password,keyboard-interactive");
    assert_eq!((&right["granted"], &right["partial"]), (&Value::Bool(true), &Value::Bool(true)), "{right}");
    let wrong = probe(&house, &user.name, "not the password", "000000", "password");
    assert_eq!((&wrong["granted"], &wrong["partial"]), (&Value::Bool(false), &Value::Bool(false)), "{wrong}");
}
