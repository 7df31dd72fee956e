//! What the users of sshfs, WinSCP, FileZilla and rclone rely on, as on a local Unix disk.

use crate::{
    clients::{Method, OpenSsh},
    house::House,
    newcomer::User,
    process,
    program::{clean_command, python, run_with, sources},
    waiting::{self, PATIENCE},
};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

fn user_with_folder(house: &House, name: &str) -> (User, PathBuf) {
    let user = house.newcomer(name).add();
    let folder = house.home().join("files").join(name);
    fs::create_dir_all(&folder).unwrap();
    (user, folder)
}

#[test]
fn each_request_has_the_effect_and_the_code_that_clients_rely_on() {
    let house = House::open();
    let (user, folder) = user_with_folder(&house, "precise");
    let door = house.door("sftp");
    let mut command = clean_command(python());
    command.env("HOME", house.folder()).env("NAME", &user.name).env("PASSWORD", &user.password);
    command.arg(sources().join("tests/e2e/clients/scripts/sftp_details.py"));
    command.args([&door.ip().to_string(), &door.port().to_string()]).arg(&folder);
    run_with(command, "").ok();
}

/// A time in the past, to the second.
const THEN: u64 = 1_500_000_000;

/// Makes a file with a mode and a time that no new file has.
fn make(path: &Path, bytes: &str, mode: u32) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(THEN);
    fs::File::options().read(true).open(path).unwrap().set_modified(then).unwrap();
}

/// Mode and time of a file.
fn facts(path: &Path) -> (u32, i64) {
    let found = fs::metadata(path).unwrap();
    (found.mode() & 0o7777, found.mtime())
}

#[test]
fn openssh_keeps_times_and_modes_both_ways_and_does_the_rest_of_its_commands() {
    let house = House::open();
    let (user, folder) = user_with_folder(&house, "openssh");
    let (there, back) = (house.scratch("there"), house.scratch("back"));
    fs::create_dir_all(there.join("in")).unwrap();
    make(&there.join("in/file"), "0123456789", 0o640);
    fs::set_permissions(there.join("in"), fs::Permissions::from_mode(0o750)).unwrap();
    let batch = format!(
        "put -rp {0} .\nget -rp there {1}\nchmod 600 there/in/file\ncopy there/in/file copied\n\
         rename copied there/in/file\nmkdir new\nrmdir new\ndf\nls -ln there/in\n-ln -s there link\n-ln there/in/file second\n",
        there.display(),
        back.display()
    );
    let told = OpenSsh(Method::Any).run(&house, &user.with_password(), &batch);
    told.must_be_granted("openssh");
    let wanted = (0o640, i64::try_from(THEN).unwrap());
    assert_eq!(facts(&back.join("in/file")), wanted, "{}", told.said);
    assert_eq!(fs::metadata(folder.join("there/in")).unwrap().mode() & 0o7777, 0o750);
    assert_eq!(fs::read_to_string(folder.join("there/in/file")).unwrap(), "0123456789");
    assert!(!folder.join("copied").exists() && !folder.join("link").exists() && !folder.join("second").exists());
    let denied = told.said.matches("ermission denied").count();
    assert_eq!(denied, 2, "links are made only with the right to: {}", told.said);
    assert!(told.said.lines().any(|line| line.starts_with("-rw") && line.ends_with("file")), "{}", told.said);
    // Without -p a file has what a new file has.
    fs::remove_dir_all(folder.join("there")).unwrap();
    let plain = format!("put {0}/in/file plain\n", there.display());
    OpenSsh(Method::Any).run(&house, &user.with_password(), &plain).must_be_granted("openssh");
    assert_ne!(facts(&folder.join("plain")), wanted);
}

#[test]
fn rclone_sees_by_size_and_time_that_nothing_has_changed() {
    let house = House::open();
    let (user, folder) = user_with_folder(&house, "rclone");
    let there = house.scratch("there");
    fs::create_dir_all(there.join("in")).unwrap();
    make(&there.join("in/file"), "one", 0o644);
    let rclone = |arguments: &[&str]| {
        let mut command = clean_command("rclone");
        command.env("HOME", house.folder()).args(["--config", "", "--retries", "1"]).args(arguments);
        command
    };
    let pass = run_with(rclone(&["obscure", "-"]), &user.password).ok();
    let sync = |source: &str, target: &str| {
        let (door, mut command) = (house.door("sftp"), rclone(&["sync", source, target]));
        command.env("RCLONE_SFTP_HOST", door.ip().to_string()).env("RCLONE_SFTP_PORT", door.port().to_string());
        command.env("RCLONE_SFTP_USER", &user.name).env("RCLONE_SFTP_PASS", pass.trim());
        run_with(command, "").ok();
    };
    let (source, back) = (there.to_str().unwrap(), house.scratch("back"));
    sync(source, ":sftp:there");
    assert_eq!(facts(&folder.join("there/in/file")).1, i64::try_from(THEN).unwrap());
    // Of the same length and time: a second run has no reason to touch it.
    make(&folder.join("there/in/file"), "two", 0o644);
    sync(source, ":sftp:there");
    assert_eq!(fs::read_to_string(folder.join("there/in/file")).unwrap(), "two");
    sync(":sftp:there", back.to_str().unwrap());
    assert_eq!(facts(&back.join("in/file")).1, i64::try_from(THEN).unwrap());
    fs::remove_file(there.join("in/file")).unwrap();
    fs::write(there.join("in/other"), "three").unwrap();
    sync(source, ":sftp:there");
    assert!(!folder.join("there/in/file").exists() && folder.join("there/in/other").exists());
}

/// FileZilla and WinSCP have their SFTP from PuTTY.
#[test]
fn putty_does_all_of_its_commands_and_goes_on_with_what_was_cut() {
    let house = House::open();
    let (user, folder) = user_with_folder(&house, "putty");
    let (door, there) = (house.door("sftp"), house.scratch("there"));
    fs::create_dir_all(there.join("in")).unwrap();
    make(&there.join("in/file"), "0123456789", 0o644);
    make(&there.join("half"), "01234", 0o644);
    fs::write(folder.join("half"), "012").unwrap();
    fs::write(folder.join("whole"), "abcdef").unwrap();
    fs::write(there.join("whole"), "abc").unwrap();
    let mut scan = clean_command("sh");
    scan.args(["-c", r#"ssh-keyscan -t ed25519 -p "$0" "$1" 2>/dev/null | ssh-keygen -lf -"#]);
    scan.args([&door.port().to_string(), &door.ip().to_string()]);
    let key = run_with(scan, "").ok().split(' ').nth(1).unwrap().to_owned();
    let batch = house.scratch("batch");
    let lines = "put -r in\nreput half\nreget whole\nmkdir new\nmv in/file new/file\nchmod 600 new/file\nls new\nput half new/file\n\
                 get new/file back\nrmdir in\ndel half\nquit\n";
    fs::write(&batch, lines).unwrap();
    let mut psftp = clean_command("psftp");
    psftp.env("HOME", house.folder()).current_dir(&there).args(["-batch", "-hostkey", &key, "-pw", &user.password]);
    psftp.args(["-P", &door.port().to_string(), "-b"]).arg(&batch).arg(format!("{}@{}", user.name, door.ip()));
    let ran = run_with(psftp, "");
    assert_eq!(ran.code(), 0, "{ran}");
    assert!(ran.stdout.lines().any(|line| line.starts_with("-rw-------") && line.ends_with("file")), "{ran}");
    let told = (fs::read_to_string(there.join("whole")).unwrap(), fs::read_to_string(there.join("back")).unwrap());
    assert_eq!(told, ("abcdef".to_owned(), "01234".to_owned()), "{ran}");
    assert_eq!(facts(&folder.join("new/file")).0, 0o600, "{ran}");
    assert!(!folder.join("in").exists() && !folder.join("half").exists(), "{ran}");
}

/// A user's tree as a folder of this machine. Unmounted when it goes.
struct Mounted {
    place: PathBuf,
    sshfs: Child,
}

impl Mounted {
    fn at(house: &House, user: &User) -> Self {
        let (door, place) = (house.door("sftp"), house.scratch("mounted"));
        fs::create_dir_all(&place).unwrap();
        let mut command = clean_command("sshfs");
        command.env("HOME", house.folder()).args(["-f", "-p", &door.port().to_string()]);
        command.args(["-o", "password_stdin,StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null,dir_cache=no"]);
        command.args(["-o", "PreferredAuthentications=password"]);
        command.arg(format!("{}@{}:/", user.name, door.ip())).arg(&place);
        let mut sshfs = command.stdin(Stdio::piped()).spawn().unwrap();
        writeln!(sshfs.stdin.take().unwrap(), "{}", user.password).unwrap();
        let (before, mounted) = (fs::metadata(house.folder()).unwrap().dev(), Self { place, sshfs });
        let there = || fs::metadata(&mounted.place).is_ok_and(|found| found.dev() != before);
        assert!(waiting::holds(PATIENCE, there), "sshfs does not mount: {}", house.log());
        mounted
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = clean_command("fusermount").args(["-u", "-z"]).arg(&self.place).status();
        if self.sshfs.try_wait().is_ok_and(|ended| ended.is_none()) {
            process::signal(self.sshfs.id(), "TERM");
        }
        let _ = self.sshfs.wait();
    }
}

/// What programs do in a folder that they take for a local one: a script, and what it prints.
const AS_LOCAL: [(&str, &str); 15] = [
    ("cp -p \"$GIVEN\" f; stat -c '%s %a %Y' f", "10 640 1500000000\n"),
    ("printf 12 >a; printf 34 >>a; cat a", "1234"),
    ("printf 123456 >a; truncate -s 3 a; cat a; : >a; stat -c %s a; truncate -s 5 a; stat -c %s a", "1230\n5\n"),
    ("printf 0123456789 >r; printf ab | dd of=r bs=1 seek=3 conv=notrunc,fsync 2>&-; cat r", "012ab56789"),
    ("printf new >b; printf old >c; mv b c; cat c; ls", "newa\nc\nf\nr\n"),
    ("printf kept >d; exec 3<d; rm d; cat <&3; ls -A d 2>&- || echo gone", "keptgone\n"),
    ("printf 1 >e; exec 3>>e; mv e e.1; printf 2 >&3; exec 3>&-; cat e.1; rm e.1", "12"),
    ("touch -d @1400000000 f; chmod 600 f; stat -c '%a %Y' f", "600 1400000000\n"),
    ("mkdir -m 700 in; stat -c %a in; mkdir in/deep; rmdir in 2>&1 | grep -c empty; rm -r in", "700\n1\n"),
    (
        "ln -s f l 2>&1 | grep -c 'Permission denied'; ln f h 2>&1 | grep -c 'not permitted\\|Permission denied'",
        "1\n1\n",
    ),
    ("set -C; (printf x >f) 2>&- || echo taken; cat f", "taken\n0123456789"),
    (
        "touch $'\\xff\\xfe'; ls | od -An -c | head -1; rm $'\\xff\\xfe'",
        "   a  \\n   c  \\n   f  \\n   r  \\n 377 376  \\n\n",
    ),
    ("cat none 2>&1 | grep -c 'No such file'; chown 12345 f 2>&1 | grep -c 'Permission denied'", "1\n1\n"),
    (
        "df --output=target . | tail -1 | grep -c mounted; [ $(df --output=avail . | tail -1) -gt 0 ] && echo room",
        "1\nroom\n",
    ),
    ("dd if=/dev/zero of=big bs=1M count=5 2>&-; cmp -n 5242880 big /dev/zero && rm -f a big c f r; ls -A", ""),
];

#[test]
fn a_tree_that_is_mounted_by_sshfs_is_like_a_local_folder() {
    if let Err(error) = fs::File::options().read(true).write(true).open("/dev/fuse") {
        eprintln!("not done: this takes the right to mount by FUSE (/dev/fuse: {error})");
        return;
    }
    let house = House::open();
    let (user, _) = user_with_folder(&house, "mounting");
    let given = house.scratch("given");
    make(&given, "0123456789", 0o640);
    let mounted = Mounted::at(&house, &user);
    for (script, wanted) in AS_LOCAL {
        let mut bash: Command = clean_command("timeout");
        bash.args(["20", "bash", "-c", script]).current_dir(&mounted.place).env("GIVEN", &given);
        let ran = run_with(bash, "");
        assert_eq!(ran.stdout, wanted, "{script}\n{ran}");
    }
}
