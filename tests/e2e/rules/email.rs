//! Codes by email: a real SMTP conversation over each kind of line, the template's words, and no header of a stranger's.

use crate::{
    clients::every_door,
    house::House,
    standins::mail::{Line, MailServer, Message},
};

/// A house that mails its codes through a server of this kind.
fn house_with(line: Line, more: &[(&str, &str)]) -> (House, MailServer) {
    let mut house = House::made();
    let server = MailServer::open(line, house.folder());
    let [ssl, start_tls] = match line {
        Line::Plain => ["false", "false"],
        Line::StartTls => ["false", "true"],
        Line::Implicit => ["true", "false"],
    };
    house.set(&[
        ("smtp_server", "127.0.0.1"),
        ("smtp_port", &server.port().to_string()),
        ("smtp_from", "codes@example.org"),
        ("smtp_ssl", ssl),
        ("smtp_start_tls_allowed", start_tls),
        ("otp_url", "SMTP"),
    ]);
    house.set(more);
    // The roots that the machine would have.
    house.set_variable("SSL_CERT_FILE", server.authority().to_str().unwrap());
    house.serve();
    (house, server)
}

/// The six digits in a text.
fn code_in(message: &Message) -> Option<String> {
    let words = message.text.split(|c: char| !c.is_ascii_digit());
    words.filter(|word| word.len() == 6).map(str::to_owned).next()
}

#[test]
fn a_mailed_code_opens_every_door() {
    let (house, server) = house_with(Line::Plain, &[]);
    for client in every_door(&house) {
        let address = format!("{}@example.org", client.name());
        let user = house.newcomer(client.name()).with(&["--otp", "--email", &address]).add();
        client.login(&house, &user.asking(&|| code_in(&server.message(&address, 1)?))).must_be_granted(client.name());
        assert_eq!(server.messages().iter().filter(|message| message.to.contains(&address)).count(), 1);
    }
}

#[test]
fn mail_goes_over_every_kind_of_line_and_under_tls_where_that_is_set() {
    for line in [Line::Plain, Line::StartTls, Line::Implicit] {
        let (house, server) = house_with(line, &[("smtp_user", "mailer"), ("smtp_pass", "not-a-real-one")]);
        let user = house.newcomer("mailed").with(&["--otp", "--email", "mailed@example.org"]).add();
        let web = &every_door(&house)[4];
        let reply = web.login(&house, &user.asking(&|| code_in(&server.message("mailed@example.org", 1)?)));
        reply.must_be_granted(format!("{line:?}"));
        let message = &server.messages()[0];
        assert_eq!(message.tls, line != Line::Plain, "{line:?}");
        assert_eq!(message.login.as_deref(), Some("mailer"), "{line:?}");
        assert_eq!(message.from, "codes@example.org");
    }
}

#[test]
fn the_templates_sender_subject_and_body_are_used_with_their_variables_filled_in() {
    let (house, server) = house_with(
        Line::Plain,
        &[
            ("email_templates[Two Factor Auth].emailFrom", "Front Desk <desk@example.org>"),
            ("email_templates[Two Factor Auth].emailReplyTo", "help@example.org"),
            ("email_templates[Two Factor Auth].emailSubject", "Hello {user_name} of {user_x_team}"),
            ("email_templates[Two Factor Auth].emailBody", "Your code: {auth_token}. For {user_x_team}, {user_email}."),
        ],
    );
    let user = house
        .newcomer("templated")
        .with(&["--otp", "--email", "templated@example.org", "--set", "x_team=Zürich & Co"])
        .add();
    let web = &every_door(&house)[4];
    web.login(&house, &user.asking(&|| code_in(&server.message("templated@example.org", 1)?)))
        .must_be_granted(web.name());
    let message = &server.messages()[0];
    assert_eq!(message.field("Subject"), ["Hello templated of Zürich & Co"]);
    assert_eq!(message.field("From"), ["Front Desk <desk@example.org>"]);
    assert_eq!(message.field("Reply-To"), ["help@example.org"]);
    assert_eq!(message.from, "desk@example.org");
    let code = code_in(message).unwrap();
    assert_eq!(message.text.trim_end(), format!("Your code: {code}. For Zürich & Co, templated@example.org."));
}

#[test]
fn a_users_text_with_line_breaks_adds_no_header_and_no_recipient() {
    let (house, server) =
        house_with(Line::Plain, &[("email_templates[Two Factor Auth].emailSubject", "For {user_x_nick}")]);
    let plain =
        house.newcomer("harmless").with(&["--otp", "--email", "harmless@example.org", "--set", "x_nick=nick"]).add();
    let web = &every_door(&house)[4];
    web.login(&house, &plain.asking(&|| code_in(&server.message("harmless@example.org", 1)?)))
        .must_be_granted(web.name());
    for (n, nick) in
        ["eve\r\nBcc: eve@example.net", "eve\nBcc: eve@example.net\n\nbody", "eve\r.\r\nMAIL FROM:<eve@example.net>"]
            .iter()
            .enumerate()
    {
        let (name, address) = (format!("eve{n}"), format!("eve{n}@example.org"));
        let setting = format!("x_nick={nick}");
        let refused_when_saved = house
            .run_with(
                &["user", "add", &name, "--password-stdin", "--otp", "--email", &address, "--set", &setting],
                "secret pass\n",
            )
            .code()
            != 0;
        if refused_when_saved {
            continue;
        }
        let login = crate::clients::Login::new(&name, "secret pass");
        web.login(&house, &login).must_be_refused(web.name());
        // Either nothing goes out, or one message like any other.
        if let Some(message) = server.message(&address, 1) {
            assert_eq!(message.to, [address.as_str()], "{nick:?}");
            let names = |message: &Message| message.fields.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            assert_eq!(names(&message), names(&server.messages()[0]), "{nick:?}");
        }
    }
    assert!(server.messages().iter().all(|message| !message.to.iter().any(|to| to.contains("example.net"))));
}

#[test]
fn a_user_without_an_address_is_sent_nothing_and_refused() {
    let (house, server) = house_with(Line::Plain, &[]);
    let user = house.newcomer("unreachable").with(&["--otp"]).add();
    for client in every_door(&house) {
        client.login(&house, &user.with_password()).must_be_refused(client.name());
    }
    assert!(server.messages().is_empty());
}

#[test]
fn a_mail_server_whose_certificate_nobody_vouches_for_gets_no_code() {
    let mut house = House::made();
    let server = MailServer::open(Line::Implicit, house.folder());
    house.set(&[
        ("smtp_server", "127.0.0.1"),
        ("smtp_port", &server.port().to_string()),
        ("smtp_from", "codes@example.org"),
        ("smtp_ssl", "true"),
        ("otp_url", "SMTP"),
    ]);
    house.serve();
    let user = house.newcomer("careful").with(&["--otp", "--email", "careful@example.org"]).add();
    let web = &every_door(&house)[4];
    web.login(&house, &user.with_password()).must_be_refused(web.name());
    assert!(server.messages().is_empty());
}
