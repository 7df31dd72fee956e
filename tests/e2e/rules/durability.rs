//! Success means safe: what was answered with success survives a crash, and what was not leaves the old file.

use crate::{
    clients::{Verdict, every_door},
    house::House,
    program::clean_command,
    waiting,
};
use std::{fs, process::Stdio, time::Duration};

#[test]
fn a_file_whose_upload_was_answered_survives_a_kill_at_that_moment() {
    let mut house = House::open();
    let user = house.newcomer("lasting").add();
    for client in every_door(&house) {
        let (local, name) = (house.scratch("sent"), format!("{}.bin", client.name()));
        let bytes: Vec<u8> = (0..700_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        fs::write(&local, &bytes).unwrap();
        client.put(&house, &user.with_password(), &local, &name).must_be_granted(client.name());
        house.kill();
        let kept = fs::read(house.home().join("files/lasting").join(&name)).unwrap();
        assert!(kept == bytes, "{}: {} bytes of {} are there", client.name(), kept.len(), bytes.len());
        house.serve();
        client.login(&house, &user.with_password()).must_be_granted(format!("{} after the crash", client.name()));
    }
}

#[test]
fn a_kill_in_the_middle_of_an_upload_leaves_the_old_file_and_no_litter_in_sight() {
    let mut house = House::open();
    let user = house.newcomer("cut").add();
    let folder = house.home().join("files/cut");
    let old = house.scratch("old");
    fs::write(&old, "the old file").unwrap();
    let large = house.scratch("large");
    fs::File::create(&large).unwrap().set_len(64 << 20).unwrap();
    for (scheme, path) in [("ftp", "kept.txt"), ("http", "dav/kept.txt"), ("http", "api/v1/files/kept.txt")] {
        every_door(&house)[0].put(&house, &user.with_password(), &old, "kept.txt").must_be_granted(path);
        let mut curl = clean_command("curl");
        curl.args([
            "-q",
            "-s",
            "--limit-rate",
            "2M",
            "--user",
            &format!("{}:{}", user.name, user.password),
            "--upload-file",
        ]);
        curl.arg(&large).arg(format!("{scheme}://{}/{path}", house.door(scheme)));
        let mut upload = curl.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let growing = waiting::holds(Duration::from_secs(20), || staged_bytes(house.pid()) > 1 << 20);
        assert!(growing, "{path}: nothing arrives");
        house.kill();
        let _ = upload.wait();
        assert_eq!(fs::read_to_string(folder.join("kept.txt")).unwrap(), "the old file", "{path}");
        house.serve();
        let listed = every_door(&house)[0].login(&house, &user.with_password());
        listed.must_be_granted(path);
        let names: Vec<&str> =
            listed.said.lines().filter(|line| line.contains("kept") || line.contains("lockgate")).collect();
        assert_eq!(names.len(), 1, "{path}: {names:?}");
    }
}

/// How far the server has written into any file below a user's folder that it holds open, named or not.
fn staged_bytes(pid: u32) -> u64 {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let below = open
        .filter(|entry| fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().contains("/files/")));
    below
        .filter_map(|entry| fs::metadata(entry.path()).ok())
        .filter(fs::Metadata::is_file)
        .map(|facts| facts.len())
        .max()
        .unwrap_or(0)
}

#[test]
fn data_and_folder_are_synced_before_success_is_told() {
    let house = House::open();
    let user = house.newcomer("synced").add();
    let local = house.scratch("sent");
    fs::write(&local, vec![7; 100_000]).unwrap();
    for client in every_door(&house) {
        let trace = house.scratch(&format!("trace-{}", client.name()));
        let mut strace = clean_command("strace");
        strace.args([
            "-f",
            "-qq",
            "-e",
            "trace=fsync,fdatasync,sync_file_range,rename,renameat,renameat2,linkat",
            "-o",
        ]);
        strace.arg(&trace).args(["-p", &house.pid().to_string()]);
        let mut tracing = strace.stderr(Stdio::null()).spawn().unwrap();
        let attached = waiting::holds(Duration::from_secs(10), || traced(house.pid()));
        assert!(attached, "strace does not attach");
        let reply = client.put(&house, &user.with_password(), &local, &format!("{}.bin", client.name()));
        crate::process::signal(tracing.id(), "INT");
        tracing.wait().unwrap();
        reply.must_be_granted(client.name());
        let calls = fs::read_to_string(&trace).unwrap();
        let at = |words: &[&str]| calls.lines().position(|line| words.iter().any(|word| line.contains(word)));
        let last = |words: &[&str]| {
            calls.lines().enumerate().filter(|(_, line)| words.iter().any(|word| line.contains(word))).last()
        };
        let named = at(&["rename", "linkat("]).unwrap_or_else(|| panic!("{}: no rename\n{calls}", client.name()));
        let data = at(&["fsync(", "fdatasync("]).unwrap_or_else(|| panic!("{}: no sync\n{calls}", client.name()));
        let folder = last(&["fsync("]).map(|(line, _)| line).unwrap_or_default();
        assert!(
            data < named && named < folder,
            "{}: data synced at {data}, named at {named}, folder at {folder}\n{calls}",
            client.name()
        );
    }
}

/// Whether somebody traces the process.
fn traced(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}

#[test]
fn a_full_disk_is_told_as_a_failure_and_the_old_file_stays() {
    let mut house = House::made();
    let root = house.folder().join("small-disk");
    fs::create_dir_all(&root).unwrap();
    let user = house.newcomer("crammed").with(&["--root", root.to_str().unwrap()]).add();
    // The server in a namespace of its own, with a file system of 4 MiB under the user's root.
    let mut outer = clean_command("unshare");
    let script = r#"mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@""#;
    outer.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(&root);
    house.serve_behind(outer);
    let (small, third, large) = (house.scratch("small"), house.scratch("third"), house.scratch("large"));
    fs::write(&small, "the old file").unwrap();
    fs::write(&third, vec![2; 3 << 19]).unwrap();
    fs::write(&large, vec![1; 6 << 20]).unwrap();
    for client in every_door(&house) {
        let name = format!("{}.bin", client.name());
        client.put(&house, &user.with_password(), &small, &name).must_be_granted(client.name());
        let reply = client.put(&house, &user.with_password(), &large, &name);
        assert_ne!(reply.verdict, Verdict::Granted, "{}: success on a full disk", client.name());
        let back = house.scratch("back");
        client.get(&house, &user.with_password(), &name, &back).must_be_granted(client.name());
        assert_eq!(fs::read_to_string(&back).unwrap(), "the old file", "{}", client.name());
        // The room of the failed upload is free again: a third of the disk fits, whatever its name.
        client
            .put(&house, &user.with_password(), &third, "third.bin")
            .must_be_granted(format!("{} after the failure", client.name()));
    }
}
