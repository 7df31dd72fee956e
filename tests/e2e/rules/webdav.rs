//! What is particular to WebDAV: the conformance suite of the field, and the credentials that come with each request.

use crate::{
    clients::{Client, Verdict, WebDav},
    house::House,
    program::{clean_command, run_with},
};

/// litmus's suites.
const SUITES: [&str; 5] = ["basic", "copymove", "props", "locks", "http"];

/// Checks of litmus that may fail, each with its reason.
const EXEMPT: [(&str, &str); 0] = [];

#[test]
fn litmus_finds_nothing_wrong() {
    let house = House::open();
    let user = house.newcomer("litmus").add();
    let folder = house.scratch("litmus");
    std::fs::create_dir_all(&folder).unwrap();
    let mut litmus = clean_command("litmus");
    litmus.current_dir(&folder).env("HOME", &folder).env("TESTS", SUITES.join(" "));
    // With -k it goes on to the next suite after a failure.
    litmus.args(["-k", &format!("http://{}/dav/", house.door("http")), &user.name, &user.password]);
    let ran = run_with(litmus, "");
    let failed = ran.stdout.lines().filter(|line| line.contains("FAIL"));
    let unexplained: Vec<&str> = failed.filter(|line| !EXEMPT.iter().any(|(check, _)| line.contains(check))).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}\n{ran}");
    for suite in SUITES {
        assert!(ran.stdout.contains(&format!("running `{suite}'")), "{suite} did not run: {ran}");
    }
}

#[test]
fn a_remembered_login_is_good_from_its_own_address_only_and_ends_with_the_password() {
    let house = House::open();
    let dav = WebDav { tls: true };
    let user = house.newcomer("repeating").enrolled().add();
    let code = user.code();
    for _ in 0..5 {
        dav.login(&house, &user.with(&code)).must_be_granted("the same credentials again");
    }
    dav.login(&house, &user.with(&code).from([127, 0, 0, 9].into())).must_be_refused("from elsewhere");
    dav.login(&house, &user.with_password()).must_be_refused("without the code");
    house.run_with(&["user", "password", &user.name, "--password-stdin"], "another password\n").ok();
    let ended = crate::waiting::holds(std::time::Duration::from_secs(5), || {
        dav.login(&house, &user.with(&code)).verdict == Verdict::Refused
    });
    assert!(ended, "the remembered login outlives its password");
}

#[test]
fn a_neighbour_of_the_prefix_is_not_webdav() {
    let house = House::open();
    let user = house.newcomer("prefixed").add();
    for path in ["/davx/", "/dav%2f..", "/DAV/"] {
        let mut curl = clean_command("curl");
        curl.args([
            "-q",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-X",
            "PROPFIND",
            "-H",
            "Depth: 0",
            "--path-as-is",
        ]);
        curl.args([
            "--user",
            &format!("{}:{}", user.name, user.password),
            &format!("http://{}{path}", house.door("http")),
        ]);
        let status = run_with(curl, "").ok();
        assert_ne!(status, "207", "{path}");
    }
}
