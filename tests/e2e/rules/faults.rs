//! What can go wrong below the server: each door says it in the words of its protocol, the old file stays, nothing is left lying
//! about, and the server goes on.
//!
//! The server runs in a name space of its own with small file systems under the users' roots, and without the right to pass over
//! permissions, so that a closed folder is closed.

use crate::{
    clients::{
        Verdict, every_door,
        halves::{DOORS, Halves},
    },
    house::House,
    newcomer::User,
    process,
    program::{Ran, clean_command, run_with},
    waiting::{self, PATIENCE},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// More than any of the small file systems has room for.
const LARGE: usize = 2 << 20;
const OLD: usize = 1000;

/// One thing that goes wrong.
struct Fault {
    name: &'static str,
    /// Makes the user's root, before the server starts. `$1` is the root, `$2` a folder beside it.
    made_by: &'static str,
    /// Lets it happen, and ends it.
    begins: &'static str,
    ends: &'static str,
    /// The system call that fails meanwhile.
    breaks: &'static str,
    quota: &'static str,
    /// What FTP, SFTP and HTTP say.
    said: [&'static str; 3],
    /// Whether the client may find there what it has sent, to go on with it.
    keeps: bool,
}

/// A disk of its own with 64 MiB, of which a quarter can be had: what has no place is found out at the sync.
const THIN: &str = r#"mkdir "$2" && mount -t tmpfs -o size=16m tmpfs "$2" && truncate -s 64m "$2/image" &&
    mkfs.ext4 -q -F -O ^has_journal -E nodiscard,lazy_itable_init=0 "$2/image" && mount -o loop "$2/image" "$1""#;

const FAULTS: [Fault; 7] = [
    Fault {
        name: "full",
        made_by: r#"mount -t tmpfs -o size=1m tmpfs "$1""#,
        begins: "true",
        ends: "true",
        breaks: "",
        quota: "0",
        said: ["452", "FAILURE: no space left", "507"],
        keeps: false,
    },
    Fault {
        name: "over-quota",
        made_by: "true",
        begins: "true",
        ends: "true",
        breaks: "",
        quota: "1000000",
        said: ["552", "FAILURE: quota exceeded", "507"],
        keeps: true,
    },
    Fault {
        name: "read-only",
        made_by: r#"mount -t tmpfs tmpfs "$1""#,
        begins: r#"mount -o remount,ro "$1""#,
        ends: r#"mount -o remount,rw "$1""#,
        breaks: "",
        quota: "0",
        said: ["550", "PERMISSION_DENIED: read-only", "403"],
        keeps: false,
    },
    Fault {
        name: "closed",
        made_by: "true",
        begins: r#"chmod 555 "$1""#,
        ends: r#"chmod 755 "$1""#,
        breaks: "",
        quota: "0",
        said: ["550", "PERMISSION_DENIED: not permitted", "403"],
        keeps: false,
    },
    Fault {
        name: "thin",
        made_by: THIN,
        // The filling fails by intent: it goes on until there is no room.
        begins: r#"sync -f "$1" 2>/dev/null; cat /dev/zero >"$2/filler" 2>/dev/null || true"#,
        ends: r#"rm "$2/filler""#,
        breaks: "",
        quota: "0",
        said: ["452", "FAILURE: no space left", "507"],
        keeps: false,
    },
    Fault {
        name: "unwritable",
        made_by: THIN,
        begins: "true",
        ends: "true",
        breaks: "pwrite64",
        quota: "0",
        said: ["451", "FAILURE: storage error", "500"],
        keeps: false,
    },
    Fault {
        // Whatever the next sync says: what was written before this one may not be there.
        name: "unsynced",
        made_by: THIN,
        begins: "true",
        ends: "true",
        breaks: "fdatasync",
        quota: "0",
        said: ["451", "FAILURE: storage error", "500"],
        keeps: false,
    },
];

/// The words of a door.
fn said_by<'w>(door: &str, words: [&'w str; 3]) -> Vec<&'w str> {
    let [ftp, sftp, http] = words;
    match door {
        "ftp" | "ftps" => vec![ftp],
        "sftp" => vec![sftp],
        _ => vec![http],
    }
}

/// A system call of the server that fails as long as this lives.
struct Broken(Child);

impl Broken {
    fn call(house: &House, call: &str) -> Self {
        let mut strace = clean_command("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-p", &house.pid().to_string()]);
        strace.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:error=EIO")]);
        let broken = Self(strace.stderr(Stdio::null()).spawn().unwrap());
        assert!(waiting::holds(PATIENCE, || all_traced(house.pid())), "strace does not attach");
        broken
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        process::signal(self.0.id(), "INT");
        let _ = self.0.wait();
    }
}

/// Whether every thread of the process is traced.
fn all_traced(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let mut told = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    told.all(|status| !status.contains("TracerPid:\t0\n"))
}

/// A house for faults, and where its users' files are.
struct Frail {
    house: House,
    users: Vec<(User, PathBuf)>,
}

impl Frail {
    /// The server over roots made by these scripts; `None` where that takes a right that the test has not.
    fn open(roots: &[(&str, &str, &str)]) -> Option<Self> {
        let mut probe = outer();
        probe.arg("true");
        let ran = run_with(probe, "");
        if ran.code() != 0 {
            eprintln!(
                "not done: this takes the right to mount file systems (root, outside a container): {}",
                ran.stderr
            );
            return None;
        }
        let mut house = House::made();
        let (mut users, mut script) = (Vec::new(), String::from("umask 022\n"));
        for (name, made_by, quota) in roots {
            let root = house.folder().join(name);
            fs::create_dir_all(&root).unwrap();
            let mut arguments = vec!["--root", root.to_str().unwrap()];
            if *quota != "0" {
                arguments.extend(["--quota", quota]);
            }
            users.push((house.newcomer(name).with(&arguments).add(), root.clone()));
            let beside = beside(&root);
            script +=
                &format!("set -- '{}' '{}' \"$@\"\n{made_by} || exit 9\nshift 2\n", root.display(), beside.display());
        }
        script += r#"exec setpriv --bounding-set -dac_override,-dac_read_search "$@""#;
        let mut command = outer();
        command.args(["sh", "-c", &script, "sh"]);
        house.serve_behind(command);
        Some(Self { house, users })
    }

    /// Runs a script where the server sees the file systems.
    fn inside(&self, root: &Path, script: &str) -> Ran {
        let mut command = clean_command("nsenter");
        command.args(["--mount", "--target", &self.house.pid().to_string(), "sh", "-c", script, "sh"]);
        command.args([root, &beside(root)]);
        run_with(command, "")
    }

    /// What is in a root besides these names.
    fn litter(&self, root: &Path, names: &[&str]) -> Vec<String> {
        let listed = self.inside(root, r#"ls -A "$1""#).ok();
        listed.lines().filter(|name| !names.contains(name)).map(str::to_owned).collect()
    }
}

fn beside(root: &Path) -> PathBuf {
    root.with_extension("beside")
}

fn outer() -> Command {
    let mut command = clean_command("unshare");
    command.args(["--mount", "--propagation", "private"]);
    command
}

/// An upload from its beginning to its end, or to what the server has against it.
fn put(client: &mut Halves, byte: char, length: usize) -> String {
    match client.say(&format!("put name {byte} {length}")).as_str() {
        "begun" => client.say("finish"),
        refused => refused.to_owned(),
    }
}

#[test]
fn a_fault_below_the_server_is_told_in_the_words_of_each_door_and_the_old_file_stays() {
    let roots: Vec<_> = FAULTS.iter().map(|fault| (fault.name, fault.made_by, fault.quota)).collect();
    let Some(frail) = Frail::open(&roots) else { return };
    for (fault, (user, root)) in FAULTS.iter().zip(&frail.users) {
        let mut all = Halves::open_each(&frail.house, user);
        for client in &mut all {
            let whom = format!("{}, {}", fault.name, client.door);
            assert_eq!(put(client, 'o', OLD), "done", "{whom}: before");
            frail.inside(root, fault.begins).ok();
            let broken = (!fault.breaks.is_empty()).then(|| Broken::call(&frail.house, fault.breaks));
            let told = put(client, 'n', LARGE);
            drop(broken);
            let fits = said_by(client.door, fault.said).iter().any(|word| told.contains(word));
            assert!(told.starts_with("refused: ") && fits, "{whom}: {told}");
            assert!(!told.contains(root.to_str().unwrap()), "{whom} names a folder of the host: {told}");
            client.must("get name", "begun", &whom);
            client.must("rest", &format!("{OLD} o"), &whom);
            frail.inside(root, fault.ends).ok();
            let litter = frail.litter(root, &["name", "lost+found"]);
            let fine = |name: &String| fault.keeps && name.starts_with(".lockgate-part-");
            assert!(litter.iter().all(fine), "{whom}: {litter:?}");
            assert_eq!(put(client, 'a', 2 * OLD), "done", "{whom}: afterwards");
            client.must("get name", "begun", &whom);
            client.must("rest", &format!("{} a", 2 * OLD), &whom);
            assert_eq!(frail.litter(root, &["name", "lost+found"]), Vec::<String>::new(), "{whom}: afterwards");
        }
    }
}

#[test]
fn where_the_root_was_removed_nothing_is_found_and_nobody_is_let_in_until_it_is_back() {
    let house = House::open();
    let root = house.folder().join("root");
    fs::create_dir_all(&root).unwrap();
    let user = house.newcomer("rootless").with(&["--root", root.to_str().unwrap()]).add();
    let mut living = Halves::open_each(&house, &user);
    for client in &mut living {
        assert_eq!(put(client, 'o', OLD), "done", "{}: before", client.door);
    }
    fs::remove_dir_all(&root).unwrap();
    for client in &mut living {
        let told = put(client, 'n', OLD);
        let words = said_by(client.door, ["550", "NO_SUCH_FILE: no such file", "401"]);
        assert!(words.iter().any(|word| told.contains(word)), "{}: {told}", client.door);
        client.refuses("get name", &said_by(client.door, ["550", "NO_SUCH_FILE", "401"]), "without a root");
    }
    for client in every_door(&house).iter().filter(|client| !client.repeats()) {
        let told = client.login(&house, &user.with_password());
        assert_ne!(told.verdict, Verdict::Granted, "{}: {}", client.name(), told.said);
        assert!(!told.said.contains(root.to_str().unwrap()), "{}: {}", client.name(), told.said);
        assert!(!root.exists(), "{}: a folder is made in its place", client.name());
    }
    fs::create_dir(&root).unwrap();
    for mut client in Halves::open_each(&house, &user) {
        assert_eq!(put(&mut client, 'a', OLD), "done", "{}: a new login", client.door);
    }
    // Whoever shows the password with each request logs in with each request.
    for client in living.iter_mut().filter(|client| ["http", "dav", "tus"].contains(&client.door)) {
        assert_eq!(put(client, 'a', OLD), "done", "{}: the next request", client.door);
    }
}

#[test]
fn a_disk_that_fails_in_the_middle_of_a_download_is_no_end_of_the_file() {
    // A file of three quarters of the disk, of which the disk then loses its second half.
    let made_by = r#"mkdir "$2" && mount -t tmpfs -o size=40m tmpfs "$2" && truncate -s 32m "$2/image" &&
        mkfs.ext4 -q -F -O ^has_journal "$2/image" && mount -o loop "$2/image" "$1" &&
        head -c 24m /dev/zero | tr '\0' l >"$1/large" && echo small >"$1/small" && sync -f "$1" && truncate -s 16m "$2/image" &&
        dd of="$1/large" oflag=nocache conv=notrunc,fdatasync count=0 2>/dev/null"#;
    let Some(frail) = Frail::open(&[("losing", made_by, "0")]) else { return };
    let (user, _) = &frail.users[0];
    for (door, _) in DOORS.into_iter().filter(|(door, _)| *door != "tus") {
        let mut client = Halves::open(&frail.house, user, door);
        client.greeted();
        client.must("get large", "begun", "losing");
        client.refuses("rest", &said_by(door, ["451", "FAILURE: storage error", "cut"]), "losing");
        client.must("get small", "begun", "losing");
        assert!(client.say("rest").starts_with("6 "), "{door}");
    }
}
