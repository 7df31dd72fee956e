//! Starting, and refusing to: one clear line, and no half-done state.

use crate::{
    clients::{Verdict, every_door},
    house::{FOLLOWS_WITHIN, House},
    program::clean_command,
    waiting,
};
use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, time::Duration};

#[test]
fn serve_makes_the_home_where_there_is_none_and_tells_the_administrators_password_once() {
    let mut house = House::empty();
    let mut command = house.serve_command();
    command.args(["--bind", "127.0.0.1", "--ports", "ephemeral"]);
    house.begin(command);
    assert!(house.logs(&["password"]), "no password in:\n{}", house.log());
    let up = waiting::holds(Duration::from_secs(30), || house.run(&["status", "--json"]).code() == 0);
    assert!(up, "{}", house.log());
    let told = house.log();
    let users = house.run(&["user", "list", "--json"]).json();
    assert_eq!(users[0]["name"], "admin", "{users}");
    assert_eq!(house.stop().code(), Some(0));
    house.serve();
    assert!(!house.log()[told.len()..].contains("password:"), "the password is told again:\n{}", house.log());
}

#[test]
fn init_refuses_a_home_and_changes_nothing_in_it() {
    let house = House::made();
    let before = fs::read(house.prefs_file()).unwrap();
    let ran = house.run(&["init", "--bind", "127.0.0.1"]);
    assert!(ran.complaint().contains("home"), "{ran}");
    assert_eq!(fs::read(house.prefs_file()).unwrap(), before);
}

#[test]
fn what_is_secret_in_a_home_is_for_its_owner_alone() {
    let house = House::made();
    let files = ["prefs.xml", "keys/ssh_host_ed25519_key", "keys/tls.key", "keys/secret.key", "lockgate.db"];
    for name in files {
        let mode = fs::metadata(house.home().join(name))
            .unwrap_or_else(|cause| panic!("{name}: {cause}"))
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name} has mode {mode:o}");
    }
}

#[test]
fn two_homes_share_no_key() {
    let (one, other) = (House::made(), House::made());
    for name in ["keys/ssh_host_ed25519_key", "keys/tls.key", "keys/secret.key"] {
        assert_ne!(fs::read(one.home().join(name)).unwrap(), fs::read(other.home().join(name)).unwrap(), "{name}");
    }
}

#[test]
fn a_broken_prefs_file_is_refused_at_start_in_one_line_with_its_place() {
    let house = House::made();
    let good = fs::read_to_string(house.prefs_file()).unwrap();
    let cases = [
        ("no XML", "<server_prefs type=\"properties\">".to_owned(), "line"),
        (
            "a wrong type",
            good.replace("<otp_validated_logins>true<", "<otp_validated_logins>maybe<"),
            "otp_validated_logins",
        ),
        (
            "a doubled switch",
            good.replace(
                "<otp_validated_logins>",
                "<otp_validated_logins>true</otp_validated_logins><otp_validated_logins>",
            ),
            "otp_validated_logins",
        ),
        (
            "a missing switch",
            good.replace("<otp_validated_logins>true</otp_validated_logins>", ""),
            "otp_validated_logins",
        ),
        ("a misspelt switch", good.replace("otp_validated_logins>", "otp_validated_login>"), "otp_validated_login"),
        (
            "a document type",
            good.replace("<server_prefs", "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>\n<server_prefs"),
            "DOCTYPE",
        ),
    ];
    for (what, text, word) in cases {
        assert_ne!(text, good, "{what} was not made");
        fs::write(house.prefs_file(), &text).unwrap();
        let ran = house.serve_in_vain();
        assert_eq!(ran.code(), 1, "{what}: {ran}");
        let line = ran.stderr.lines().find(|line| line.contains("prefs.xml")).unwrap_or_default();
        assert!(line.contains(word), "{what}: {ran}");
        let check = house.run(&["prefs", "check"]);
        assert_eq!(check.code(), 1, "{what}: {check}");
        assert_eq!(fs::read_to_string(house.prefs_file()).unwrap(), text, "{what}: the file was touched");
    }
}

#[test]
fn a_prefs_file_broken_while_the_server_runs_leaves_the_old_in_force_and_status_says_why() {
    let house = House::open();
    let user = house.newcomer("steady").enrolled().add();
    let good = fs::read_to_string(house.prefs_file()).unwrap();
    let broken = good.replace("<otp_validated_logins>true<", "<otp_validated_logins>false<!-- half");
    fs::write(house.prefs_file(), broken).unwrap();
    let told = waiting::holds(FOLLOWS_WITHIN * 2, || house.status()["prefs_error"].is_string());
    assert!(told, "status does not say so: {}", house.status());
    for client in every_door(&house) {
        client.login(&house, &user.with_password()).must_be_refused(client.name());
    }
    fs::remove_file(house.prefs_file()).unwrap();
    every_door(&house)[0].login(&house, &user.with_password()).must_be_refused("with no file at all");
    fs::write(house.prefs_file(), good).unwrap();
    let over = waiting::holds(FOLLOWS_WITHIN * 2, || !house.status()["prefs_error"].is_string());
    assert!(over, "status still complains: {}", house.status());
}

#[test]
fn a_port_in_use_is_refused_in_one_line_with_door_and_address() {
    let house = House::made();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    house.set(&[("server_list[2].port", &address.port().to_string())]);
    let ran = house.serve_in_vain();
    assert_eq!(ran.code(), 1, "{ran}");
    let line = ran.stderr.lines().find(|line| line.contains(&address.to_string())).unwrap_or_default();
    assert!(line.contains("sftp") && line.contains("listen"), "{ran}");
    assert_eq!(house.run(&["status", "--json"]).code(), 1);
}

#[test]
fn a_second_server_on_one_home_is_refused() {
    let house = House::open();
    let ran = house.serve_in_vain();
    assert_eq!(ran.code(), 1, "{ran}");
    assert!(ran.stderr.contains(house.home().to_str().unwrap()), "{ran}");
    assert_eq!(house.status()["pid"].as_u64(), Some(house.pid().into()), "the first one goes on");
}

#[test]
fn a_users_root_that_cannot_be_read_ends_in_a_clear_line_and_a_server_that_goes_on() {
    let house = House::open();
    let file = house.scratch("a-file-not-a-folder");
    fs::write(&file, "").unwrap();
    for (n, root) in [house.folder().join("nowhere/at/all"), file].iter().enumerate() {
        let user = house.newcomer(&format!("rootless{n}")).with(&["--root", root.to_str().unwrap()]).add();
        for client in every_door(&house) {
            let local = house.scratch("probe");
            fs::write(&local, "x").unwrap();
            let reply = client.put(&house, &user.with_password(), &local, "probe.txt");
            assert_ne!(reply.verdict, Verdict::Granted, "{} stored a file nowhere", client.name());
            // The host's path is the operator's business.
            assert!(!reply.said.contains(root.to_str().unwrap()), "{} told the path: {}", client.name(), reply.said);
        }
        assert!(house.logs(&[root.to_str().unwrap()]), "the log does not name {}:\n{}", root.display(), house.log());
    }
    let other = house.newcomer("other").add();
    for client in every_door(&house) {
        client.login(&house, &other.with_password()).must_be_granted(client.name());
    }
}

#[test]
fn a_loose_key_is_refused_with_the_remedy() {
    let house = House::made();
    for name in ["keys/tls.key", "keys/ssh_host_ed25519_key", "keys/secret.key"] {
        let path = house.home().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let ran = house.serve_in_vain();
        assert_eq!(ran.code(), 1, "{name}: {ran}");
        assert!(ran.stderr.contains("chmod") && ran.stderr.contains(name), "{name}: {ran}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn the_server_stops_when_told_to_and_lets_a_transfer_finish() {
    let mut house = House::open();
    let user = house.newcomer("slow").add();
    let folder = house.home().join("files/slow");
    fs::create_dir_all(&folder).unwrap();
    fs::File::create(folder.join("large.bin")).unwrap().set_len(3 << 20).unwrap();
    let local = house.scratch("large.bin");
    let mut curl = clean_command("curl");
    // Three seconds at this rate.
    curl.args([
        "-q",
        "-s",
        "-S",
        "--limit-rate",
        "1M",
        "--user",
        &format!("{}:{}", user.name, user.password),
        "--output",
    ]);
    curl.arg(&local).arg(format!("http://{}/api/v1/files/large.bin", house.door("http")));
    let mut transfer = curl.spawn().unwrap();
    let begun = waiting::holds(Duration::from_secs(20), || fs::metadata(&local).is_ok_and(|facts| facts.len() > 0));
    assert!(begun, "the transfer did not begin");
    assert_eq!(house.stop().code(), Some(0), "{}", house.log());
    assert!(transfer.wait().unwrap().success(), "the transfer was cut");
    assert_eq!(fs::metadata(&local).unwrap().len(), 3 << 20);
}
