//! Lines as people paste them, and lines as nobody should. The keys are public halves whose private halves are gone.

use super::*;
use proptest::prelude::*;

#[test]
fn every_accepted_type_has_the_fingerprint_that_ssh_keygen_prints() {
    for (line, fingerprint) in [
        (ED25519, "SHA256:kWCX9ZUfxS0KryGzL8Lnlxl7rgSZVzOvhqlF1ap8s3g"),
        (P256, "SHA256:1uofwoDOMmVogcUcdk13c88plPww6z2Qtk7ictHGvKY"),
        (P384, "SHA256:dWDew6uTUJpgGAMdoAGQ5fVsqtxHegjfjSXP/9hjmUI"),
        (P521, "SHA256:dmC7PIOBW3V7V8XCdedjbvbgoIVGmVWuFeflWIMtS5Y"),
        (RSA_2048, "SHA256:+XZWBb13RHvJ13aEnyZqpjyOzNfp18J00eCTpo/etWc"),
    ] {
        assert_eq!(parse_line(line, 7).unwrap().fingerprint, fingerprint, "{line}");
    }
}

#[test]
fn a_key_keeps_its_comment_and_the_time_it_was_added() {
    let key = parse_line(&format!("  {ED25519}   alice at  home \r\n"), 7).unwrap();
    assert_eq!((key.comment.as_str(), key.added), ("alice at  home", 7));
    let long = parse_line(&format!("{ED25519} {}", "\u{e9}".repeat(200)), 7).unwrap();
    assert!(long.comment.len() <= MAX_COMMENT && long.comment.starts_with('\u{e9}'));
}

#[test]
fn security_keys_are_read_with_their_application() {
    let point = field_of(ED25519, 1);
    let touch = blob(&[b"sk-ssh-ed25519@openssh.com", &point, b"ssh:"]);
    assert!(parse_line(&line("sk-ssh-ed25519@openssh.com", &touch), 0).is_ok());
    let touch = blob(&[b"sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", &field_of(P256, 2), b"ssh:mine"]);
    assert!(parse_line(&line("sk-ecdsa-sha2-nistp256@openssh.com", &touch), 0).is_ok());
    for application in [&b""[..], b"a b", &[b'a'; 256]] {
        let bad = blob(&[b"sk-ssh-ed25519@openssh.com", &point, application]);
        assert!(matches!(parse_line(&line("sk-ssh-ed25519@openssh.com", &bad), 0), Err(KeyError::Damaged(_))));
    }
}

#[test]
fn options_before_a_key_are_refused_not_ignored() {
    for options in ["from=\"10.0.0.0/8\"", "command=\"ls -l\",no-pty", "restrict", "cert-authority"] {
        assert_eq!(parse_line(&format!("{options} {ED25519} alice"), 0), Err(KeyError::Options), "{options}");
    }
}

#[test]
fn what_is_no_acceptable_key_is_refused_by_its_own_reason() {
    let cert = line("ssh-ed25519-cert-v01@openssh.com", &blob(&[b"ssh-ed25519-cert-v01@openssh.com"]));
    for (text, error) in [
        ("", KeyError::Empty),
        ("   # comment", KeyError::Empty),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", KeyError::Private),
        ("---- BEGIN SSH2 PUBLIC KEY ----", KeyError::OtherFormat),
        ("-----BEGIN PUBLIC KEY-----", KeyError::OtherFormat),
        ("ssh-dss AAAA", KeyError::Dsa),
        (&cert, KeyError::Certificate),
        ("ssh-ed448 AAAA", KeyError::UnknownType("ssh-ed448".into())),
        ("ssh-ed25519", KeyError::Base64),
        ("ssh-ed25519 !!!!", KeyError::Base64),
        (ED25519.get(..ED25519.len() - 1).unwrap(), KeyError::Base64),
        (RSA_1024, KeyError::RsaSize(1024)),
        ("ssh-ed25519 AA\0AA", KeyError::Control),
        (&"a".repeat(MAX_LINE + 1), KeyError::TooLong),
    ] {
        assert_eq!(parse_line(text, 0), Err(error), "{text}");
    }
}

#[test]
fn the_type_before_the_key_must_be_the_type_inside() {
    let encoded = ED25519.split(' ').nth(1).unwrap();
    assert_eq!(parse_line(&format!("ssh-rsa {encoded}"), 0), Err(KeyError::TypeMismatch));
    let crossed = blob(&[b"ecdsa-sha2-nistp256", b"nistp384", &field_of(P384, 2)]);
    assert_eq!(parse_line(&line("ecdsa-sha2-nistp256", &crossed), 0), Err(KeyError::TypeMismatch));
}

#[test]
fn a_key_with_anything_too_much_or_too_little_is_damaged() {
    let (short, long) = ([9; 31], [9; 33]);
    let mut off_curve = field_of(P256, 2);
    off_curve[40] ^= 1;
    let (exponent, modulus) = (field_of(RSA_2048, 1), field_of(RSA_2048, 2));
    let mut even = modulus.clone();
    *even.last_mut().unwrap() ^= 1;
    for parts in [
        vec![&b"ssh-ed25519"[..], &short],
        vec![b"ssh-ed25519", &long],
        vec![b"ssh-ed25519"],
        vec![b"ecdsa-sha2-nistp256", b"nistp256", &off_curve],
        vec![b"ecdsa-sha2-nistp256", b"nistp256", &field_of(P256, 2)[..64]],
        vec![b"ssh-rsa", &exponent, &even],
        vec![b"ssh-rsa", &exponent, &modulus[1..]],
        vec![b"ssh-rsa", &exponent, &[&[0], &modulus[..]].concat()],
        vec![b"ssh-rsa", &[1], &modulus],
        vec![b"ssh-rsa", &[], &modulus],
        vec![b"ssh-rsa", &exponent, &[]],
        vec![b"ssh-rsa", &modulus, &modulus],
        vec![b"ssh-rsa", &exponent, &modulus, b"more"],
    ] {
        let kind = String::from_utf8(parts[0].to_vec()).unwrap();
        let result = parse_line(&line(&kind, &blob(&parts)), 0);
        assert!(matches!(result, Err(KeyError::Damaged(_))), "{parts:?}: {result:?}");
    }
}

#[test]
fn a_file_is_read_whole_and_its_first_bad_line_is_named() {
    let file = format!("# mine\n\n{ED25519} one\n{P256} two\n");
    assert_eq!(parse_file(&file, 1).unwrap().len(), 2);
    assert_eq!(parse_file(&format!("{file}ssh-dss AAAA\n"), 1), Err((5, KeyError::Dsa)));
    assert_eq!(parse_file("# nothing\n", 1), Err((0, KeyError::Empty)));
}

proptest! {
    #[test]
    fn any_text_is_a_key_or_an_error(text in "\\PC{0,300}|(ssh-rsa|ssh-ed25519|ecdsa-sha2-nistp256) [A-Za-z0-9+/]{0,200}={0,2} ?.{0,20}") {
        let _ = parse_file(&text, 0);
    }

    #[test]
    fn any_blob_behind_a_right_type_is_a_key_or_an_error(place in 0..KINDS.len(), rest in proptest::collection::vec(any::<u8>(), 0..300)) {
        let name = KINDS[place].0;
        let _ = parse_line(&line(name, &[blob(&[name.as_bytes()]), rest].concat()), 0);
    }

    #[test]
    fn a_changed_byte_never_gives_the_same_key(place in any::<prop::sample::Index>(), bit in 0..8u32) {
        for good in [ED25519, P256, RSA_2048] {
            let key = parse_line(good, 0).unwrap();
            let mut changed = key.blob.clone();
            let place = place.index(changed.len());
            changed[place] ^= 1 << bit;
            let name = good.split(' ').next().unwrap();
            if let Ok(other) = parse_line(&line(name, &changed), 0) {
                prop_assert_ne!(other.fingerprint, key.fingerprint);
            }
        }
    }
}

fn blob(fields: &[&[u8]]) -> Vec<u8> {
    fields.iter().flat_map(|field| [&u32::try_from(field.len()).unwrap().to_be_bytes()[..], field].concat()).collect()
}

fn line(kind: &str, blob: &[u8]) -> String {
    format!("{kind} {}", STANDARD.encode(blob))
}

fn field_of(line: &str, place: usize) -> Vec<u8> {
    let key = parse_line(line, 0).unwrap();
    let mut fields = Fields(&key.blob);
    for _ in 0..place {
        fields.next().unwrap();
    }
    fields.next().unwrap().to_vec()
}

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPaPDvEs5Nr7W5rq7OaIKR9zKpZnhOOowK++aQCLhI4p";
const P256: &str = concat!(
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEXuvoAYLFx7UAbeSOk0j1/p2m06HuygILsF1X",
    "VeneF5w9T2w0We5iugkOFZ2fN5L7yLQrvWpL6blGc+0EFJVF0=",
);
const P384: &str = concat!(
    "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBFyWp3/YdNBzB/2t6CuV10orTgp92xq4+1LKd3",
    "cW8GoXj/7BNm7d+OhtwcXDq00dgMaY+7FeZDIntRc3/nhbniLpulbt5kEOovPvecip68KRpGWnOKonhapfMWA3j2MhXw==",
);
const P521: &str = concat!(
    "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBABiFpppX9Akg8p1hFBbmh+p3uPTt7PJc2Xsr3",
    "fMRUUhr3he0zt2nyVI+rYy16CTo9urKdwV8ki8ne5dS7AlP1kbTAHAkXVIst8DylxlachlNIrHrJqW8Q8QYnifmv8SyCAfS+1zLANvHLp/WVRq",
    "RanXXYQnXVmRQJxPVGTTPmmbSYs3nw==",
);
const RSA_2048: &str = concat!(
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCdZBxsz3pO/hh9hWzUfut/tn31IVghrAiD+Z/IwFwKf0h0BVuBBNGfjsFUp5B2sksKUNAMz3",
    "jBQ8y2p2nfKjjeGEDJHfaq+mb4l+hoDTQr6zvIWbowr8juAq0DapBhdTnpAIBxf+WLQAP22QWycvC0v9bq1Eb2R80V5lEXyIB30IONbTYP+lpx",
    "+JiO5zDgtI2rZO919AyC73CjUfMKNaKEP/b89VL/LlLI6kpJisGZ2k/93/hblpYcwxvlct4FB6N/0pvfj0kxFCuh2XgfO/V4aRuyWMJnflWZ+u",
    "piv5d8CBLIWxV+9gXBXVkMLePibvNV/uJin01wfgKNWJJHwfIZ",
);
const RSA_1024: &str = concat!(
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCk0MHBJBvHL46cvhFompUvlAbIhrwIt+hy3SOP0TcM8SXqv/oZ3zpJdkBLnlkzEz2lM4jK3P",
    "f5Dij0y1aoGYPMJWgndCPNZdalSkHsez8sKCN2BvprcZn7l3ij9VWXIHA5y1schoP8yk0YwyRvgLacRWL1Bn7S9YH4DuHkyUP56w==",
);
