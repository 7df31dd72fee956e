//! What is particular to FTP.

use crate::{
    clients::{Client, Ftp},
    house::House,
};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::Duration,
};

/// A control connection in clear, spoken by hand.
pub struct Control(BufReader<TcpStream>);

impl Control {
    /// Connects, and takes the greeting.
    pub fn open(house: &House) -> Self {
        Self::through(house, "")
    }

    /// The same with a header in front, as a proxy puts it there.
    fn through(house: &House, header: &str) -> Self {
        let mut stream = TcpStream::connect(house.door("ftp")).unwrap();
        stream.write_all(header.as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut control = Self(BufReader::new(stream));
        assert!(control.reply().starts_with("220"));
        control
    }

    /// One whole reply; empty at the end of the connection.
    fn reply(&mut self) -> String {
        let mut whole = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap_or(0) == 0 {
                return whole;
            }
            whole.push_str(&line);
            // RFC 959 section 4.2: the last line has a blank behind its code.
            if line.len() > 3 && line.as_bytes()[3] == b' ' && line[..3].bytes().all(|byte| byte.is_ascii_digit()) {
                return whole;
            }
        }
    }

    /// Says one line and gives the reply; empty where the connection has ended.
    pub fn say(&mut self, line: &str) -> String {
        match self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()) {
            Ok(()) => self.reply(),
            Err(_) => String::new(),
        }
    }
}

#[test]
fn where_tls_is_demanded_nothing_in_clear_gets_as_far_as_a_password() {
    let house = House::open_with(&[("server_list[0].require_secure", "true")]);
    let user = house.newcomer("secured").add();
    Ftp::Clear.login(&house, &user.with_password()).must_be_refused("in clear");
    Ftp::ExplicitTls.login(&house, &user.with_password()).must_be_granted("under TLS");
}

#[test]
fn the_code_after_the_password_works_line_by_line() {
    let house = House::open();
    let user = house.newcomer("typed").enrolled().add();
    let mut control = Control::open(&house);
    assert!(control.say(&format!("USER {}", user.name)).starts_with("331"));
    let reply = control.say(&format!("PASS {}:{}", user.password, user.code()));
    assert!(reply.starts_with("230"), "{reply}");
    let reply = control.say("PWD");
    assert!(reply.starts_with("257") && reply.contains("\"/\""), "{reply}");
}

#[test]
fn behind_a_proxy_the_clients_own_address_counts_on_both_connections() {
    let house = House::open_with(&[
        ("server_list[0].proxy_protocol", "127.0.0.1"),
        ("server_list[0].server_ip", "198.51.100.7, 203.0.113.0/24=192.0.2.9"),
        ("ftp_welcome_message", "Welcome {client_ip}"),
        ("ftp_login_message", "Hello {user_name}"),
    ]);
    let user = house.newcomer("behind").add();
    let header = "PROXY TCP4 203.0.113.7 192.0.2.9 5000 21\r\n";
    let mut control = Control::through(&house, header);
    assert!(control.say(&format!("USER {}", user.name)).starts_with("331"));
    assert_eq!(control.say(&format!("PASS {}", user.password)), "230 Hello behind\r\n");
    let granted = house.audit().into_iter().find(|record| record["result"] == "granted").unwrap();
    assert_eq!(granted["address"], "203.0.113.7");
    let told = control.say("PASV");
    let numbers = told.split(['(', ')']).nth(1).unwrap();
    let (high, low) = numbers.strip_prefix("192,0,2,9,").unwrap().split_once(',').unwrap();
    let port = high.parse::<u16>().unwrap() * 256 + low.parse::<u16>().unwrap();
    let mut others = TcpStream::connect(("127.0.0.1", port)).unwrap();
    others.write_all(b"PROXY TCP4 203.0.113.8 192.0.2.9 5000 21\r\n").unwrap();
    let mut data = TcpStream::connect(("127.0.0.1", port)).unwrap();
    data.write_all(header.as_bytes()).unwrap();
    assert!(control.say("NLST").starts_with("150"));
    assert!(control.reply().starts_with("226"));
}

#[test]
fn before_a_login_no_command_touches_a_file() {
    let house = House::open();
    house.newcomer("typed").add();
    for command in [
        "LIST",
        "RETR x",
        "STOR x",
        "DELE x",
        "MKD x",
        "RNFR x",
        "SIZE x",
        "MDTM x",
        "CWD /",
        "PASV",
        "EPSV",
        "SITE CHMOD 777 x",
    ] {
        let mut control = Control::open(&house);
        let reply = control.say(command);
        assert!(reply.is_empty() || reply.starts_with('5'), "{command}: {reply}");
    }
}

#[test]
fn an_unknown_name_is_asked_for_a_password_like_any_other() {
    let house = House::open();
    house.newcomer("someone").add();
    let asked = |name: &str| Control::open(&house).say(&format!("USER {name}")).replace(name, "NAME");
    assert_eq!(asked("someone"), asked("no-one"));
}

#[test]
fn a_command_line_without_an_end_is_cut_off_before_it_fills_the_memory() {
    let house = House::open();
    let before = resident_kib(house.pid());
    let mut control = Control::open(&house);
    let piece = [b'A'; 64 * 1024];
    let mut sent = 0_usize;
    // Far above the 4,096 bytes of a line and what the system buffers.
    while sent < 64 << 20 {
        match control.0.get_mut().write(&piece) {
            Ok(n) => sent += n,
            Err(_) => break,
        }
    }
    assert!(sent < 16 << 20, "the server took {sent} bytes of one line");
    // The bound of one attack, N4.
    let grown = resident_kib(house.pid()).saturating_sub(before);
    assert!(grown < 256 << 10, "{grown} KiB more are resident");
    let user = house.newcomer("alive").add();
    Ftp::Clear.login(&house, &user.with_password()).must_be_granted("after the flood");
}

/// The memory that a process holds.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
