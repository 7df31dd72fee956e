//! Command lines: every one has one meaning or a refusal, whatever bytes it is made of.

use super::*;
use proptest::prelude::*;

fn inside_of(line: &str) -> Inside {
    match parse(line.as_bytes()) {
        Ok(Command::Inside(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

fn code_of(line: &str) -> u16 {
    match parse(line.as_bytes()) {
        Err(Fault::Refused { reply, .. }) => reply.code(),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn verbs_are_read_in_any_case_and_names_keep_their_blanks() {
    assert!(matches!(inside_of("retr  a b "), Inside::Retr(name) if name == b" a b "));
    assert!(matches!(parse(b"uSeR alice"), Ok(Command::Open(Open::User(name))) if name == "alice"));
    assert!(matches!(inside_of("LIST -la -R x y"), Inside::List(Rows::Long, Some(name)) if name == b"x y"));
    assert!(matches!(inside_of("LIST -a"), Inside::List(Rows::Long, None)));
}

#[test]
fn stat_with_switches_alone_lists_the_folder_and_without_any_tells_of_the_session() {
    assert!(matches!(inside_of("STAT"), Inside::Stat(None)));
    assert!(matches!(inside_of("STAT -l"), Inside::Stat(Some(name)) if name == b"."));
    assert!(matches!(inside_of("STAT -la a b"), Inside::Stat(Some(name)) if name == b"a b"));
}

#[test]
fn a_password_is_taken_exactly_as_typed() {
    let Ok(Command::Open(Open::Pass(password))) = parse(b"PASS  a b :c ") else { panic!("no PASS") };
    assert!(password.matches(b" a b :c "));
    assert!(matches!(parse(b"PASS"), Ok(Command::Open(Open::Pass(password))) if password.matches(b"")));
}

#[test]
fn another_protocol_is_known_by_its_first_word() {
    for line in
        ["GET / HTTP/1.1", "post /login", "SSH-2.0-OpenSSH", "Host: x", "\x16\x03\x01", "", "PRI * HTTP/2.0", "{}"]
    {
        assert!(matches!(parse(line.as_bytes()), Err(Fault::Foreign)), "{line}");
    }
    assert!(matches!(parse(b"HELO x"), Err(Fault::Unknown)));
}

#[test]
fn an_address_for_active_mode_is_six_bytes_or_nothing() {
    assert!(matches!(inside_of("PORT 127,0,0,1,4,1"), Inside::Port(at) if at == "127.0.0.1:1025".parse().unwrap()));
    for bad in [
        "1,2,3,4,5",
        "1,2,3,4,5,6,7",
        "256,0,0,1,4,1",
        "1,2,3,4,x,6",
        "+1,2,3,4,5,6",
        "1,,3,4,5,6",
        "0001,2,3,4,5,6",
        "",
    ] {
        assert_eq!(code_of(&format!("PORT {bad}")), 501, "{bad}");
    }
    assert!(matches!(inside_of("EPRT |2|::1|2000|"), Inside::Port(at) if at == "[::1]:2000".parse().unwrap()));
    assert!(matches!(inside_of("EPRT $1$127.0.0.1$2000$"), Inside::Port(_)));
    for (bad, code) in [
        ("|1|::1|2000|", 501),
        ("|3|x|1|", 522),
        ("|3|127.0.0.1|1|", 522),
        ("|1|127.0.0.1|70000|", 501),
        ("||||", 501),
        ("", 501),
    ] {
        assert_eq!(code_of(&format!("EPRT {bad}")), code, "{bad}");
    }
}

#[test]
fn restarts_and_ranges_are_plain_numbers() {
    assert!(matches!(inside_of("REST 12"), Inside::Rest(12)));
    for bad in ["-1", "+1", "1 2", "abc", "", "99999999999999999999", "9223372036854775808"] {
        assert_eq!(code_of(&format!("REST {bad}")), 501, "{bad}");
    }
    assert!(matches!(inside_of("RANG 0 10"), Inside::Rang(0, 10)));
    assert_eq!(code_of("RANG 10 5"), 501);
}

#[test]
fn facts_are_changed_by_name() {
    let Inside::Mff(changes, name) = inside_of("MFF Modify=20241124103200;UNIX.mode=0640; a b") else {
        panic!("no MFF")
    };
    assert_eq!((changes.mode, name.as_slice()), (Some(0o640), &b"a b"[..]));
    assert_eq!(code_of("MFF Type=dir; a"), 501);
    assert_eq!(code_of("MFMT 2024 a"), 501);
    assert!(matches!(inside_of("SITE UTIME 20241124103200 a"), Inside::SiteUtime(_, name) if name == b"a"));
    let five = "SITE UTIME a b 20241124103200 20241124103201 20241124103202 UTC";
    assert!(matches!(inside_of(five), Inside::SiteUtime(_, name) if name == b"a b"));
    assert!(matches!(inside_of("SITE CHMOD 755 a"), Inside::SiteChmod(0o755, _)));
    assert_eq!(code_of("SITE CHMOD 999 a"), 501);
    assert_eq!(code_of("SITE EXEC ls"), 504);
}

#[test]
fn options_of_listings_keep_what_is_known() {
    let Inside::OptsMlst(shown) = inside_of("OPTS MLST size;Type;nonsense;") else { panic!("no MLST") };
    assert_eq!(shown.names(), "type;size;");
    assert!(matches!(inside_of("OPTS HASH sha-1"), Inside::OptsHash(Some(Digest::Sha1))));
    assert!(matches!(parse(b"OPTS UTF8 ON"), Ok(Command::Open(Open::OptsUtf8))));
    assert_eq!(code_of("OPTS FOO"), 501);
}

#[test]
fn a_checksum_can_have_a_range_behind_a_quoted_name() {
    assert!(matches!(inside_of("XCRC a 1 2"), Inside::Check(Digest::Crc32, None, name) if name == b"a 1 2"));
    assert!(
        matches!(inside_of("XCRC \"a b\" 1 2"), Inside::Check(Digest::Crc32, Some((1, 2)), name) if name == b"a b")
    );
    assert!(matches!(inside_of("XSHA256 \"a\" 9"), Inside::Check(Digest::Sha256, Some((0, 9)), _)));
}

proptest! {
    #[test]
    fn any_line_is_a_command_or_a_fault(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&line);
    }

    #[test]
    fn any_argument_of_any_verb_is_a_command_or_a_fault(place in 0..INSIDE.len(), argument in "[ -~é]{0,60}") {
        let _ = parse(format!("{} {argument}", INSIDE[place]).as_bytes());
        for verb in ["USER", "AUTH", "PBSZ", "PROT", "HOST", "LANG", "OPTS", "OPTS MLST", "SITE UTIME", "SITE CHMOD"] {
            let _ = parse(format!("{verb} {argument}").as_bytes());
        }
    }
}
