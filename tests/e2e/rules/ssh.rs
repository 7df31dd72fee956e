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
    [Method::Any, Method::Password, Method::KeyboardInteractive, Method::Compound, Method::Key(key)]
        .into_iter()
        .map(OpenSsh)
        .collect()
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

#[test]
fn no_shell_no_command_and_no_forwarding_are_to_be_had() {
    let house = House::open();
    let user = house.newcomer("shellless").add();
    let door = house.door("sftp");
    let cases: [&[&str]; 4] = [
        &["id"],
        &["-s", "no-such-subsystem"],
        &["-N", "-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:1"],
        &["-W", "127.0.0.1:22"],
    ];
    for case in cases {
        let mut ssh = clean_command("sshpass");
        ssh.env("HOME", house.folder()).env("SSHPASS", &user.password).args([
            "-e",
            "timeout",
            "20",
            "ssh",
            "-F",
            "/dev/null",
        ]);
        for option in ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "PreferredAuthentications=password"]
        {
            ssh.args(["-o", option]);
        }
        ssh.args(["-p", &door.port().to_string()]);
        let (options, rest) =
            if case[0].starts_with('-') && case[0] != "-s" { (case, &[][..]) } else { (&[][..], case) };
        let target = format!("{}@{}", user.name, door.ip());
        match rest {
            ["-s", subsystem] => ssh.args(["-s", &target, subsystem]),
            _ => ssh.args(options).arg(&target).args(rest),
        };
        let ran = run_with(ssh, "");
        assert!(!matches!(ran.code(), 0 | 124), "{case:?} was not refused at once: {ran}");
        assert!(!ran.stdout.contains("uid="), "{case:?}: {ran}");
    }
}

#[test]
fn the_legacy_copy_protocol_is_off_unless_it_is_switched_on() {
    let house = House::open();
    let user = house.newcomer("legacy").add();
    let local = house.scratch("legacy.txt");
    std::fs::write(&local, "x").unwrap();
    let door = house.door("sftp");
    let mut scp = clean_command("sshpass");
    scp.env("HOME", house.folder()).env("SSHPASS", &user.password).args([
        "-e",
        "timeout",
        "20",
        "scp",
        "-O",
        "-F",
        "/dev/null",
    ]);
    scp.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-P", &door.port().to_string()]);
    scp.arg(&local).arg(format!("{}@{}:legacy.txt", user.name, door.ip()));
    let ran = run_with(scp, "");
    assert!(!matches!(ran.code(), 0 | 124), "{ran}");
    assert!(!house.home().join("files/legacy/legacy.txt").exists());
}

#[test]
fn no_weak_algorithm_is_offered_and_strict_and_hybrid_key_exchange_are() {
    let house = House::open();
    let door = house.door("sftp");
    let mut ssh = clean_command("ssh");
    ssh.env("HOME", house.folder()).args([
        "-vvv",
        "-F",
        "/dev/null",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=no",
    ]);
    ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-p", &door.port().to_string(), &format!("x@{}", door.ip())]);
    let said = run_with(ssh, "").stderr;
    let offer = said.split("peer server KEXINIT proposal").nth(1).unwrap_or_else(|| panic!("no proposal in {said}"));
    let offer: Vec<&str> = offer.lines().take_while(|line| !line.contains("first_kex_follows")).collect();
    let offer = offer.join("\n");
    for weak in ["cbc", "3des", "arcfour", "hmac-sha1", "-sha1", "md5", "ssh-rsa", "ssh-dss", "group1-", "zlib"] {
        assert!(!offer.contains(weak), "{weak} is offered:\n{offer}");
    }
    for strong in ["kex-strict-s-v00@openssh.com", "mlkem768x25519-sha256", "ssh-ed25519"] {
        assert!(offer.contains(strong), "{strong} is not offered:\n{offer}");
    }
}
