//! Client certificates as the first factor, made with openssl and shown by curl; and what curl's account word is for.

use crate::{
    house::House,
    newcomer::User,
    program::{Ran, clean_command, run_with},
};
use std::{fs, path::PathBuf};

/// An authority in a folder of its own.
struct Authority<'a> {
    house: &'a House,
    name: &'static str,
}

impl<'a> Authority<'a> {
    fn new(house: &'a House, name: &'static str) -> Self {
        let authority = Self { house, name };
        let (key, certificate) = authority.files(name);
        let subject = format!("/O=Example/CN={name}");
        authority.make(&["-subj", &subject, "-keyout", &key, "-out", &certificate]);
        authority
    }

    /// Key and certificate of this name.
    fn files(&self, name: &str) -> (String, String) {
        let at = |ending: &str| self.house.scratch(&format!("{}-{name}.{ending}", self.name)).display().to_string();
        (at("key"), at("crt"))
    }

    fn certificate(&self) -> String {
        self.files(self.name).1
    }

    /// Makes a certificate for this subject.
    fn card(&self, name: &str, subject: &str) -> (String, String) {
        let (own_key, own) = self.files(self.name);
        let (key, certificate) = self.files(name);
        self.make(&[
            "-utf8",
            "-subj",
            subject,
            "-CA",
            &own,
            "-CAkey",
            &own_key,
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-addext",
            "extendedKeyUsage=clientAuth",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ]);
        (key, certificate)
    }

    /// Makes a certificate with a key of its own.
    fn make(&self, arguments: &[&str]) {
        let always = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9";
        let arguments: Vec<&str> = always.split(' ').chain(arguments.iter().copied()).collect();
        self.openssl(&arguments);
    }

    fn openssl(&self, arguments: &[&str]) -> String {
        let mut command = clean_command("openssl");
        command.args(arguments);
        run_with(command, "").ok()
    }
}

/// curl over FTP under TLS: explicit, then implicit.
fn curl(house: &House, credentials: &str, more: &[&str]) -> [Ran; 2] {
    [(format!("ftp://{}/", house.door("ftp")), "--ssl-reqd"), (format!("ftps://{}/", house.door("ftps")), "--ssl-reqd")]
        .map(|(url, tls)| {
            let mut command = clean_command("curl");
            command.args(["-q", "--silent", "--show-error", "--insecure", "--max-time", "40", "--user", credentials]);
            command.args([tls]).args(more).arg(url);
            run_with(command, "")
        })
}

#[track_caller]
fn all(runs: [Ran; 2], let_in: bool, whom: &str) {
    for ran in runs {
        assert_eq!(ran.code(), if let_in { 0 } else { 67 }, "{whom}: {ran}");
    }
}

#[test]
fn a_certificate_stands_in_for_the_password_and_for_no_code() {
    let mut house = House::made();
    let authority = {
        let ours = Authority::new(&house, "ours");
        ours.certificate()
    };
    house.set(&[("server_list[0].tls_client_ca", &authority), ("server_list[1].tls_client_ca", &authority)]);
    house.serve();
    let (ours, theirs) = (Authority { house: &house, name: "ours" }, Authority::new(&house, "theirs"));
    let alice = house.newcomer("alice").add();
    let bob = house.newcomer("bob").enrolled().add();
    let subject = "/C=DE/O=Example, Inc./CN=Zoë \"Z\" +";
    let (key, certificate) = ours.card("alice", subject);
    let said = house.run(&["user", "certificate", "alice", &certificate]).ok();
    let form = ["x509", "-noout", "-subject", "-nameopt", "RFC2253,-esc_msb", "-in", &certificate];
    assert_eq!(ours.openssl(&form).trim().strip_prefix("subject=").unwrap(), said.trim());

    let card = ["--cert", &certificate, "--key", &key];
    let without = |user: &User| format!("{}:", user.name);
    all(curl(&house, &without(&alice), &card), true, "the user's own certificate");
    all(curl(&house, &without(&alice), &[]), false, "none");
    all(curl(&house, &without(&bob), &card), false, "another user's name");
    let (their_key, their) = theirs.card("alice", subject);
    all(curl(&house, &without(&alice), &["--cert", &their, "--key", &their_key]), false, "another authority's");
    let both = format!("{}:{}", alice.name, alice.password);
    all(curl(&house, &both, &["--cert", &their, "--key", &their_key]), true, "which keeps nobody from a password");

    // A second factor that is due is asked for.
    let (key, certificate) = ours.card("bob", "/O=Example/CN=bob");
    house.run(&["user", "certificate", "bob", &certificate]).ok();
    let card = ["--cert", &certificate, "--key", &key];
    all(curl(&house, &without(&bob), &card), false, "no code");
    let code = format!("{}:{}", bob.name, bob.code());
    all(curl(&house, &code, &card), true, "the code in place of the password, twice by one client");
    let reasons: Vec<String> = house
        .audit()
        .iter()
        .filter(|record| record["user"] == "bob" && record["result"] == "granted")
        .map(|record| record["reason"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(reasons, ["both_factors_right", "resumed"]);
    house.run(&["user", "certificate", "bob", "--clear"]).ok();
    all(curl(&house, &code, &card), false, "a certificate that was taken from the account");
}

#[test]
fn a_client_that_is_asked_by_acct_opens_further_connections_with_the_same_code() {
    let house = House::open_with(&[("otp_ftp_prompt", "acct")]);
    let user = house.newcomer("typed").enrolled().add();
    let (both, code) = (format!("{}:{}", user.name, user.password), user.code());
    let file = house.scratch("list");
    let several: [PathBuf; 3] = std::array::from_fn(|n| file.with_extension(n.to_string()));
    let mut command = clean_command("curl");
    command.args(["-q", "--silent", "--show-error", "--insecure", "--ssl-reqd", "--max-time", "40", "--parallel"]);
    command.args(["--parallel-immediate", "--user", &both, "--ftp-account", &code]);
    for path in &several {
        command.arg("-o").arg(path).arg(format!("ftp://{}/", house.door("ftp")));
    }
    // Begun at the same moment, one of them may come before the first is in.
    run_with(clean_curl(&house, &both, &code), "").ok();
    run_with(command, "").ok();
    assert!(several.iter().all(|path| fs::exists(path).unwrap()));
    assert_ne!(run_with(clean_curl(&house, &both, "000000"), "").code(), 0);
    let others = house.newcomer("other").enrolled().add();
    let theirs = format!("{}:{}", others.name, others.password);
    assert_ne!(run_with(clean_curl(&house, &theirs, &code), "").code(), 0);
}

fn clean_curl(house: &House, both: &str, code: &str) -> std::process::Command {
    let mut command = clean_command("curl");
    command.args(["-q", "--silent", "--show-error", "--insecure", "--ssl-reqd", "--max-time", "40", "--user", both]);
    command.args(["--ftp-account", code]).arg(format!("ftp://{}/", house.door("ftp")));
    command
}
