//! Going on where a transfer was cut.

use crate::{
    house::House,
    newcomer::User,
    program::{Ran, clean_command, run_with},
};
use std::{fs, path::Path};

const LENGTH: usize = 2_000_003;
/// Where the first half ends: no multiple of any block.
const CUT: usize = 700_001;

fn sample() -> Vec<u8> {
    (0..LENGTH as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// curl on one URL, with the user's credentials.
fn curl(user: &User, url: &str, more: &[&str]) -> Ran {
    let mut command = clean_command("curl");
    command.args(["-q", "-s", "-S", "-k", "--max-time", "40", "--user", &format!("{}:{}", user.name, user.password)]);
    command.args(more).arg(url);
    run_with(command, "")
}

fn urls(house: &House, file: &str) -> Vec<(String, Vec<&'static str>)> {
    let door = |kind| house.door(kind);
    vec![
        (format!("ftp://{}/{file}", door("ftp")), vec![]),
        (format!("ftp://{}/{file}", door("ftp")), vec!["--ssl-reqd"]),
        (format!("http://{}/api/v1/files/{file}", door("http")), vec![]),
        (format!("https://{}/api/v1/files/{file}", door("https")), vec![]),
        (format!("http://{}/dav/{file}", door("http")), vec![]),
    ]
}

#[test]
fn a_download_goes_on_where_it_was_cut_on_every_door() {
    let house = House::open();
    let user = house.newcomer("patient").add();
    let folder = house.home().join("files/patient");
    fs::create_dir_all(&folder).unwrap();
    let bytes = sample();
    fs::write(folder.join("whole.bin"), &bytes).unwrap();
    let half = house.scratch("half.bin");
    for (url, more) in urls(&house, "whole.bin") {
        fs::write(&half, &bytes[..CUT]).unwrap();
        let output = ["-C", "-", "-o", half.to_str().unwrap()];
        curl(&user, &url, &[&more[..], &output].concat()).ok();
        assert!(fs::read(&half).unwrap() == bytes, "{url} {more:?}: other bytes");
    }
    fs::write(&half, &bytes[..CUT]).unwrap();
    sftp(&house, &user, &format!("reget whole.bin {}\n", half.display())).ok();
    assert!(fs::read(&half).unwrap() == bytes, "sftp: other bytes");
}

#[test]
fn an_upload_onto_a_committed_file_goes_on_at_its_end() {
    let house = House::open();
    let user = house.newcomer("patient").add();
    let folder = house.home().join("files/patient");
    let (bytes, local) = (sample(), house.scratch("whole.bin"));
    fs::write(&local, &bytes).unwrap();
    let half = house.scratch("half.bin");
    fs::write(&half, &bytes[..CUT]).unwrap();
    for (n, (url, more)) in urls(&house, "").into_iter().take(2).enumerate() {
        let url = format!("{url}goes-on-{n}.bin");
        curl(&user, &url, &[&more[..], &["-T", half.to_str().unwrap()]].concat()).ok();
        curl(&user, &url, &[&more[..], &["-C", "-", "-T", local.to_str().unwrap()]].concat()).ok();
        assert_same(&folder.join(format!("goes-on-{n}.bin")), &bytes, &format!("{url} {more:?}"));
    }
    sftp(&house, &user, &format!("put {} goes-on.bin\nreput {} goes-on.bin\n", half.display(), local.display())).ok();
    assert_same(&folder.join("goes-on.bin"), &bytes, "sftp");
}

#[test]
fn a_range_that_is_not_there_is_told_as_such() {
    let house = House::open();
    let user = house.newcomer("patient").add();
    let folder = house.home().join("files/patient");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("short.txt"), "0123456789").unwrap();
    let url = format!("http://{}/api/v1/files/short.txt", house.door("http"));
    let part = curl(&user, &url, &["-r", "2-4", "-w", " %{http_code}"]);
    assert_eq!(part.ok(), "234 206");
    let beyond = curl(&user, &url, &["-r", "100-", "-o", "/dev/null", "-w", "%{http_code}"]);
    assert_eq!(beyond.ok(), "416");
}

fn assert_same(path: &Path, bytes: &[u8], whom: &str) {
    let kept = fs::read(path).unwrap();
    assert!(kept == bytes, "{whom}: {} bytes of {}, or others", kept.len(), bytes.len());
}

/// sftp with a password, by sshpass.
fn sftp(house: &House, user: &User, batch: &str) -> Ran {
    let door = house.door("sftp");
    let mut command = clean_command("sshpass");
    command.env("HOME", house.folder()).env("SSHPASS", &user.password).args(["-e", "sftp", "-q", "-F", "/dev/null"]);
    for option in [
        "BatchMode=no",
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "LogLevel=ERROR",
        "PreferredAuthentications=password",
    ] {
        command.args(["-o", option]);
    }
    command.args(["-b", "-", "-P", &door.port().to_string(), &format!("{}@{}", user.name, door.ip())]);
    run_with(command, batch)
}
