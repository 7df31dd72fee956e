//! Connections on which nobody has logged in: few, short, and in nobody's way.

use crate::{
    clients::every_door,
    house::House,
    program::{clean_command, run_with},
};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

/// N3 of the security numbers.
const STRANGERS_PER_ADDRESS: usize = 10;

#[test]
fn silent_connections_from_one_address_keep_nobody_out() {
    let house = House::open();
    let user = house.newcomer("prompt").add();
    let mut silent = Vec::new();
    for kind in ["ftp", "sftp", "http", "https"] {
        // Twice the limit on each listener.
        for _ in 0..2 * STRANGERS_PER_ADDRESS {
            silent.push(TcpStream::connect(house.door(kind)).unwrap());
        }
    }
    for client in every_door(&house) {
        let began = Instant::now();
        client.login(&house, &user.with_password().from([127, 0, 0, 5].into())).must_be_granted(client.name());
        assert!(began.elapsed() < Duration::from_secs(5), "{} took {:?}", client.name(), began.elapsed());
        client
            .login(&house, &user.with_password())
            .must_be_granted(format!("{} from the crowded address", client.name()));
    }
}

#[test]
fn a_stranger_is_sent_away_when_the_login_grace_is_over_whatever_it_trickles() {
    let house = House::open_with(&[("login_grace", "2000")]);
    for (kind, trickle) in [("ftp", "NOOP\r\n"), ("sftp", "S"), ("http", "G"), ("https", "\u{16}")] {
        let mut stream = TcpStream::connect(house.door(kind)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let began = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            assert!(began.elapsed() < Duration::from_secs(15), "{kind} is still open after {:?}", began.elapsed());
            // One write more than the other side takes shows the end as well as a read does.
            if stream.write_all(trickle.as_bytes()).is_err() {
                break;
            }
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(cause) if matches!(cause.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                }
                Err(_) => break,
            }
        }
    }
}

#[test]
fn a_banned_address_gets_no_byte_and_can_be_let_in_again() {
    let house = House::open();
    let user = house.newcomer("banned").add();
    let shut_out = [127, 0, 0, 66].into();
    house.run(&["ban", "add", "127.0.0.66"]).ok();
    let ftp = &every_door(&house)[0];
    let out = crate::waiting::holds(Duration::from_secs(5), || {
        ftp.login(&house, &user.with_password().from(shut_out)).verdict != crate::clients::Verdict::Granted
    });
    assert!(out, "the ban does not hold");
    for client in every_door(&house) {
        let reply = client.login(&house, &user.with_password().from(shut_out));
        assert_ne!(reply.verdict, crate::clients::Verdict::Granted, "{}", client.name());
        client.login(&house, &user.with_password()).must_be_granted(format!("{} from elsewhere", client.name()));
    }
    house.run(&["ban", "clear", "127.0.0.66"]).ok();
    let back = crate::waiting::holds(Duration::from_secs(5), || {
        ftp.login(&house, &user.with_password().from(shut_out)).verdict == crate::clients::Verdict::Granted
    });
    assert!(back, "the ban is not lifted");
}

#[test]
fn tls_doors_refuse_foreign_protocols_and_old_versions() {
    let house = House::open();
    let https = house.door("https").to_string();
    let ftp = house.door("ftp").to_string();
    let openssl = |arguments: &[&str]| {
        let mut command = clean_command("openssl");
        command.arg("s_client").args(arguments);
        run_with(command, "QUIT\n")
    };
    let refused = |arguments: &[&str]| {
        let ran = openssl(arguments);
        assert!(ran.stdout.contains("Cipher is (NONE)") || ran.code() != 0, "{arguments:?}: {ran}");
    };
    refused(&["-connect", &https, "-alpn", "ftp"]);
    refused(&["-connect", &https, "-alpn", "imap,smtp"]);
    refused(&["-connect", &ftp, "-starttls", "ftp", "-alpn", "http/1.1"]);
    for door in [vec!["-connect", &https], vec!["-connect", &ftp, "-starttls", "ftp"]] {
        refused(&[&door[..], &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]].concat());
        let ran = openssl(&door);
        assert!(ran.stdout.contains("TLSv1.3"), "{door:?}: {ran}");
    }
}

#[test]
fn health_is_told_without_a_login_and_nothing_else_is() {
    let house = House::open();
    let door = house.door("http");
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/api/v1/list/", 401),
        ("/api/v1/me", 401),
        ("/dav/", 401),
        ("/metrics", 401),
    ] {
        let mut curl = clean_command("curl");
        curl.args(["-q", "-s", "-o", "/dev/null", "-w", "%{http_code}", &format!("http://{door}{path}")]);
        let got = run_with(curl, "").ok();
        assert!(got == status.to_string() || (status == 401 && matches!(got.as_str(), "403" | "404")), "{path}: {got}");
    }
}
