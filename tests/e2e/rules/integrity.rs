//! Clients can verify what they sent and got, and have the server verify what it gets.

use crate::{
    house::House,
    newcomer::User,
    program::{clean_command, python, run_with, sources},
};
use std::{fs, path::Path};

const PLACES: [(&str, &str); 3] = [("http", "api/v1/files"), ("https", "api/v1/files"), ("https", "dav")];

#[test]
fn a_file_is_summed_over_sftp_as_paramiko_and_as_the_draft_ask_for_it() {
    let house = House::open();
    let user = house.newcomer("summer").add();
    let folder = house.home().join("files/summer");
    fs::create_dir_all(&folder).unwrap();
    let door = house.door("sftp");
    let mut command = clean_command(python());
    command.env("HOME", house.folder()).env("NAME", &user.name).env("PASSWORD", &user.password);
    command.arg(sources().join("tests/e2e/clients/scripts/integrity.py"));
    command.args([&door.ip().to_string(), &door.port().to_string()]).arg(&folder);
    run_with(command, "").ok();
}

/// Status, head and body of what curl got.
fn curl(house: &House, user: &User, (scheme, place): (&str, &str), name: &str, more: &[&str]) -> (u16, String, String) {
    let mut command = clean_command("curl");
    command.args(["-q", "-s", "-S", "-k", "-i", "--max-time", "30", "-H", "Expect:", "--user"]);
    command.arg(format!("{}:{}", user.name, user.password)).args(more);
    command.arg(format!("{scheme}://{}/{place}/{name}", house.door(scheme)));
    let said = run_with(command, "").ok();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

/// The digest of a file in base64, by another program.
fn digest(algorithm: &str, file: &Path) -> String {
    let mut command = clean_command("sh");
    command.args(["-c", "openssl dgst \"-$0\" -binary \"$1\" | base64 -w0"]).arg(algorithm).arg(file);
    run_with(command, "").ok()
}

#[test]
fn a_download_tells_the_digest_that_was_asked_for_and_else_none() {
    let house = House::open();
    let user = house.newcomer("getter").add();
    let folder = house.home().join("files/getter");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("text.txt");
    fs::write(&file, "some text\n".repeat(50_000)).unwrap();
    let current = ["-H", "Want-Repr-Digest: unixsum=10, sha-256=5, sha-512=1"];
    let old = ["-H", "Want-Digest: SHA-256;q=0.5, MD5;q=0.1"];
    let sum = digest("sha256", &file);
    let (wanted, wanted_old) =
        (format!("repr-digest: sha-256=:{sum}:").to_lowercase(), format!("digest: sha-256={sum}"));
    for place in PLACES {
        for more in [&[][..], &["--head"], &["--range", "10-19"]] {
            let whom = format!("{place:?} {more:?}");
            let (_, head, body) = curl(&house, &user, place, "text.txt", &[more, &current].concat());
            assert!(head.lines().any(|line| line == wanted), "{whom}: {head}");
            if more.contains(&"--range") {
                assert_eq!(body, "some text\n", "{whom}");
            }
            let (_, head, _) = curl(&house, &user, place, "text.txt", &[more, &old].concat());
            assert!(head.lines().any(|line| line == wanted_old.to_lowercase()), "{whom}: {head}");
            let (_, head, _) = curl(&house, &user, place, "text.txt", more);
            assert!(!head.contains("digest"), "{whom}: {head}");
            let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
            let same = format!("If-None-Match: {tag}");
            let (status, head, _) = curl(&house, &user, place, "text.txt", &[more, &current, &["-H", &same]].concat());
            assert!(status == 304 && !head.contains("digest"), "{whom}: {head}");
        }
    }
}

#[test]
fn an_upload_is_stored_only_where_its_digest_is_that_of_its_bytes() {
    let house = House::open();
    let user = house.newcomer("putter").add();
    let (good, bad) = (house.scratch("good"), house.scratch("bad"));
    fs::write(&good, "what was meant\n".repeat(20_000)).unwrap();
    fs::write(&bad, "what was bent!\n".repeat(20_000)).unwrap();
    let (sha, md5) = (digest("sha256", &good), digest("md5", &good));
    let claims = [
        format!("Repr-Digest: sha-256=:{sha}:"),
        format!("Content-Digest: unixsum=:AAA=:, sha-512=:{}:", digest("sha512", &good)),
        format!("Digest: SHA-256={sha}"),
        format!("Content-MD5: {md5}"),
    ];
    for place in PLACES {
        for (n, claim) in claims.iter().enumerate() {
            let name = format!("{}-{}-{n}", place.0, place.1.replace('/', "-"));
            let stored = house.home().join("files/putter").join(&name);
            let put = |file: &Path, claim: &str| {
                curl(&house, &user, place, &name, &["--upload-file", file.to_str().unwrap(), "-H", claim])
            };
            let (status, head, body) = put(&bad, claim);
            assert!(status == 400 && body.contains("not what its digest says"), "{name}: {head}\n{body}");
            assert!(!stored.exists(), "{name}");
            assert_eq!(put(&good, claim).0, 201, "{name}");
            assert_eq!(put(&bad, claim).0, 400, "{name}");
            assert!(fs::read(&stored).unwrap() == fs::read(&good).unwrap(), "{name}: the old file is not as it was");
            for ignored in ["Repr-Digest: sha-256=AAAA", "Content-Digest: unixsum=:AAA=:", "Digest: adler32=03da0195"] {
                assert_eq!(put(&good, ignored).0, 204, "{name}: {ignored}");
            }
        }
    }
    let names = fs::read_dir(house.home().join("files/putter")).unwrap();
    let litter: Vec<_> =
        names.map(|entry| entry.unwrap().file_name()).filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert!(litter.is_empty(), "{litter:?}");
}
