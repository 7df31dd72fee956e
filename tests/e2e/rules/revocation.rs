//! A right that is taken away is gone at once, on every door and in every session that runs.

use crate::{
    clients::{Browser, Client, WebDav},
    house::{FOLLOWS_WITHIN, House},
    newcomer::User,
    program::{clean_command, python, sources},
    rules::ftp::Control,
    waiting::{self, PATIENCE},
};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
    time::Instant,
};

/// A client that is in and goes on asking until it is thrown out.
struct Lingerer {
    process: Child,
    what: &'static str,
}

impl Lingerer {
    fn new(house: &House, what: &'static str, user: &User, code: &str) -> Self {
        let door = house.door(if what == "paramiko" { "sftp" } else { "ftp" });
        let mut command = clean_command(python());
        command.env("HOME", house.folder()).env("TEST_PASSWORD", &user.password).env("TEST_CODE", code);
        command.arg(sources().join("tests/e2e/clients/stock.py"));
        command.args([what, &door.ip().to_string(), &door.port().to_string(), "127.0.0.1", &user.name, "linger"]);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "in", "{what} did not get in");
        Self { process, what }
    }

    fn is_out(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }
}

impl Drop for Lingerer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn whoever_is_disabled_removed_or_given_another_password_or_factor_is_out_everywhere_within_2_seconds() {
    let house = House::open();
    let cases: [(&str, &[&str], &str); 4] = [
        ("disabled", &["user", "set", "NAME", "--disable"], ""),
        ("repassworded", &["user", "password", "NAME", "--password-stdin"], "another password\n"),
        ("reset", &["otp", "reset", "NAME"], ""),
        ("removed", &["user", "del", "NAME"], ""),
    ];
    for (name, command, input) in cases {
        // Flagged, so that without the app no login is possible at all.
        let user = house.newcomer(name).with(&["--otp"]).enrolled().add();
        // Recovery codes: four logins at once are more than an app has codes for.
        let [for_ftp, for_web, for_sftp, for_dav] = [0, 1, 2, 3].map(|n| user.recovery[n].as_str());
        let mut ftp = Lingerer::new(&house, "ftplib", &user, for_ftp);
        let mut browser = Browser::new(&house, true, [127, 0, 0, 1].into());
        let answer = browser.log_in(&user.with(for_web));
        assert_eq!(answer.json()["state"], "granted", "{}", answer.body);
        let mut sftp = Lingerer::new(&house, "paramiko", &user, for_sftp);
        let dav = WebDav { tls: true };
        dav.login(&house, &user.with(for_dav)).must_be_granted(name);

        let command: Vec<&str> = command.iter().map(|word| if *word == "NAME" { name } else { word }).collect();
        house.run_with(&command, input).ok();
        let began = Instant::now();
        for lingerer in [&mut ftp, &mut sftp] {
            let out = waiting::holds(PATIENCE, || lingerer.is_out());
            assert!(out, "{name}: {} is still in", lingerer.what);
        }
        let gone = waiting::holds(PATIENCE, || browser.ask("GET", "/api/v1/list/", &[]).status == 401);
        assert!(gone, "{name}: the cookie is still good");
        // One question of each client may be under way, and the machine may be busy.
        assert!(began.elapsed() < FOLLOWS_WITHIN * 2, "{name}: it took {:?}", began.elapsed());
        dav.login(&house, &user.with(for_dav)).must_be_refused(format!("{name}: a remembered login"));
    }
}

#[test]
fn a_session_that_is_killed_by_an_administrator_is_over() {
    let house = House::open();
    let user = house.newcomer("unwanted").add();
    let mut sftp = Lingerer::new(&house, "paramiko", &user, "");
    let sessions = house.run(&["session", "list", "--json"]).json();
    let id = sessions[0]["id"].as_str().unwrap_or_else(|| panic!("no session in {sessions}")).to_owned();
    assert_eq!(sessions[0]["user"], "unwanted", "{sessions}");
    house.run(&["session", "kill", &id]).ok();
    assert!(waiting::holds(PATIENCE, || sftp.is_out()), "still in");
    let empty = waiting::holds(PATIENCE, || {
        house.run(&["session", "list", "--json"]).json().as_array().is_some_and(Vec::is_empty)
    });
    assert!(empty, "{}", house.run(&["session", "list", "--json"]));
}

#[test]
fn a_transfer_is_listed_with_what_it_is_and_ends_when_its_session_is_killed() {
    let house = House::open();
    let user = house.newcomer("busy").add();
    let mut control = Control::open(&house);
    for (line, code) in [(format!("USER {}", user.name), "331"), (format!("PASS {}", user.password), "230")] {
        let reply = control.say(&line);
        assert!(reply.starts_with(code), "{reply}");
    }
    let passive = control.say("EPSV");
    let port: u16 = passive.split('|').nth(3).and_then(|port| port.parse().ok()).expect("a port");
    let mut data = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert!(control.say("STOR up").starts_with("150"));
    data.write_all(b"12345").unwrap();
    let listed = || house.run(&["session", "list", "--json"]).json()[0].clone();
    assert!(waiting::holds(PATIENCE, || listed()["bytes"] == 5), "{}", listed());
    let row = listed();
    assert_eq!((&row["doing"], &row["user"]), (&"STOR /up".into(), &"busy".into()), "{row}");
    assert!(row["idle_s"].is_u64() && row["bytes_per_s"].is_u64() && row["since"].is_string(), "{row}");
    let table = house.run(&["session", "list"]).to_string();
    assert!(table.contains("STOR /up"), "{table}");
    house.run(&["session", "kill", row["id"].as_str().unwrap_or_default()]).ok();
    assert!(control.say("NOOP").starts_with("421"));
    assert_eq!(house.run(&["session", "list", "--json"]).json().as_array().map(Vec::len), Some(0));
    // Of what was not ended in order nothing is stored.
    let mut again = Control::open(&house);
    again.say(&format!("USER {}", user.name));
    assert!(again.say(&format!("PASS {}", user.password)).starts_with("230"));
    assert!(again.say("RNFR up").starts_with("550"));
}
