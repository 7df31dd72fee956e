//! The policy of the second factor: the list of protocols, the master switch, and what overrides them, followed live.

use crate::{
    clients::{Client, Verdict, every_door},
    house::{FOLLOWS_WITHIN, House},
    newcomer::User,
    waiting,
};
use std::time::Duration;

/// The key of the list.
const LIST: &str = "twofactor_secret_auto_otp_enable_protocols";
/// The list of a fresh home.
const ALL: &str = "ftp,ftps,sftp,http,https,webdav";

/// Asserts for each door whether the password alone opens it.
fn password_alone_opens(house: &House, user: &User, opens: impl Fn(&dyn Client) -> bool) {
    for client in every_door(house) {
        let reply = client.login(house, &user.with_password());
        if opens(&*client) {
            reply.must_be_granted(client.name());
        } else {
            reply.must_be_refused(client.name());
        }
    }
}

/// Waits, for as long as a server may take to follow, until the client's login with the password alone ends so.
fn follows(house: &House, client: &dyn Client, user: &User, wanted: Verdict) {
    // One login may already be under way when the time is over.
    let limit = FOLLOWS_WITHIN + Duration::from_millis(500);
    let came = waiting::holds(limit, || client.login(house, &user.with_password()).verdict == wanted);
    assert!(came, "{}: the password alone is not {wanted:?} {limit:?} after the change", client.name());
}

#[test]
fn a_protocol_taken_from_the_list_opens_within_2_seconds_alone_and_closes_again() {
    let house = House::open();
    let user = house.newcomer("listed").enrolled().add();
    for word in ALL.split(',') {
        let rest: Vec<&str> = ALL.split(',').filter(|other| *other != word).collect();
        let mine: Vec<_> = every_door(&house).into_iter().filter(|client| client.protocol() == word).collect();
        house.set(&[(LIST, &rest.join(","))]);
        follows(&house, &*mine[0], &user, Verdict::Granted);
        password_alone_opens(&house, &user, |client| client.protocol() == word);
        house.set(&[(LIST, ALL)]);
        follows(&house, &*mine[0], &user, Verdict::Refused);
        // Refusals of this test are not what it is about.
        house.run(&["user", "unlock", &user.name]).ok();
    }
    password_alone_opens(&house, &user, |_| false);
}

#[test]
fn an_empty_list_names_no_protocol() {
    let house = House::open_with(&[(LIST, "")]);
    let user = house.newcomer("unlisted").enrolled().add();
    password_alone_opens(&house, &user, |_| true);
}

#[test]
fn an_unknown_word_in_the_list_is_refused_by_name_and_changes_nothing() {
    let house = House::open();
    let before = house.run(&["prefs", "get", LIST]).ok();
    let ran = house.run(&["prefs", "set", LIST, "ftp,scp"]);
    assert!(ran.code() != 0 && ran.stderr.contains("scp"), "{ran}");
    assert_eq!(house.run(&["prefs", "get", LIST]).ok(), before);
}

#[test]
fn the_master_switch_off_opens_every_door_and_start_up_warns() {
    let mut house = House::open();
    let user = house.newcomer("switched").enrolled().add();
    password_alone_opens(&house, &user, |_| false);
    house.set(&[("otp_validated_logins", "false")]);
    house.restart();
    password_alone_opens(&house, &user, |_| true);
    assert!(house.logs(&["WARN", "otp_validated_logins"]), "no warning in the log:\n{}", house.log());
    let check = house.run(&["prefs", "check"]);
    let told = format!("{}{}", check.stdout, check.stderr);
    assert!(told.contains("otp_validated_logins"), "prefs check does not warn: {check}");
}

#[test]
fn the_master_switch_is_followed_without_a_restart_and_without_dropping_the_server() {
    let house = House::open();
    let user = house.newcomer("switched").enrolled().add();
    let (pid, door) = (house.pid(), &every_door(&house)[0]);
    house.set(&[("otp_validated_logins", "false")]);
    follows(&house, &**door, &user, Verdict::Granted);
    house.set(&[("otp_validated_logins", "true")]);
    follows(&house, &**door, &user, Verdict::Refused);
    assert_eq!(house.status()["pid"].as_u64(), Some(pid.into()));
}

#[test]
fn only_true_or_false_is_a_master_switch() {
    let house = House::made();
    for value in ["", "yes", "1", "True ", "off", "FALSE!"] {
        let ran = house.run(&["prefs", "set", "otp_validated_logins", value]);
        assert!(ran.code() != 0 && ran.stderr.contains("otp_validated_logins"), "{value:?}: {ran}");
    }
    assert_eq!(house.run(&["prefs", "get", "otp_validated_logins"]).ok().trim(), "true");
}

#[test]
fn a_users_own_setting_for_a_protocol_stands_above_the_list() {
    let house = House::open_with(&[(LIST, "ftp,ftps")]);
    let user = house
        .newcomer("special")
        .with(&["--set", "otp_auth_ftp=false", "--set", "otp_auth_sftp=true"])
        .enrolled()
        .add();
    password_alone_opens(&house, &user, |client| !matches!(client.protocol(), "ftps" | "sftp"));
}

#[test]
fn a_code_can_be_demanded_of_everybody_or_of_administrators() {
    let house = House::open_with(&[("otp_enforce", "admins")]);
    let user = house.newcomer("plain").add();
    let chief = house.newcomer("chief").with(&["--admin"]).add();
    password_alone_opens(&house, &user, |_| true);
    password_alone_opens(&house, &chief, |_| false);
    house.set(&[("otp_enforce", "all")]);
    follows(&house, &*every_door(&house)[0], &user, Verdict::Refused);
    password_alone_opens(&house, &user, |_| false);
}

#[test]
fn from_a_trusted_network_no_code_is_due_and_from_elsewhere_it_is() {
    let house = House::open_with(&[("otp_trusted_networks", "127.0.9.0/24")]);
    let user = house.newcomer("insider").enrolled().add();
    for client in every_door(&house) {
        let inside = client.login(&house, &user.with_password().from([127, 0, 9, 7].into()));
        inside.must_be_granted(client.name());
        client.login(&house, &user.with_password().from([127, 0, 8, 7].into())).must_be_refused(client.name());
    }
}

#[test]
fn explain_tells_for_each_protocol_whether_a_code_is_due() {
    let house = House::open_with(&[(LIST, "ftp,webdav")]);
    let user = house.newcomer("asked").enrolled().add();
    let rows = house.run(&["otp", "explain", &user.name, "--json"]).json();
    let due: Vec<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["due"] == true)
        .filter_map(|row| row["protocol"].as_str())
        .collect();
    assert_eq!(due, ["ftp", "webdav"], "{rows}");
}
