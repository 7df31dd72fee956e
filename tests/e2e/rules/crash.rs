//! What was answered with success is there after a crash at any moment, and nothing else is in sight.
//!
//! Uploads go on without end over every door at once until the server dies. `LOCKGATE_CRASH_ROUNDS` says how many times
//! (`make crash` says 1,000); the moments are drawn anew each time, from a seed that a failure names.

use crate::{
    house::House,
    newcomer::User,
    process,
    program::{clean_command, python, run_with, sources},
    waiting::{self, PATIENCE},
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, SystemTime},
};

/// Rounds in `make test`.
const FEW: u64 = 4;
/// Uploads that a round may see before its end.
const MOST_UPLOADS: u64 = 60;
/// How much later than an upload's end the crash may be, in microseconds.
const DELAY: u64 = 40_000;

fn rounds() -> u64 {
    env::var("LOCKGATE_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(FEW)
}

/// A number that differs from run to run; what it starts is told where a check fails.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    now.as_secs() % 1_000_000
}

/// Some number below `limit`, by seed and round.
fn drawn(seed: u64, round: u64, limit: u64) -> u64 {
    let mut mixed = (seed ^ round.rotate_left(32)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    for factor in [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB_u64] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(factor);
    }
    (mixed ^ (mixed >> 31)) % limit
}

/// The uploading process, and what it was told.
struct Uploads {
    log: PathBuf,
    process: Child,
}

impl Uploads {
    fn begin(house: &House, user: &User, number: u64) -> Self {
        let log = house.scratch("told");
        fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = script();
        command.arg("write").arg(&log).arg(number.to_string()).args([&user.name, &user.password]);
        for door in ["ftp", "ftps", "sftp", "http", "https"] {
            command.arg(format!("{door}={}", house.door(door)));
        }
        let complaints = fs::File::create(house.scratch("complaints")).unwrap();
        Self { log, process: command.stdout(Stdio::null()).stderr(complaints).spawn().unwrap() }
    }

    fn told(&self) -> usize {
        fs::read(&self.log).map_or(0, |log| log.iter().filter(|byte| **byte == b'\n').count())
    }

    /// Waits for so many more uploads, and a moment.
    fn until_after(&self, house: &House, uploads: u64, moment: Duration) {
        let wanted = self.told() + usize::try_from(uploads).unwrap();
        let came = waiting::holds(PATIENCE * 2, || self.told() > wanted);
        assert!(came, "uploads stand still: {}", fs::read_to_string(house.scratch("complaints")).unwrap());
        thread::sleep(moment);
    }

    /// Waits until every client has noticed that nobody is there.
    fn end(mut self) {
        assert!(waiting::holds(PATIENCE * 2, || self.process.try_wait().unwrap().is_some()), "the clients do not end");
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        let _ = self.process.kill();
    }
}

fn script() -> Command {
    let mut command = clean_command(python());
    // Isolated: the other scripts of its folder are no modules.
    command.arg("-I").arg(sources().join("tests/e2e/clients/scripts/crash.py"));
    command
}

fn check(log: &Path, folder: &Path) -> Command {
    let mut command = script();
    command.arg("check").arg(log).arg(folder);
    command
}

#[test]
fn killed_at_any_moment_the_server_keeps_what_it_acknowledged_and_nothing_half_done() {
    let mut house = House::open();
    let user = house.newcomer("crashing").with(&["--quota", "1000000000"]).add();
    let folder = house.home().join("files/crashing");
    let seed = seed();
    for round in 0..rounds() {
        let uploads = Uploads::begin(&house, &user, round + 1);
        let moment = Duration::from_micros(drawn(seed, round, DELAY));
        uploads.until_after(&house, drawn(seed + 1, round, MOST_UPLOADS), moment);
        house.kill();
        let log = uploads.log.clone();
        uploads.end();
        house.serve();
        // The sweep of a start takes what the dead server left.
        let mut last = None;
        let clean = waiting::holds(PATIENCE, || {
            let ran = run_with(check(&log, &folder), "");
            let clean = ran.code() == 0;
            last = Some(ran);
            clean
        });
        assert!(clean, "round {round} of seed {seed}:\n{}", last.unwrap());
        assert_eq!(used(&house, &user), on_disk(&folder), "round {round} of seed {seed}: the quota's count");
    }
}

/// What the quota counts, as WebDAV tells it.
fn used(house: &House, user: &User) -> u64 {
    let mut curl = clean_command("curl");
    curl.args(["-q", "-s", "-X", "PROPFIND", "-H", "Depth: 0", "-H", "Content-Type: application/xml", "--user"]);
    curl.arg(format!("{}:{}", user.name, user.password));
    curl.args(["--data", r#"<propfind xmlns="DAV:"><prop><quota-used-bytes/></prop></propfind>"#]);
    curl.arg(format!("http://{}/dav/", house.door("http")));
    let answer = run_with(curl, "").ok();
    let (_, rest) = answer.split_once("quota-used-bytes>").unwrap_or_else(|| panic!("no quota in {answer}"));
    rest.split('<').next().unwrap().parse().unwrap()
}

fn on_disk(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// As a power cut does it: the server stops dead, and of its file system only what was written to the disk by then is left.
/// The disk is an image whose copy is taken while the server stands still; what only the kernel had in memory is not in it.
/// Needs the right to mount, and says so where that is missing.
#[test]
fn a_power_cut_at_any_moment_takes_nothing_that_was_acknowledged() {
    let mut house = House::made();
    let (root, image) = (house.folder().join("disk"), house.scratch("image"));
    fs::create_dir_all(&root).unwrap();
    if !can_mount(&image, &root) {
        eprintln!("not done: this takes the right to mount an image (root, and a loop device)");
        return;
    }
    let user = house.newcomer("powerless").with(&["--root", root.to_str().unwrap()]).add();
    let seed = seed();
    for round in 0..rounds().div_ceil(2) {
        make_image(&image);
        let log = house.scratch("told");
        let _ = fs::remove_file(&log);
        house.serve_behind(mounted(&image, &root, r#"exec "$@""#));
        let uploads = Uploads::begin(&house, &user, round + 1);
        let moment = Duration::from_micros(drawn(seed, round, DELAY));
        uploads.until_after(&house, drawn(seed + 1, round, MOST_UPLOADS), moment);
        process::signal(house.pid(), "STOP");
        let (told, left) = (house.scratch("told-by-then"), house.scratch("left"));
        fs::copy(&image, &left).unwrap();
        fs::copy(&log, &told).unwrap();
        house.kill();
        uploads.end();
        // What a start sweeps away is no fault here.
        let sweep = r#"rm -rf "$1/lost+found" "$1"/.lockgate-up-* && shift && exec "$@""#;
        let check = check(&told, &root);
        let mut command = mounted(&left, &root, sweep);
        command.arg(&root).arg(check.get_program()).args(check.get_args());
        let ran = run_with(command, "");
        assert_eq!(ran.code(), 0, "round {round} of seed {seed}:\n{ran}");
    }
}

/// Runs `script` where the image is mounted at `root`, with what is added to the command as its arguments. Without a journal
/// that runs by itself every few seconds, which would hide a forgotten sync.
fn mounted(image: &Path, root: &Path, script: &str) -> Command {
    let script = format!(r#"mount -o loop,commit=300 "$1" "$2" && shift 2 && {script}"#);
    let mut command = clean_command("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh"]).args([image, root]);
    command
}

fn make_image(image: &Path) {
    fs::File::create(image).unwrap().set_len(192 << 20).unwrap();
    let mut make = clean_command("mkfs.ext4");
    make.args(["-q", "-F"]).arg(image);
    run_with(make, "").ok();
}

fn can_mount(image: &Path, root: &Path) -> bool {
    make_image(image);
    run_with(mounted(image, root, "true"), "").status.success()
}
