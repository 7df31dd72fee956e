//! Every FTP client logs in, lists, puts, gets, goes on with a cut transfer both ways, renames and deletes: in clear, under
//! explicit and under implicit TLS, with and without a code.
//!
//! What a client cannot do by itself is named in [`CLIENTS`] with the reason; all else must work. Under TLS the server
//! demands protected data connections, so a client that quietly stays in clear fails. That a transfer was gone on with
//! and not begun anew is seen from its first bytes: the half that was there before is of other bytes than the whole.

use crate::{
    clients::ftp_clients::{Mode, run_script},
    house::House,
    newcomer::User,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
};

/// What a client cannot do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lack {
    /// Speak explicit TLS.
    Explicit,
    /// Speak implicit TLS.
    Implicit,
    /// Upload.
    Put,
    /// Upload under a name that is not there yet.
    PutAnew,
    /// Go on with an upload.
    ResumePut,
    /// Rename.
    Rename,
    /// Delete.
    Delete,
}

/// A client, its script, and what it cannot do, with the reason.
struct Row(&'static str, &'static str, &'static [(Lack, &'static str)]);

const NO_TLS: [(Lack, &str); 2] = [(Lack::Explicit, "speaks no TLS"), (Lack::Implicit, "speaks no TLS")];
const ONLY_READS: &str = "only reads";

const CLIENTS: [Row; 13] = [
    Row("lftp", "lftp.sh", &[]),
    Row("curl", "curl.sh", &[]),
    Row("FileZilla", "filezilla.py", &[]),
    Row("basic-ftp", "basic_ftp.js", &[]),
    Row("ftp (npm)", "ftp.js", &[(Lack::Implicit, "opens no connection in this mode under Node.js 20")]),
    Row("ftplib (Python)", "ftp_lib.py", &[]),
    Row("Net::FTP (Perl)", "net_ftp.pl", &[]),
    Row("Apache Commons Net", "CommonsNet.java", &[]),
    Row("NcFTP", "ncftp.sh", &NO_TLS),
    Row("tnftp", "tnftp.sh", &NO_TLS),
    Row("rclone", "rclone.sh", &[(Lack::ResumePut, "always puts whole files")]),
    Row(
        "curlftpfs",
        "curlftpfs.sh",
        &[
            (Lack::PutAnew, "gives up unless a file is listed before its first byte was sent"),
            (Lack::ResumePut, "refuses to append"),
        ],
    ),
    Row(
        "Wget",
        "wget.sh",
        &[
            (Lack::Put, ONLY_READS),
            (Lack::ResumePut, ONLY_READS),
            (Lack::Rename, ONLY_READS),
            (Lack::Delete, ONLY_READS),
        ],
    ),
];

const LENGTH: u32 = 400_003;
/// Where the first half ends: no multiple of any block.
const CUT: usize = 150_001;

#[test]
fn lftp_does_all_in_every_mode_with_and_without_a_code() {
    every_cell("lftp");
}

#[test]
fn curl_does_all_in_every_mode_with_and_without_a_code() {
    every_cell("curl");
}

#[test]
fn filezilla_does_all_in_every_mode_with_and_without_a_code() {
    every_cell("FileZilla");
}

#[test]
fn basic_ftp_does_all_in_every_mode_with_and_without_a_code() {
    every_cell("basic-ftp");
}

#[test]
fn ftp_of_npm_does_what_it_can_in_every_mode_it_knows_with_and_without_a_code() {
    every_cell("ftp (npm)");
}

#[test]
fn ftplib_does_all_in_every_mode_with_and_without_a_code() {
    every_cell("ftplib (Python)");
}

#[test]
fn net_ftp_does_all_in_every_mode_with_and_without_a_code() {
    every_cell("Net::FTP (Perl)");
}

#[test]
fn commons_net_does_all_in_every_mode_with_and_without_a_code() {
    every_cell("Apache Commons Net");
}

#[test]
fn ncftp_does_all_in_the_one_mode_it_knows_with_and_without_a_code() {
    every_cell("NcFTP");
}

#[test]
fn tnftp_does_all_in_the_one_mode_it_knows_with_and_without_a_code() {
    every_cell("tnftp");
}

#[test]
fn rclone_does_what_it_can_in_every_mode_with_and_without_a_code() {
    every_cell("rclone");
}

#[test]
fn curlftpfs_does_what_it_can_in_every_mode_with_and_without_a_code() {
    if !Path::new("/dev/fuse").exists() {
        eprintln!("curlftpfs was not tried: there is no /dev/fuse here, without which nothing can be mounted");
        return;
    }
    every_cell("curlftpfs");
}

#[test]
fn wget_reads_in_every_mode_with_and_without_a_code() {
    every_cell("Wget");
}

fn every_cell(client: &str) {
    let row = CLIENTS.iter().find(|row| row.0 == client).unwrap();
    let clear = House::open();
    let secured = House::open_with(&[("server_list[0].require_secure", "true")]);
    for mode in Mode::ALL {
        let house = if mode == Mode::Plain { &clear } else { &secured };
        if row.lacks(Lack::Explicit) && mode == Mode::Explicit || row.lacks(Lack::Implicit) && mode == Mode::Implicit {
            continue;
        }
        let known = house.newcomer(&format!("{mode}-password")).add();
        let asked = house.newcomer(&format!("{mode}-code")).enrolled().add();
        thread::scope(|scope| {
            scope.spawn(|| cell(house, row, mode, &known, &known.password));
            scope.spawn(|| {
                let password = format!("{}:{}", asked.password, asked.app().lasting_code());
                cell(house, row, mode, &asked, &password);
            });
        });
        for user in [known, asked] {
            logged_in_as_it_should(house, row, mode, &user);
        }
    }
}

/// One client in one mode as one user.
fn cell(house: &House, row: &Row, mode: Mode, user: &User, password: &str) {
    let whom = format!("{} as {}", row.0, user.name);
    let stage = Stage::set(house, row, user);
    let ran = run_script(row.1, house, mode, &user.name, password, &stage.work);
    assert!(ran.status.success(), "{whom}: {ran}");
    // Some clients end well whatever went wrong, so what they said is told with it.
    stage.judge(row, &format!("{whom}, which said {ran},\n"));
}

/// Fails unless each login of the user was granted under the mode's protocol, and a code was asked of who has an app.
fn logged_in_as_it_should(house: &House, row: &Row, mode: Mode, user: &User) {
    let whom = format!("{} as {}", row.0, user.name);
    let audit = house.audit();
    let logins: Vec<_> = audit.iter().filter(|it| it["kind"] == "login" && it["user"] == user.name.as_str()).collect();
    let of_mode = |it: &Value| it["result"] == "granted" && it["protocol"] == mode.protocol();
    assert!(!logins.is_empty() && logins.iter().all(|it| of_mode(it)), "{whom}: {logins:?}");
    assert_eq!(logins[0]["channel"] == "totp", user.app.is_some(), "{whom}: {logins:?}");
}

impl Row {
    fn lacks(&self, lack: Lack) -> bool {
        self.2.iter().any(|(it, _)| *it == lack)
    }
}

/// The files of one run, on both sides.
struct Stage {
    server: PathBuf,
    work: PathBuf,
    whole: Vec<u8>,
    there: Vec<u8>,
    half: Vec<u8>,
}

impl Stage {
    fn set(house: &House, row: &Row, user: &User) -> Self {
        let sample = |salt: u32| -> Vec<u8> {
            (0..LENGTH).map(|n| (n.wrapping_mul(2_654_435_761).wrapping_add(salt) >> 24) as u8).collect()
        };
        let stage = Self {
            server: house.home().join("files").join(&user.name),
            work: house.scratch(&user.name),
            whole: sample(1),
            there: sample(1 << 31),
            half: vec![b'h'; CUT],
        };
        fs::create_dir_all(&stage.server).unwrap();
        fs::create_dir_all(&stage.work).unwrap();
        let on_server = |name: &str, bytes: &[u8]| fs::write(stage.server.join(name), bytes).unwrap();
        on_server("there.bin", &stage.there);
        on_server("old name.bin", b"old");
        on_server("unwanted.bin", b"unwanted");
        if row.lacks(Lack::PutAnew) {
            on_server("put.bin", b"to be replaced");
        }
        let at_hand = |name: &str, bytes: &[u8]| fs::write(stage.work.join(name), bytes).unwrap();
        at_hand("whole.bin", &stage.whole);
        at_hand("half.bin", &stage.half);
        // For clients that can only append.
        at_hand("rest.bin", &stage.whole[CUT..]);
        at_hand("down.bin", &stage.half);
        stage
    }

    /// Fails unless each step has left what it must.
    fn judge(&self, row: &Row, whom: &str) {
        let listing = fs::read(self.work.join("listing")).unwrap_or_default();
        let listing = String::from_utf8_lossy(&listing);
        for name in ["there.bin", "unwanted.bin"] {
            assert!(listing.contains(name), "{whom}: {name} is not in the listing: {listing}");
        }
        let gone_on = |bytes: &[u8]| [&self.half, &bytes[CUT..]].concat();
        holds(&self.work.join("got.bin"), &self.there, whom);
        holds(&self.work.join("down.bin"), &gone_on(&self.there), whom);
        if !row.lacks(Lack::Put) {
            holds(&self.server.join("put.bin"), &self.whole, whom);
        }
        if !row.lacks(Lack::ResumePut) {
            holds(&self.server.join("up.bin"), &gone_on(&self.whole), whom);
        }
        if !row.lacks(Lack::Rename) {
            holds(&self.server.join("new name.bin"), b"old", whom);
            assert!(!self.server.join("old name.bin").exists(), "{whom}: the old name is still there");
        }
        if !row.lacks(Lack::Delete) {
            assert!(!self.server.join("unwanted.bin").exists(), "{whom}: what was deleted is still there");
        }
    }
}

/// Fails unless the file has these bytes.
fn holds(path: &Path, wanted: &[u8], whom: &str) {
    let bytes = fs::read(path).unwrap_or_else(|cause| panic!("{whom}: {}: {cause}", path.display()));
    assert!(bytes == wanted, "{whom}: {} has {} bytes of {}, or others", path.display(), bytes.len(), wanted.len());
}
