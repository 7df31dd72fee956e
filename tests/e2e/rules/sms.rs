//! Codes by SMS: the request is exactly the one that was configured, and goes to nobody who is not owed one.

use crate::{
    clients::{Client, Login, every_door},
    house::House,
    newcomer::User,
    standins::provider::{ACCOUNT, Mood, Provider, SENDER, TOKEN},
    waiting,
};
use std::time::{Duration, Instant};

/// A house that sends its codes through `provider`.
pub fn house_with(provider: &Provider, more: &[(&str, &str)]) -> House {
    let prefs = provider.prefs();
    let mut all: Vec<(&str, &str)> = prefs.iter().map(|(key, value)| (*key, value.as_str())).collect();
    all.extend(more);
    House::open_with(&all)
}

/// A user with a phone for each door, and the number.
fn subscribers(house: &House) -> Vec<(Box<dyn Client>, User, String)> {
    every_door(house)
        .into_iter()
        .enumerate()
        .map(|(n, client)| {
            let number = format!("+155501{n:02}");
            let user = house.newcomer(client.name()).with(&["--otp", "--phone", &number]).add();
            (client, user, number)
        })
        .collect()
}

#[test]
fn the_code_that_was_sent_opens_the_door_it_was_asked_for() {
    let provider = Provider::open();
    let house = house_with(&provider, &[]);
    for (client, user, number) in subscribers(&house) {
        client.login(&house, &user.asking(&|| provider.code(&number, 1))).must_be_granted(client.name());
        assert_eq!(provider.sent_to(&number).len(), 1, "{}: one login, one message", client.name());
    }
}

#[test]
fn the_request_is_the_one_of_the_templates() {
    let provider = Provider::open();
    let house = house_with(&provider, &[]);
    let user = house.newcomer("texted").with(&["--otp", "--phone", "+15550199"]).add();
    let web = &every_door(&house)[4];
    web.login(&house, &user.asking(&|| provider.code("+15550199", 1))).must_be_granted(web.name());
    let requests = provider.requests();
    let [request] = &requests[..] else { panic!("one request was wanted: {requests:#?}") };
    assert_eq!(request.method, "POST");
    assert_eq!(request.target, format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json"));
    assert_eq!(
        request.field("authorization"),
        Some(format!("Basic {}", base64(&format!("{ACCOUNT}:{TOKEN}"))).as_str())
    );
    assert_eq!(request.field("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(request.field("host"), Some(provider.address().to_string().as_str()));
    let code = request.form("Body").unwrap();
    assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
    // A plus sign in a form would be a blank.
    assert_eq!(request.body, format!("To=%2B15550199&From={}&Body={code}", SENDER.replace('+', "%2B")));
}

#[test]
fn who_has_no_phone_or_no_flag_is_sent_nothing() {
    let provider = Provider::open();
    let house = house_with(&provider, &[]);
    let unflagged = house.newcomer("unflagged").with(&["--phone", "+15550101"]).add();
    let phoneless = house.newcomer("phoneless").with(&["--otp"]).add();
    for client in every_door(&house) {
        client.login(&house, &unflagged.with_password()).must_be_granted(client.name());
        client.login(&house, &phoneless.with_password()).must_be_refused(client.name());
    }
    assert_eq!(provider.requests().len(), 0, "{:#?}", provider.requests());
}

#[test]
fn a_wrong_password_or_an_unknown_name_sends_nothing() {
    let provider = Provider::open();
    let house = house_with(&provider, &[]);
    for (client, user, _) in subscribers(&house) {
        client.login(&house, &Login::new(&user.name, "not the password")).must_be_refused(client.name());
        client.login(&house, &Login::new("nobody", &user.password)).must_be_refused(client.name());
    }
    assert_eq!(provider.requests().len(), 0, "{:#?}", provider.requests());
}

#[test]
fn a_code_that_is_past_its_time_opens_no_door() {
    let life = Duration::from_secs(2);
    let provider = Provider::open();
    let house = house_with(&provider, &[("otp_token_timeout", &life.as_millis().to_string())]);
    for (client, user, number) in subscribers(&house) {
        let late = || {
            let code = provider.code(&number, 1)?;
            let end = Instant::now() + life + Duration::from_millis(300);
            waiting::holds(life * 2, || Instant::now() > end).then_some(code)
        };
        client.login(&house, &user.asking(&late)).must_be_refused(client.name());
    }
}

#[test]
fn a_sent_code_alone_is_never_enough_and_works_once() {
    let provider = Provider::open();
    let house = house_with(&provider, &[]);
    for (n, (client, user, number)) in (0..).zip(subscribers(&house)) {
        client.login(&house, &user.asking(&|| provider.code(&number, 1))).must_be_granted(client.name());
        let code = provider.code(&number, 1).unwrap();
        // An address each: so many refusals from one end in a ban.
        let elsewhere = [127, 0, 3, n].into();
        for other in every_door(&house) {
            other.login(&house, &Login::new(&user.name, &code).from(elsewhere)).must_be_refused(other.name());
            other.login(&house, &user.with(&code).from(elsewhere)).must_be_refused(other.name());
        }
    }
}

#[test]
fn a_sent_code_is_good_only_where_it_was_asked_for() {
    let provider = Provider::open();
    let house = house_with(&provider, &[]);
    for (n, (client, user, number)) in (0..).zip(subscribers(&house)) {
        let elsewhere = || {
            let code = provider.code(&number, 1)?;
            for other in every_door(&house) {
                other.login(&house, &user.with(&code).from([127, 0, 4, n].into())).must_be_refused(format!(
                    "a code of {} from elsewhere on {}",
                    client.name(),
                    other.name()
                ));
            }
            Some(code)
        };
        client
            .login(&house, &user.asking(&elsewhere))
            .must_be_granted(format!("{}: where it was asked for", client.name()));
    }
}

#[test]
fn a_client_that_tries_again_at_once_is_sent_nothing_new_and_its_code_stays_good() {
    let provider = Provider::open();
    let house = house_with(&provider, &[]);
    let number = "+15550177";
    let user = house.newcomer("impatient").with(&["--otp", "--phone", number]).add();
    let ftp = &every_door(&house)[0];
    ftp.login(&house, &user.with_password()).must_be_refused("the first try");
    let code = provider.code(number, 1).unwrap();
    for _ in 0..3 {
        ftp.login(&house, &user.with_password()).must_be_refused("an impatient client");
    }
    assert_eq!(provider.sent_to(number).len(), 1);
    ftp.login(&house, &user.with(&code)).must_be_granted("the code of the first try");
}

#[test]
fn a_provider_that_fails_ends_in_a_refusal_and_a_line_in_the_log() {
    for mood in [Mood::Answers(401), Mood::Answers(500), Mood::TalksNonsense] {
        let provider = Provider::open();
        let house = house_with(&provider, &[]);
        provider.be(mood);
        for (client, user, number) in subscribers(&house) {
            // Whatever was sent did not arrive, says the provider; the door must not take it for sent.
            client.login(&house, &user.with_password()).must_be_refused(format!("{} with {mood:?}", client.name()));
            assert!(provider.code(&number, 1).is_some(), "{}: the provider was not asked", client.name());
        }
        let failures =
            house.audit().into_iter().filter(|record| record["kind"] == "code_sent" && record["delivered"] == false);
        assert!(failures.count() > 0, "{mood:?} is not in the audit file");
    }
}

#[test]
fn the_proxy_is_asked_where_one_is_named() {
    let proxy = Provider::open();
    let prefs = proxy.prefs();
    let away = prefs.iter().map(|(key, value)| (*key, value.replace(&proxy.address().to_string(), "127.0.0.1:1")));
    let away: Vec<(&str, String)> = away.chain([("otp_proxy", format!("http://{}", proxy.address()))]).collect();
    let away: Vec<(&str, &str)> = away.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let house = House::open_with(&away);
    let user = house.newcomer("proxied").with(&["--otp", "--phone", "+15550188"]).add();
    let web = &every_door(&house)[4];
    web.login(&house, &user.asking(&|| proxy.code("+15550188", 1))).must_be_granted(web.name());
    let target = &proxy.requests()[0].target;
    assert_eq!(*target, format!("http://127.0.0.1:1/2010-04-01/Accounts/{ACCOUNT}/Messages.json"));
}

#[test]
fn a_request_in_clear_to_another_host_is_refused_as_a_setting() {
    let house = House::made();
    let ran = house.run(&["prefs", "set", "otp_url", "http://sms.example.org/send"]);
    assert!(ran.code() != 0 && ran.stderr.contains("otp_url"), "{ran}");
}

fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = text.as_bytes().chunks(3).map(|group| {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        (0..4)
            .map(|place| {
                let index = (bits >> (18 - 6 * place)) as usize & 63;
                if place <= group.len() { char::from(ALPHABET[index]) } else { '=' }
            })
            .collect::<String>()
    });
    groups.collect()
}
