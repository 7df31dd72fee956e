//! Resumable uploads by the tus protocol, with the client that browsers use.

use crate::{
    house::House,
    newcomer::User,
    process,
    program::{Ran, clean_command, run_with, sources},
    waiting::{self, PATIENCE},
};
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const LENGTH: usize = 3_000_003;
/// Where the client falls silent: no multiple of any block.
const SILENT_AFTER: usize = 1_700_001;

fn sample() -> Vec<u8> {
    (0..LENGTH as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn endpoint(house: &House, door: &str) -> String {
    format!("{door}://{}/api/v1/uploads", house.door(door))
}

/// The script on `file`, with these words for it.
fn client(user: &User, file: &Path, words: &[(&str, &str)]) -> Command {
    let mut command = clean_command("timeout");
    command.args(["--kill-after=10", "120", "node"]).arg(sources().join("tests/e2e/clients/scripts/tus.js"));
    command
        .env("NODE_PATH", sources().join("target/npm/node_modules"))
        .env("NAME", &user.name)
        .env("PASSWORD", &user.password)
        .env("FILE", file)
        .envs(words.iter().copied());
    command
}

/// Bytes of the only upload that is not committed.
fn kept(folder: &Path) -> Option<u64> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let hidden = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".lockgate-"));
    hidden.filter_map(|entry| entry.metadata().ok()).map(|facts| facts.len()).max()
}

/// An upload whose client has fallen silent in the middle of it.
struct Half {
    client: Child,
    folder: PathBuf,
    target: String,
}

impl Half {
    fn begin(house: &House, user: &User, file: &Path, door: &str) -> Self {
        let (folder, target) = (house.home().join("files").join(&user.name), format!("by-{door}.bin"));
        let (address, silent) = (endpoint(house, door), SILENT_AFTER.to_string());
        let words = [("ENDPOINT", &*address), ("TARGET", &*target), ("SILENT_AFTER", &*silent)];
        let client = client(user, file, &words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let came = waiting::holds(PATIENCE, || kept(&folder).is_some_and(|bytes| bytes > SILENT_AFTER as u64 / 2));
        assert!(came, "{door}: nothing came");
        Self { client, folder, target }
    }

    /// The last part of its address, once its client has given up.
    fn given_up(&mut self) -> String {
        assert!(!self.client.wait().unwrap().success(), "{}: the client takes half of it for all", self.target);
        let mut told = String::new();
        self.client.stdout.take().unwrap().read_to_string(&mut told).unwrap();
        assert!(!self.folder.join(&self.target).exists(), "{}: half a file is in sight", self.target);
        let url = told.lines().find_map(|line| line.strip_prefix("url ")).unwrap();
        url.rsplit_once('/').unwrap().1.to_owned()
    }

    /// Goes on with it; where that was.
    fn finish(&self, user: &User, file: &Path, address: &str) -> u64 {
        let told = run_with(client(user, file, &[("UPLOAD", address)]), "").ok();
        assert!(told.ends_with("done\n"), "{}: {told}", self.target);
        assert!(fs::read(self.folder.join(&self.target)).unwrap() == sample(), "{}: other bytes", self.target);
        assert_eq!(kept(&self.folder), None, "{}: something stays", self.target);
        told.lines().find_map(|line| line.strip_prefix("HEAD ")).unwrap().parse().unwrap()
    }
}

#[test]
fn an_upload_goes_on_after_the_server_died_in_the_middle_of_it() {
    let mut house = House::open();
    let user = house.newcomer("patient").with(&["--quota", "10000000"]).add();
    let file = house.scratch("whole.bin");
    fs::write(&file, sample()).unwrap();
    for door in ["http", "https"] {
        let mut half = Half::begin(&house, &user, &file, door);
        house.kill();
        let id = half.given_up();
        house.serve();
        let from = half.finish(&user, &file, &format!("{}/{id}", endpoint(&house, door)));
        assert!(from > SILENT_AFTER as u64 / 2 && from <= SILENT_AFTER as u64, "{door}: goes on at {from}");
    }
}

#[test]
fn an_upload_whose_client_died_goes_on_with_all_that_came_of_it() {
    let house = House::open();
    let user = house.newcomer("patient").add();
    let file = house.scratch("whole.bin");
    fs::write(&file, sample()).unwrap();
    for door in ["http", "https"] {
        let mut half = Half::begin(&house, &user, &file, door);
        let there = kept(&half.folder).unwrap();
        process::signal(half.client.id(), "TERM");
        let id = half.given_up();
        let from = half.finish(&user, &file, &format!("{}/{id}", endpoint(&house, door)));
        assert!(from >= there && from <= SILENT_AFTER as u64, "{door}: goes on at {from}, not at {there}");
    }
}

#[test]
fn an_upload_comes_whole_in_pieces_of_any_size() {
    let house = House::open();
    let user = house.newcomer("piecemeal").add();
    let (folder, file) = (house.home().join("files/piecemeal"), house.scratch("whole.bin"));
    fs::create_dir_all(folder.join("in")).unwrap();
    for (n, (bytes, words)) in [
        (sample(), vec![]),
        (sample(), vec![("CHUNK", "262147")]),
        (sample(), vec![("CHUNK", "1000000"), ("OVERRIDE", "1")]),
        (sample(), vec![("CHUNK", "1000000"), ("EAGER", "1")]),
        (sample(), vec![("EAGER", "1")]),
        (Vec::new(), vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&file, &bytes).unwrap();
        // An old file of the name is replaced.
        fs::write(folder.join(format!("in/{}.bin", n / 2)), "old").unwrap();
        let target = format!("in/{}.bin", n / 2);
        let address = endpoint(&house, "http");
        let words = [&[("ENDPOINT", &*address), ("TARGET", &*target)], &words[..]].concat();
        let told = run_with(client(&user, &file, &words), "").ok();
        assert!(told.ends_with("done\n"), "{words:?}: {told}");
        assert!(fs::read(folder.join(&target)).unwrap() == bytes, "{words:?}: other bytes");
        assert_eq!(kept(&folder.join("in")), None, "{words:?}: something stays");
    }
}

fn curl(user: Option<&User>, url: &str, more: &[&str]) -> Ran {
    let mut command = clean_command("curl");
    command.args(["-q", "-s", "-S", "-i", "--max-time", "40"]);
    if let Some(user) = user {
        command.args(["--user", &format!("{}:{}", user.name, user.password)]);
    }
    command.args(more).arg(url);
    run_with(command, "")
}

#[test]
fn a_client_is_told_what_is_spoken_and_what_has_no_room() {
    let house = House::open();
    let user = house.newcomer("frugal").with(&["--quota", "1000"]).add();
    let url = endpoint(&house, "http");
    let offer = curl(None, &url, &["-X", "OPTIONS"]).ok().to_lowercase();
    assert!(offer.starts_with("http/1.1 204"), "{offer}");
    for line in ["tus-version: 1.0.0", "tus-resumable: 1.0.0", "tus-checksum-algorithm: sha1,"] {
        assert!(offer.contains(line), "{line} is not in {offer}");
    }
    // A file named "a", of 1001 bytes.
    let wish = ["-X", "POST", "-H", "Upload-Length: 1001", "-H", "Upload-Metadata: path YQ=="];
    let version = ["-H", "Tus-Resumable: 1.0.0"];
    let other = curl(Some(&user), &url, &wish).ok().to_lowercase();
    assert!(other.starts_with("http/1.1 412") && other.contains("tus-version: 1.0.0"), "{other}");
    let stranger = curl(None, &url, &[&wish[..], &version].concat()).ok();
    assert!(stranger.starts_with("HTTP/1.1 401"), "{stranger}");
    let large = curl(Some(&user), &url, &[&wish[..], &version].concat()).ok().to_lowercase();
    assert!(large.starts_with("http/1.1 507") && large.contains("tus-resumable: 1.0.0"), "{large}");
    assert_eq!(kept(&house.home().join("files/frugal")), None);
}

#[test]
fn no_upload_begins_that_could_not_be_gone_on_with() {
    let house = House::open_with(&[("upload_keep", "0")]);
    let user = house.newcomer("hasty").add();
    let wish = ["-X", "POST", "-H", "Upload-Length: 1", "-H", "Upload-Metadata: path YQ=="];
    let refused = curl(Some(&user), &endpoint(&house, "http"), &[&wish[..], &["-H", "Tus-Resumable: 1.0.0"]].concat());
    let refused = refused.ok();
    assert!(refused.starts_with("HTTP/1.1 501"), "{refused}");
}

#[test]
fn an_address_opens_nothing_to_another_user() {
    let house = House::open();
    let root = house.folder().join("shared");
    fs::create_dir_all(&root).unwrap();
    let join = |name| house.newcomer(name).with(&["--root", root.to_str().unwrap()]).add();
    let (owner, other) = (join("owner"), join("other"));
    let wish = ["-X", "POST", "-H", "Upload-Length: 4", "-H", "Upload-Metadata: path YQ=="];
    let version = ["-H", "Tus-Resumable: 1.0.0"];
    let begun = curl(Some(&owner), &endpoint(&house, "http"), &[&wish[..], &version].concat()).ok();
    let path = begun.lines().find_map(|line| line.strip_prefix("location: ")).unwrap().trim();
    let url = format!("http://{}{path}", house.door("http"));
    let status = |user, more: &[&str]| {
        let answer = curl(Some(user), &url, &[more, &version].concat()).ok();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let part =
        ["-X", "PATCH", "-H", "Upload-Offset: 0", "-H", "Content-Type: application/offset+octet-stream", "-d", "full"];
    for request in [&["-I"][..], &["-X", "DELETE"], &part] {
        assert_eq!(status(&other, request), "404", "{request:?}");
    }
    assert_eq!((status(&owner, &["-I"]), status(&owner, &part)), ("200".to_owned(), "204".to_owned()));
    assert_eq!(fs::read(root.join("a")).unwrap(), b"full");
}
