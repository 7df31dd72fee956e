//! App passwords: for clients that cannot give a code.

use crate::{
    clients::{Login, every_door},
    house::House,
};
use serde_json::Value;

#[test]
fn an_app_password_opens_the_doors_it_names_without_a_code_and_no_other() {
    let house = House::open();
    let user = house.newcomer("mounter").enrolled().add();
    let secret = made(&house, &user.name, "sftp,webdav");
    for client in every_door(&house) {
        let reply = client.login(&house, &Login::new(&user.name, &secret));
        match client.protocol() {
            "sftp" | "webdav" => reply.must_be_granted(client.name()),
            _ => reply.must_be_refused(client.name()),
        }
    }
}

#[test]
fn a_removed_app_password_opens_nothing() {
    let house = House::open();
    let user = house.newcomer("mounter").enrolled().add();
    let secret = made(&house, &user.name, "ftp,ftps,sftp,http,https,webdav");
    let list = house.run(&["user", "app-password", "list", &user.name, "--json"]).json();
    let id = list[0]["id"].as_str().unwrap().to_owned();
    house.run(&["user", "app-password", "del", &user.name, &id]).ok();
    for client in every_door(&house) {
        client.login(&house, &Login::new(&user.name, &secret)).must_be_refused(client.name());
    }
}

#[test]
fn app_passwords_can_be_switched_off_as_a_kind() {
    let house = House::open_with(&[("otp_app_passwords", "false")]);
    let user = house.newcomer("mounter").enrolled().add();
    let ran = house.run(&["user", "app-password", "add", &user.name, "--protocols", "sftp", "--json"]);
    // Refusing to make one is as good as making one that opens nothing.
    if ran.code() == 0 {
        let secret = ran.json()["password"].as_str().unwrap().to_owned();
        for client in every_door(&house) {
            client.login(&house, &Login::new(&user.name, &secret)).must_be_refused(client.name());
        }
    }
}

fn made(house: &House, name: &str, protocols: &str) -> String {
    let made: Value = house.run(&["user", "app-password", "add", name, "--protocols", protocols, "--json"]).json();
    made["password"].as_str().unwrap_or_else(|| panic!("no password in {made}")).to_owned()
}
