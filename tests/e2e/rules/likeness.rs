//! Refusals look alike: who does not exist, who is disabled, whose password or code was wrong.

use super::enrolled_for_each_door;
use crate::{
    clients::{Client, Login, every_door},
    house::House,
};

/// What the client was told, without what differs from request to request.
fn told(house: &House, client: &dyn Client, login: &Login<'_>) -> String {
    let reply = client.login(house, login);
    reply.must_be_refused(client.name());
    let varying = ["date:", "x-request-id:", "set-cookie:"];
    let lines = reply.said.lines().filter(|line| !varying.iter().any(|name| line.to_lowercase().starts_with(name)));
    lines.map(|line| line.replace(login.name, "NAME")).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_unknown_name_a_disabled_user_and_a_wrong_password_are_refused_in_the_same_words() {
    let house = House::open();
    let known = house.newcomer("known").add();
    let disabled = house.newcomer("gone").add();
    house.run(&["user", "set", &disabled.name, "--disable"]).ok();
    let enrolled = house.newcomer("coded").enrolled().add();
    for client in every_door(&house) {
        let mistaken = told(&house, &*client, &Login::new(&known.name, "not the password"));
        let stranger = told(&house, &*client, &Login::new("nobody", "not the password"));
        let shut_out = told(&house, &*client, &disabled.with_password());
        let behind_a_code = told(&house, &*client, &Login::new(&enrolled.name, "not the password"));
        for (whom, other) in [("unknown", &stranger), ("disabled", &shut_out), ("enrolled", &behind_a_code)] {
            assert_eq!(&mistaken, other, "{}: {whom}", client.name());
        }
        // Doors that cannot ask say no more where the password was right and the code missing or wrong.
        if matches!(client.protocol(), "ftp" | "ftps" | "webdav") {
            let codeless = told(&house, &*client, &enrolled.with_password());
            let wrong = told(&house, &*client, &enrolled.with(&enrolled.app().wrong_code()));
            assert_eq!((&mistaken, &mistaken), (&codeless, &wrong), "{}: right password", client.name());
        }
    }
}

#[test]
fn another_spelling_of_a_name_is_another_name_or_the_very_user() {
    let house = House::open();
    let user = house.newcomer("spelt").enrolled().add();
    for client in every_door(&house) {
        for name in [
            "Spelt",
            "SPELT",
            "spelt ",
            " spelt",
            "spelt.",
            "sp\u{200b}elt",
            "\u{ff53}pelt",
            "./spelt",
            "DOMAIN\\spelt",
        ] {
            let reply = client.login(&house, &Login::new(name, &user.password));
            assert_ne!(
                reply.verdict,
                crate::clients::Verdict::Granted,
                "{}: {name:?} with the password alone",
                client.name()
            );
        }
    }
}

#[test]
fn no_secret_is_in_the_log_the_audit_file_or_the_preferences_shown() {
    let mut house = House::made();
    house.set_variable("LOCKGATE_LOG", "trace");
    house.serve();
    house.set(&[
        ("otp_username", "account"),
        ("otp_password", "canary-provider-secret"),
        ("smtp_pass", "canary-mail-secret"),
    ]);
    let users = enrolled_for_each_door(&house);
    let mut secrets = vec!["canary-provider-secret".to_owned(), "canary-mail-secret".to_owned()];
    for (client, user) in &users {
        let (code, wrong) = (user.code(), user.app().wrong_code());
        client.login(&house, &user.with(&wrong)).must_be_refused(client.name());
        client.login(&house, &user.with_password()).must_be_refused(client.name());
        client.login(&house, &user.with(&code)).must_be_granted(client.name());
        secrets.extend([user.password.clone(), user.recovery[0].clone(), format!(":{code}"), format!(":{wrong}")]);
    }
    let shown = house.run(&["prefs", "show"]).ok();
    let audit = std::fs::read_to_string(house.home().join("logs/audit.jsonl")).unwrap_or_default();
    let prefs = std::fs::read_to_string(house.prefs_file()).unwrap();
    for (place, text) in [("the log", house.log()), ("the audit file", audit), ("prefs show", shown)] {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{place} has {secret}");
        }
    }
    // Set by a command, a secret is sealed in the file itself.
    assert!(!prefs.contains("canary-provider-secret") && !prefs.contains("canary-mail-secret"), "{prefs}");
}

#[test]
fn each_try_is_one_record_of_the_audit_file() {
    let house = House::open();
    for client in every_door(&house) {
        // A user each: a login that is remembered from another client's is no new login.
        let user = house.newcomer(client.name()).add();
        let records = || house.audit().into_iter().filter(|record| record["kind"] == "login").collect::<Vec<_>>();
        let before = records().len();
        let hostile = "evil\r\n{\"kind\":\"login\"}\u{1b}[31m";
        client.login(&house, &Login::new("nobody", "not the password")).must_be_refused(client.name());
        client.login(&house, &user.with_password()).must_be_granted(client.name());
        let fresh = records().split_off(before);
        let results: Vec<_> =
            fresh.iter().map(|record| (record["user"].as_str().unwrap(), record["result"].as_str().unwrap())).collect();
        assert!(
            results.contains(&("nobody", "denied")) && results.contains(&(client.name(), "granted")),
            "{}: {results:?}",
            client.name()
        );
        for record in &fresh {
            assert_eq!(
                (&record["protocol"], &record["address"]),
                (&client.protocol().into(), &"127.0.0.1".into()),
                "{record}"
            );
        }
        if matches!(client.protocol(), "http" | "https") {
            client.login(&house, &Login::new(hostile, "not the password"));
            assert_eq!(records().len(), before + fresh.len() + 1, "a name with line breaks made other than one record");
        }
    }
}
