//! The SMS factor against a gateway of its own: a TCP server that keeps what it was sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use lockgate_plugin::abi::{self, PluginTable};
use lockgate_plugin::exchange::{Fields, Instance, Table, What};

use super::*;

unsafe extern "C" {
    safe fn lockgate_plugin_v1() -> *const PluginTable;
}

/// What the gateway was sent.
struct Received {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A gateway that answers every request with `answer`.
struct TestGateway {
    address: String,
    received: Receiver<Received>,
}

impl TestGateway {
    fn answering(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (told, received) = channel();
        let answer = answer.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read_request(&stream);
                if told.send(request).is_err() {
                    return;
                }
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, received }
    }

    fn ok() -> Self {
        Self::answering("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}")
    }
}

fn read_request(stream: &TcpStream) -> Received {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Received { line: line.trim_end().to_owned(), headers, body: String::from_utf8(body).unwrap() }
}

fn fields(prefix: &str, pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| (format!("{prefix}{name}"), value.as_bytes().to_vec().into())).collect()
}

fn open(settings: &[(&str, &str)]) -> Result<Instance, String> {
    // SAFETY: the plugin of this crate, which is never unloaded.
    let table = unsafe { Table::read(lockgate_plugin_v1()) }.unwrap();
    table.open(fields("setting.", settings), 0)
}

fn refusal(settings: &[(&str, &str)]) -> String {
    open(settings).err().expect("refused")
}

const ALICE: [(&str, &str); 3] = [("user.name", "alice"), ("user.phone", "+49 170 1234567"), ("code", "482913")];

fn begin(plugin: &Instance, user: &[(&str, &str)]) -> (i32, String) {
    let (status, answer) = plugin.call(What::Begin, fields("", user), 0);
    let text = |wanted: &str| {
        let found = answer.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap())
    };
    (status, text("error").or_else(|| text("prompt")).unwrap_or_default())
}

#[test]
fn a_twilio_request_arrives_with_basic_and_a_form() {
    let gateway = TestGateway::ok();
    let url = format!("http://AC12:tok%3Aen@{}/2010-04-01/Accounts/AC12/Messages.json", gateway.address);
    let plugin = open(&[
        ("otp_url", &url),
        ("otp_post", "To={otp_to}&From={otp_from}&Body=Your code is {otp_token}"),
        ("otp_from", "+15005550006"),
    ])
    .unwrap();

    let (status, prompt) =
        begin(&plugin, &[("user.name", "alice"), ("user.phone", "+491701234567"), ("code", "482913")]);

    assert_eq!((status, prompt.as_str()), (abi::OK, "Code sent by text message to the number ending in 67"));
    let received = gateway.received.recv().unwrap();
    assert_eq!(received.line, "POST /2010-04-01/Accounts/AC12/Messages.json HTTP/1.1");
    // AC12:tok:en
    assert_eq!(received.header("authorization"), Some("Basic QUMxMjp0b2s6ZW4="));
    assert_eq!(received.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(received.body, "To=%2B491701234567&From=%2B15005550006&Body=Your%20code%20is%20482913");
}

#[test]
fn values_in_path_and_query_are_encoded_and_cannot_add_a_parameter() {
    let gateway = TestGateway::ok();
    let url = format!(
        "http://{}/send/{{user_x_area}}/sms?to={{otp_to}}&u={{otp_username}}&text=Code {{otp_token}}",
        gateway.address
    );
    let plugin = open(&[("otp_url", &url), ("otp_url_verb", "get"), ("otp_username", "a&b=c")]).unwrap();
    let user = [("user.phone", "1&to=2#\r\nX: y"), ("user.x_area", "a/../b?c"), ("code", "482913")];

    assert_eq!(begin(&plugin, &user).0, abi::OK);

    let received = gateway.received.recv().unwrap();
    assert_eq!(
        received.line,
        "GET /send/a%2F..%2Fb%3Fc/sms?to=1%26to%3D2%23%0D%0AX%3A%20y&u=a%26b%3Dc&text=Code%20482913 HTTP/1.1"
    );
    assert_eq!(received.header("x"), None);
}

#[test]
fn a_value_cannot_climb_out_of_its_path_segment() {
    let gateway = TestGateway::ok();
    let url = format!("http://{}/send/{{user_x_area}}/{{otp_token}}", gateway.address);
    let plugin = open(&[("otp_url", &url)]).unwrap();

    for area in ["..", "."] {
        let user = [("user.phone", "123456"), ("user.x_area", area), ("code", "482913")];
        assert_eq!(begin(&plugin, &user).0, abi::UNAVAILABLE, "{area}");
    }
    assert!(gateway.received.try_recv().is_err());
}

#[test]
fn a_json_body_takes_values_as_strings_only() {
    let gateway = TestGateway::ok();
    let url = format!("http://{}/", gateway.address);
    let plugin =
        open(&[("otp_url", &url), ("otp_post", r#"{"to":"{otp_to}","text":"code {otp_token} for {user_x_nick}"}"#)])
            .unwrap();
    let user = [("user.phone", "+49"), ("user.x_nick", "a\",\"to\":\"b\\\n{otp_token}"), ("code", "482913")];

    assert_eq!(begin(&plugin, &user).0, abi::OK);

    let received = gateway.received.recv().unwrap();
    assert_eq!(received.header("content-type"), Some("application/json"));
    assert_eq!(received.body, r#"{"to":"+49","text":"code 482913 for a\",\"to\":\"b\\\u000a{otp_token}"}"#);
    assert!(
        refusal(&[("otp_url", &url), ("otp_post", r#"{"to":{otp_to},"t":"{otp_token}"}"#)])
            .contains("outside a string")
    );
}

#[test]
fn credentials_come_from_the_operators_values_where_they_have_a_place() {
    let gateway = TestGateway::ok();
    let url = format!("http://{{otp_username}}:{{otp_password}}@{}/?c={{otp_token}}", gateway.address);
    let plugin = open(&[("otp_url", &url), ("otp_username", "me@home"), ("otp_password", "p@ss/w:rd")]).unwrap();

    assert_eq!(begin(&plugin, &ALICE).0, abi::OK);

    // me@home:p@ss/w:rd
    assert_eq!(gateway.received.recv().unwrap().header("authorization"), Some("Basic bWVAaG9tZTpwQHNzL3c6cmQ="));
}

#[test]
fn clear_text_is_refused_except_to_this_machine() {
    for url in [
        "http://gateway.example/?t={otp_token}",
        "http://127.0.0.1.example/?t={otp_token}",
        "http://localhost@gateway.example/{otp_token}",
    ] {
        assert!(refusal(&[("otp_url", url)]).contains("https://"), "{url}");
    }
    for url in [
        "http://127.0.0.1/?t={otp_token}",
        "http://[::1]:8/?t={otp_token}",
        "http://localhost/?t={otp_token}",
        "https://gateway.example/{otp_token}",
    ] {
        assert!(open(&[("otp_url", url)]).is_ok(), "{url}");
    }
}

#[test]
fn no_placeholder_can_stand_in_scheme_or_host() {
    for url in [
        "https://{otp_extra1}/?t={otp_token}",
        "https://a{user_x_host}.example/?t={otp_token}",
        "https://a.example:{otp_extra1}/?t={otp_token}",
        "{otp_extra1}://a.example/?t={otp_token}",
        "ftp://a.example/?t={otp_token}",
        "https:///{otp_token}",
        "https://a.example\\@b.example/{otp_token}",
    ] {
        assert!(open(&[("otp_url", url), ("otp_extra1", "b")]).is_err(), "{url}");
    }
}

#[test]
fn settings_that_cannot_send_a_code_are_refused_by_key() {
    let url = ("otp_url", "https://gateway.example/");
    assert!(refusal(&[url, ("otp_post", "To={otp_to}")]).contains("{otp_token}"));
    assert!(refusal(&[url, ("otp_post", "{otp_tokn}")]).contains("otp_post: {otp_tokn}"));
    assert!(refusal(&[url, ("otp_post", "{otp_token}"), ("otp_url_verb", "DELETE")]).contains("otp_url_verb"));
    assert!(refusal(&[url, ("otp_post", "{otp_token}"), ("otp_proxy", "socks5://p")]).contains("otp_proxy"));
    assert!(refusal(&[("otp_url", "SMTP")]).contains("email"));
}

#[test]
fn without_an_address_or_a_number_the_factor_does_not_serve() {
    let unset = open(&[]).unwrap();
    assert_eq!(unset.call(What::Serves, fields("", &ALICE), 0).0, abi::NO);
    assert_eq!(begin(&unset, &ALICE).0, abi::UNAVAILABLE);

    let set = open(&[("otp_url", "https://gateway.example/{otp_token}")]).unwrap();
    assert_eq!(set.call(What::Serves, fields("", &ALICE), 0).0, abi::OK);
    assert_eq!(set.call(What::Serves, fields("", &[("user.phone", " ")]), 0).0, abi::NO);
}

#[test]
fn a_redirect_is_not_followed_and_not_a_success() {
    let elsewhere = TestGateway::ok();
    let moved = format!("HTTP/1.1 307 Moved\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n", elsewhere.address);
    let gateway = TestGateway::answering(&moved);
    let plugin = open(&[("otp_url", &format!("http://{}/{{otp_token}}", gateway.address))]).unwrap();

    let (status, why) = begin(&plugin, &ALICE);

    assert_eq!((status, why.as_str()), (abi::UNAVAILABLE, "the gateway answered 307; redirects are not followed"));
    assert!(elsewhere.received.try_recv().is_err());
}

#[test]
fn a_refusal_is_reported_by_its_number_and_nothing_else() {
    let gateway = TestGateway::answering("HTTP/1.1 401 482913\r\nContent-Length: 6\r\n\r\n482913");
    let plugin = open(&[("otp_url", &format!("http://{}/{{otp_token}}", gateway.address))]).unwrap();

    assert_eq!(begin(&plugin, &ALICE), (abi::UNAVAILABLE, "the gateway answered 401".to_owned()));
}

#[test]
fn an_answer_that_never_comes_or_never_ends_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let plugin = open(&[("otp_url", &format!("http://{}/{{otp_token}}", silent.local_addr().unwrap()))]).unwrap();
    let started = Instant::now();
    assert_eq!(begin(&plugin, &ALICE), (abi::UNAVAILABLE, "the gateway did not answer in time".to_owned()));
    assert!(started.elapsed() < Duration::from_secs(5));

    let endless = TestGateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n...");
    let plugin = open(&[("otp_url", &format!("http://{}/{{otp_token}}", endless.address))]).unwrap();
    assert_eq!(begin(&plugin, &ALICE).0, abi::OK);
}

#[test]
fn a_gateway_that_is_away_is_reported_without_its_address() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plugin = open(&[("otp_url", &format!("http://{gone}/{{otp_token}}"))]).unwrap();

    let (status, why) = begin(&plugin, &ALICE);

    assert_eq!(status, abi::UNAVAILABLE);
    assert!(why.contains("cannot be reached") && !why.contains("482913") && !why.contains("127.0.0.1"), "{why}");
}

#[test]
fn a_proxy_is_used_where_it_is_set() {
    let proxy = TestGateway::ok();
    let plugin = open(&[("otp_url", "http://127.0.0.1:1/{otp_token}"), ("otp_proxy", &proxy.address)]).unwrap();

    assert_eq!(begin(&plugin, &ALICE).0, abi::OK);

    assert_eq!(proxy.received.recv().unwrap().line, "POST http://127.0.0.1:1/482913 HTTP/1.1");
    let outside = [("otp_url", "http://127.0.0.1:1/{otp_token}"), ("otp_proxy", "http://proxy.example:3128")];
    assert!(refusal(&outside).contains("otp_proxy"));
}

#[test]
fn a_short_number_is_not_shown_at_all() {
    assert_eq!(prompt("+12"), "Code sent by text message");
    assert_eq!(prompt("+1-23-45"), "Code sent by text message to the number ending in 45");
}
