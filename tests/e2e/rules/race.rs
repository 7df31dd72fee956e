//! Many at once with one code.

use crate::{
    house::House,
    program::{clean_command, python, run_with, sources},
};
use serde_json::{Value, json};

/// Logins in one race.
const RUNNERS: usize = 200;
/// The doors they run to, in turn.
const KINDS: [&str; 6] = ["ftp", "ftps", "sftp", "http", "https", "webdav"];

#[test]
fn of_200_logins_at_once_with_one_code_exactly_one_is_let_in() {
    let house = House::open();
    let user = house.newcomer("contested").enrolled().add();
    let code = user.code();
    let logins: Vec<Value> = (0..RUNNERS)
        .map(|runner| {
            let kind = KINDS[runner % KINDS.len()];
            let listener = match kind {
                "ftps" => "ftp",
                "webdav" => "http",
                same => same,
            };
            let door = house.door(listener);
            // An address each: what one address may repeat is another rule.
            let source = format!("127.1.{}.{}", runner / 100, runner % 100 + 1);
            json!({
                "kind": kind, "host": door.ip(), "port": door.port(), "source": source,
                "name": user.name, "password": user.password, "code": code,
            })
        })
        .collect();
    let mut swarm = clean_command(python());
    swarm.env("HOME", house.folder()).arg(sources().join("tests/e2e/clients/swarm.py"));
    let answers = run_with(swarm, &Value::from(logins).to_string()).json();
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), RUNNERS);
    let granted: Vec<&Value> = answers.iter().filter(|answer| answer["granted"] == true).collect();
    assert_eq!(granted.len(), 1, "let in: {granted:#?}\nothers, for instance: {:#?}", &answers[..KINDS.len()]);

    let sessions = house
        .audit()
        .into_iter()
        .filter(|record| record["result"] == "granted" && record["user"] == "contested")
        .count();
    assert_eq!(sessions, 1, "the audit file tells of {sessions} sessions");
}
