//! The email factor against a mail server of its own, that keeps what it was told and what it was sent.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use lockgate_plugin::abi::{self, PluginTable};
use lockgate_plugin::exchange::{Fields, Instance, Table, What};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::route::Mode;

unsafe extern "C" {
    safe fn lockgate_plugin_v1() -> *const PluginTable;
}

/// One conversation: commands (without the letter) and the letter as it came over the wire.
#[derive(Debug, Default, PartialEq, Eq)]
struct Talk {
    commands: Vec<String>,
    letter: String,
    encrypted: bool,
}

impl Talk {
    fn recipients(&self) -> Vec<&str> {
        self.commands.iter().filter_map(|line| line.strip_prefix("RCPT TO:")).collect()
    }

    fn headers(&self) -> Vec<&str> {
        let head = self.letter.split("\r\n\r\n").next().unwrap();
        head.split("\r\n").filter(|line| !line.starts_with([' ', '\t'])).collect()
    }

    fn header(&self, name: &str) -> Vec<&str> {
        self.headers().into_iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
    }

    fn body(&self) -> &str {
        self.letter.split_once("\r\n\r\n").unwrap().1.trim_end()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Clear,
    StartTls,
    Wrapped,
    /// Takes the connection and says nothing.
    Nothing,
    /// Refuses every recipient.
    Refusing,
}

struct TestServer {
    port: u16,
    /// The authority of its certificate, as PEM.
    authority: String,
    talks: Receiver<Talk>,
}

impl TestServer {
    fn that(speaks: Speaks) -> Self {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], key.signing_key.serialize_der().try_into().unwrap())
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (told, talks) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut talk = Talk::default();
                // A client that breaks off is part of some tests.
                let _ = serve(stream.unwrap(), speaks, &config, &mut talk);
                if told.send(talk).is_err() {
                    return;
                }
            }
        });
        Self { port, authority: key.cert.pem(), talks }
    }
}

fn serve(mut stream: TcpStream, speaks: Speaks, tls: &Arc<ServerConfig>, talk: &mut Talk) -> std::io::Result<()> {
    match speaks {
        Speaks::Nothing => {
            let _ = stream.read(&mut [0]);
            Ok(())
        }
        Speaks::Wrapped => encrypted(stream, tls, talk, true),
        _ => {
            stream.write_all(b"220 test\r\n")?;
            let start = converse(&mut stream, speaks, talk)?;
            if start { encrypted(stream, tls, talk, false) } else { Ok(()) }
        }
    }
}

fn encrypted(stream: TcpStream, tls: &Arc<ServerConfig>, talk: &mut Talk, greet: bool) -> std::io::Result<()> {
    let connection = ServerConnection::new(Arc::clone(tls)).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    if greet {
        stream.write_all(b"220 test\r\n")?;
    }
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    talk.encrypted = true;
    converse(&mut stream, Speaks::Clear, talk).map(|_| ())
}

/// Until the client quits; `true` where it asked for STARTTLS.
fn converse(stream: &mut (impl Read + Write), speaks: Speaks, talk: &mut Talk) -> std::io::Result<bool> {
    loop {
        let command = line(stream)?;
        let word = command.split(' ').next().unwrap_or_default().to_ascii_uppercase();
        talk.commands.push(command);
        let answer: &[u8] = match word.as_str() {
            "EHLO" if speaks == Speaks::StartTls => b"250-test\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
            "EHLO" => b"250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n",
            "AUTH" => b"235 welcome\r\n",
            "STARTTLS" => {
                stream.write_all(b"220 go\r\n")?;
                return Ok(true);
            }
            "RCPT" if speaks == Speaks::Refusing => b"550 no such user 482913\r\n",
            "DATA" => {
                stream.write_all(b"354 go\r\n")?;
                loop {
                    let part = line(stream)?;
                    if part == "." {
                        break;
                    }
                    talk.letter.push_str(&part);
                    talk.letter.push_str("\r\n");
                }
                b"250 taken\r\n"
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n")?;
                return Ok(false);
            }
            _ => b"250 fine\r\n",
        };
        stream.write_all(answer)?;
    }
}

/// One line that ends in CR LF; a bare LF would be a way to smuggle and is kept in it.
fn line(stream: &mut impl Read) -> std::io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.extend(byte);
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8(line).unwrap())
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

fn begin(plugin: &Instance, user: &[(&str, &str)]) -> (i32, String) {
    let (status, answer) = plugin.call(What::Begin, fields("", user), 0);
    let text = |wanted: &str| {
        let found = answer.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap())
    };
    (status, text("error").or_else(|| text("prompt")).unwrap_or_default())
}

/// A plugin on a clear-text server with these settings besides, one letter sent, and the conversation.
fn sent(settings: &[(&str, &str)], user: &[(&str, &str)]) -> Talk {
    let server = TestServer::that(Speaks::Clear);
    let address = format!("127.0.0.1:{}", server.port);
    let mut all = vec![("smtp_server", address.as_str()), ("smtp_from", "codes@example.org")];
    all.extend(settings);
    let plugin = open(&all).unwrap();
    assert_eq!(begin(&plugin, user), (abi::OK, "Code sent by email".to_owned()));
    server.talks.recv().unwrap()
}

const ALICE: [(&str, &str); 3] = [("user.name", "alice"), ("user.email", "alice@example.net"), ("code", "482913")];

#[test]
fn without_a_template_the_built_in_letter_goes_to_the_user() {
    let talk = sent(&[], &ALICE);

    assert_eq!(talk.recipients(), ["<alice@example.net>"]);
    assert!(talk.commands.iter().any(|line| line.starts_with("MAIL FROM:<codes@example.org>")));
    assert_eq!(talk.header("To"), ["alice@example.net"]);
    assert_eq!(talk.header("Subject"), ["Your verification code"]);
    assert_eq!(talk.header("Auto-Submitted"), ["auto-generated"]);
    assert!(talk.body().contains("code is 482913") && talk.body().contains("log in as alice"), "{}", talk.body());
}

#[test]
fn a_template_is_filled_with_the_users_values() {
    let talk = sent(
        &[
            ("template.emailFrom", "Gate of {user_x_house} <gate@example.org>"),
            ("template.emailReplyTo", "help@example.org"),
            ("template.emailCC", "Boss <{user_x_boss}>; {user_x_none}, second@example.org"),
            ("template.emailBCC", "log@example.org"),
            ("template.emailSubject", "{auth_token} for {user_name}"),
            ("template.emailBody", "Dear {user_x_first},\r\n{auth_token}\r\nsent to {user_email}, braces {stay}"),
        ],
        &[&ALICE[..], &[("user.x_house", "Alba"), ("user.x_boss", "bo@example.net"), ("user.x_first", "Al")]].concat(),
    );

    assert_eq!(talk.header("From"), ["\"Gate of Alba\" <gate@example.org>"]);
    assert_eq!(talk.header("Reply-To"), ["help@example.org"]);
    assert_eq!(talk.header("Cc"), ["Boss <bo@example.net>, second@example.org"]);
    assert_eq!(talk.header("Bcc"), Vec::<&str>::new());
    assert_eq!(talk.header("Subject"), ["482913 for alice"]);
    assert_eq!(talk.body(), "Dear Al,\r\n482913\r\nsent to alice@example.net, braces {stay}");
    let mut recipients = talk.recipients();
    recipients.sort_unstable();
    assert_eq!(recipients, ["<alice@example.net>", "<bo@example.net>", "<log@example.org>", "<second@example.org>"]);
}

#[test]
fn line_ends_in_a_value_add_no_header_and_no_recipient() {
    let template = [
        ("template.emailFrom", "{user_x_first} <gate@example.org>"),
        ("template.emailSubject", "Code for {user_name} {user_x_first}"),
        ("template.emailBody", "{user_x_first} {auth_token}"),
    ];
    let plain = sent(&template, &[&ALICE[..], &[("user.x_first", "Al")]].concat());
    let nasty = "Al\r\nBcc: eve@example.com\r\n\r\n.\r\nMAIL FROM:<eve@example.com>\n.\nRCPT TO:<eve@example.com>\r.\r";

    let attacked = sent(
        &template,
        &[("user.name", nasty), ("user.email", "alice@example.net"), ("code", "482913"), ("user.x_first", nasty)],
    );

    let names = |talk: &Talk| -> Vec<String> {
        talk.headers().iter().map(|line| line.split(':').next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&attacked), [&names(&plain)[..], &[]].concat());
    assert_eq!(attacked.recipients(), ["<alice@example.net>"]);
    let commands =
        |talk: &Talk| talk.commands.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(commands(&attacked), commands(&plain));
    assert!(attacked.letter.contains("482913"));
}

#[test]
fn an_address_that_is_more_than_an_address_is_refused_and_nothing_is_sent() {
    let server = TestServer::that(Speaks::Clear);
    let address = format!("127.0.0.1:{}", server.port);
    let plugin = open(&[
        ("smtp_server", &address),
        ("smtp_from", "codes@example.org"),
        ("template.emailCC", "{user_x_boss}"),
        ("template.emailBody", "{auth_token}"),
    ])
    .unwrap();

    for nasty in [
        "a@example.net, b@example.net",
        "a@example.net>\r\nRCPT TO:<b@example.net",
        "<a@example.net>",
        "\"a b\"@example.net",
        "a@b@example.net",
        "a%b@example.net@example.org",
        "a",
        "a@",
    ] {
        let as_recipient = [("user.name", "alice"), ("user.email", nasty), ("code", "482913")];
        assert_eq!(begin(&plugin, &as_recipient).0, abi::UNAVAILABLE, "{nasty}");
        let as_copy = [&ALICE[..], &[("user.x_boss", nasty)]].concat();
        assert_eq!(begin(&plugin, &as_copy).0, abi::UNAVAILABLE, "{nasty}");
    }
    assert!(server.talks.try_recv().is_err());
}

#[test]
fn placeholders_inside_a_users_value_come_out_literally() {
    let user = [&ALICE[..], &[("user.x_first", "{auth_token} {user_name}")]].concat();

    let talk = sent(&[("template.emailSubject", "{user_x_first}"), ("template.emailBody", "{auth_token}")], &user);

    assert_eq!(talk.header("Subject"), ["{auth_token} {user_name}"]);
}

#[test]
fn in_an_html_letter_a_users_value_stays_text() {
    let user = [&ALICE[..], &[("user.x_first", "<a href='http://evil'>&\"")]].concat();

    let talk = sent(&[("smtp_html", "true"), ("template.emailBody", "<b>{auth_token}</b> {user_x_first}")], &user);

    assert_eq!(talk.header("Content-Type"), ["text/html; charset=utf-8"]);
    assert_eq!(talk.body(), "<b>482913</b> &lt;a href=&#39;http://evil&#39;&gt;&amp;&quot;");
}

#[test]
fn lines_of_a_dot_do_not_end_the_letter() {
    let talk = sent(&[("template.emailBody", "one\n.\n..two\nbare\r{auth_token}")], &ALICE);

    assert_eq!(talk.body(), "one\r\n..\r\n...two\r\nbare\r\n482913");
}

#[test]
fn credentials_go_over_tls_with_the_operators_authority() {
    for speaks in [Speaks::StartTls, Speaks::Wrapped] {
        let server = TestServer::that(speaks);
        let (port, wrapped) = (server.port.to_string(), (speaks == Speaks::Wrapped).to_string());
        let plugin = open(&[
            ("smtp_server", "localhost"),
            ("smtp_port", &port),
            ("smtp_ssl", &wrapped),
            ("smtp_user", "codes@example.org"),
            ("smtp_pass", "pass word"),
            ("smtp_tls_ca", &server.authority),
        ])
        .unwrap();

        assert_eq!(begin(&plugin, &ALICE), (abi::OK, "Code sent by email".to_owned()));

        let talk = server.talks.recv().unwrap();
        assert!(talk.encrypted && talk.letter.contains("482913"));
        let login = talk.commands.iter().position(|line| line.starts_with("AUTH PLAIN")).unwrap();
        let start = talk.commands.iter().position(|line| line == "STARTTLS");
        assert!(start.is_none_or(|start| start < login), "{:?}", talk.commands);
    }
}

#[test]
fn a_server_with_another_certificate_learns_neither_password_nor_letter() {
    let stranger = TestServer::that(Speaks::Clear).authority;
    for speaks in [Speaks::StartTls, Speaks::Wrapped] {
        let server = TestServer::that(speaks);
        let (port, wrapped) = (server.port.to_string(), (speaks == Speaks::Wrapped).to_string());
        let plugin = open(&[
            ("smtp_server", "localhost"),
            ("smtp_port", &port),
            ("smtp_ssl", &wrapped),
            ("smtp_user", "codes@example.org"),
            ("smtp_pass", "pass word"),
            ("smtp_tls_ca", &stranger),
        ])
        .unwrap();

        let (status, why) = begin(&plugin, &ALICE);

        assert_eq!(status, abi::UNAVAILABLE);
        assert!(!why.contains("482913"), "{why}");
        let talk = server.talks.recv().unwrap();
        assert!(talk.letter.is_empty());
        assert!(
            !talk.commands.iter().any(|line| line.starts_with("AUTH") || line.starts_with("MAIL")),
            "{:?}",
            talk.commands
        );
    }
}

fn route(settings: &[(&str, &str)]) -> (String, u16, Mode) {
    use std::sync::Mutex;
    // A route is made of settings, which come out of a call; this plugin keeps what it read.
    static READ: Mutex<Option<(String, u16, Mode)>> = Mutex::new(None);
    struct Probe;
    impl Plugin for Probe {
        fn open(settings: &Settings<'_>) -> Result<Self, Failure> {
            let route = Route::parse(settings)?.ok_or_else(|| Failure::error("no server"))?;
            let (host, port, mode) = route.facts();
            *READ.lock().unwrap() = Some((host.to_owned(), port, mode));
            Ok(Self)
        }
    }
    let table = PluginTable {
        abi: abi::ABI,
        size: size_of::<PluginTable>() as u32,
        roles: abi::EVENTS,
        flags: 0,
        name: c"probe".as_ptr(),
        version: c"1".as_ptr(),
        summary: c"probe".as_ptr(),
        settings: std::ptr::null(),
        open: Some(lockgate_plugin::export::open::<Probe>),
        close: None,
        serves: None,
        enroll: None,
        begin: None,
        verify: None,
        check_password: None,
        event: Some(never),
    };
    unsafe extern "C" fn never(_: *mut std::ffi::c_void, _: *mut abi::RawCall) -> i32 {
        abi::ERROR
    }
    // SAFETY: leaked, so it lives as long as the process.
    let table = unsafe { Table::read(Box::leak(Box::new(table))) }.unwrap();
    drop(table.open(fields("setting.", settings), 0).unwrap());
    READ.lock().unwrap().take().unwrap()
}

#[test]
fn to_another_machine_there_is_tls_or_nothing() {
    let to = |server: &'static str, more: &[(&'static str, &'static str)]| {
        let mut all = vec![("smtp_server", server)];
        all.extend(more);
        route(&all)
    };
    let mail = "mail.example.org";
    assert_eq!(to(mail, &[]), (mail.to_owned(), 587, Mode::StartTls));
    assert_eq!(to("mail.example.org:2525", &[]).1, 2525);
    assert_eq!(to(mail, &[("smtp_ssl", "true")]), (mail.to_owned(), 465, Mode::Wrapped));
    assert_eq!(to("127.0.0.1", &[]), ("127.0.0.1".to_owned(), 25, Mode::StartTlsIfOffered));
    assert_eq!(to("[::1]:26", &[("smtp_start_tls_allowed", "false")]), ("::1".to_owned(), 26, Mode::Clear));
    assert_eq!(to("::1", &[("smtp_port", "27")]).1, 27);

    let clear = [("smtp_server", mail), ("smtp_start_tls_allowed", "false"), ("smtp_from", "a@example.org")];
    assert!(refusal(&clear).contains("in clear"));
}

#[test]
fn settings_that_make_no_letter_are_refused_by_key() {
    let server = ("smtp_server", "localhost");
    let from = ("smtp_from", "codes@example.org");
    assert!(refusal(&[server]).contains("smtp_from"));
    assert!(refusal(&[server, ("smtp_from", "a b@example.org")]).contains("smtp_from is no address"));
    assert!(refusal(&[server, from, ("template.emailBody", "no code")]).contains("{auth_token}"));
    assert!(refusal(&[server, from, ("template.emailBody", "{auth_tokn}")]).contains("{auth_tokn}"));
    assert!(refusal(&[server, from, ("smtp_tls_ca", "/nowhere/ca.pem")]).contains("smtp_tls_ca"));
    assert!(refusal(&[server, from, ("smtp_tls_ca", "-----BEGIN NOTHING-----")]).contains("no certificate"));
    assert!(refusal(&[server, from, ("smtp_port", "0")]).contains("smtp_port"));
    assert!(refusal(&[("smtp_server", "a b"), from]).contains("smtp_server"));
}

#[test]
fn without_a_server_or_an_address_the_factor_does_not_serve() {
    let unset = open(&[]).unwrap();
    assert_eq!(unset.call(What::Serves, fields("", &ALICE), 0).0, abi::NO);
    assert_eq!(begin(&unset, &ALICE).0, abi::UNAVAILABLE);

    let set = open(&[("smtp_server", "localhost"), ("smtp_from", "codes@example.org")]).unwrap();
    assert_eq!(set.call(What::Serves, fields("", &ALICE), 0).0, abi::OK);
    assert_eq!(set.call(What::Serves, fields("", &[("user.name", "bob")]), 0).0, abi::NO);
}

#[test]
fn a_refusal_is_reported_by_its_number_and_nothing_else() {
    let server = TestServer::that(Speaks::Refusing);
    let address = format!("127.0.0.1:{}", server.port);
    let plugin = open(&[("smtp_server", &address), ("smtp_from", "codes@example.org")]).unwrap();

    assert_eq!(begin(&plugin, &ALICE), (abi::UNAVAILABLE, "the mail server answered 550".to_owned()));
}

#[test]
fn a_silent_server_is_given_up_in_time() {
    let server = TestServer::that(Speaks::Nothing);
    let address = format!("127.0.0.1:{}", server.port);
    let plugin = open(&[("smtp_server", &address), ("smtp_from", "codes@example.org")]).unwrap();
    let started = Instant::now();

    let (status, why) = begin(&plugin, &ALICE);

    assert_eq!((status, why.as_str()), (abi::UNAVAILABLE, "the mail server did not answer in time"));
    assert!(started.elapsed() < Duration::from_secs(5));
}
