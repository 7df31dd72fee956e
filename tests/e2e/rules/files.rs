//! One set of files behind every door.

use crate::{
    clients::{
        Client, Method, OpenSsh, every_door,
        extra::{Cadaver, Lftp, Python, Rclone, Scp},
    },
    house::House,
    newcomer::User,
    program::run_with,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Bytes that repeat nowhere near a block size, so that a swapped or doubled piece shows.
fn write_sample(path: &Path, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    })
    .take(length)
    .collect();
    fs::write(path, &bytes).unwrap();
    bytes
}

/// Fails unless the client reads these bytes.
fn reads(house: &House, client: &dyn Client, user: &User, remote: &str, wanted: &[u8], whom: &str) {
    let local = house.scratch("read");
    let _ = fs::remove_file(&local);
    client.get(house, &user.with_password(), remote, &local).must_be_granted(whom);
    // Some clients make no file for no bytes.
    let got = fs::read(&local).unwrap_or_default();
    assert!(got == wanted, "{whom}: {} bytes instead of {}", got.len(), wanted.len());
}

#[test]
fn a_file_put_through_one_door_is_read_through_every_other() {
    let house = House::open();
    let user = house.newcomer("mover").add();
    let doors = every_door(&house);
    for length in [0, 1, 3_000_017] {
        for writer in &doors {
            let (local, remote) = (house.scratch("written"), format!("{}-{length}.bin", writer.name()));
            let bytes = write_sample(&local, length);
            writer.put(&house, &user.with_password(), &local, &remote).must_be_granted(writer.name());
            for reader in &doors {
                let whom = format!("{length} bytes put by {} and read by {}", writer.name(), reader.name());
                reads(&house, &**reader, &user, &remote, &bytes, &whom);
            }
        }
    }
}

#[test]
fn a_name_means_the_same_file_on_every_door() {
    let house = House::open();
    let user = house.newcomer("namer").add();
    let doors = every_door(&house);
    for name in ["with blank.txt", "Grüße-日本.txt", "100% & more+plus.txt", "semi;colon,comma.txt", "hash#quest.txt"]
    {
        for (n, writer) in doors.iter().enumerate() {
            let local = house.scratch("named");
            let bytes = write_sample(&local, 1000 + n);
            writer
                .put(&house, &user.with_password(), &local, name)
                .must_be_granted(format!("{name} by {}", writer.name()));
            for reader in &doors {
                reads(
                    &house,
                    &**reader,
                    &user,
                    name,
                    &bytes,
                    &format!("{name} by {} for {}", writer.name(), reader.name()),
                );
            }
            assert!(house.home().join("files/namer").join(name).exists(), "{name} by {}", writer.name());
        }
    }
}

#[test]
fn the_clients_of_users_move_a_file_each_way_with_a_code() {
    let house = House::open();
    let mut clients: Vec<Box<dyn Client>> = every_door(&house);
    let more: [Box<dyn Client>; 6] = [
        Box::new(Lftp),
        Box::new(Rclone),
        Box::new(Cadaver),
        Box::new(Python("paramiko")),
        Box::new(Scp(OpenSsh(Method::Any))),
        // It waits for the server's close_notify after an upload, and complains where none comes.
        Box::new(Python("ftplib")),
    ];
    clients.extend(more);
    for client in clients {
        // Without a blank: cadaver's credentials cannot have one.
        let user = house.newcomer(client.name()).password("no-blank-in-it").enrolled().add();
        let (local, back) = (house.scratch("there"), house.scratch(&format!("back-{}", client.name())));
        let bytes = write_sample(&local, 200_003);
        let code = user.code();
        client.put(&house, &user.with(&code), &local, "there.bin").must_be_granted(client.name());
        let again = if client.repeats() { code } else { user.code() };
        client.get(&house, &user.with(&again), "there.bin", &back).must_be_granted(client.name());
        assert!(fs::read(&back).unwrap() == bytes, "{}: other bytes came back", client.name());
    }
}

#[test]
fn a_read_only_user_reads_on_every_door_and_writes_on_none() {
    let house = House::open();
    let user = house.newcomer("reader").with(&["--read-only"]).add();
    let folder = house.home().join("files/reader");
    fs::create_dir_all(&folder).unwrap();
    let bytes = write_sample(&folder.join("given.bin"), 5000);
    for client in every_door(&house) {
        reads(&house, &*client, &user, "given.bin", &bytes, client.name());
        let local = house.scratch("intruder");
        fs::write(&local, "x").unwrap();
        for name in ["given.bin", "new.bin"] {
            let reply = client.put(&house, &user.with_password(), &local, name);
            assert_ne!(reply.verdict, crate::clients::Verdict::Granted, "{} wrote {name}", client.name());
        }
        assert!(
            fs::read(folder.join("given.bin")).unwrap() == bytes && !folder.join("new.bin").exists(),
            "{}",
            client.name()
        );
    }
}

#[test]
fn a_quota_holds_on_every_door_and_an_upload_past_it_leaves_the_old_file() {
    let house = House::open();
    for client in every_door(&house) {
        let user = house.newcomer(client.name()).with(&["--quota", "100000"]).add();
        let (small, large) = (house.scratch("small"), house.scratch("large"));
        let bytes = write_sample(&small, 60_000);
        write_sample(&large, 200_000);
        client.put(&house, &user.with_password(), &small, "file.bin").must_be_granted(client.name());
        let reply = client.put(&house, &user.with_password(), &large, "file.bin");
        assert_ne!(reply.verdict, crate::clients::Verdict::Granted, "{} went past the quota", client.name());
        reads(&house, &*client, &user, "file.bin", &bytes, client.name());
    }
}

#[test]
fn no_door_leads_out_of_the_users_tree() {
    let house = House::open();
    let user = house.newcomer("climber").add();
    house.newcomer("victim").add();
    let canary = "canary-outside-the-tree";
    let outside = house.home().join("files/victim");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("secret.txt"), canary).unwrap();
    let tree = house.home().join("files/climber");
    fs::create_dir_all(&tree).unwrap();
    std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
    let paths = [
        "../victim/secret.txt",
        "../../files/victim/secret.txt",
        "a/../../victim/secret.txt",
        "link/secret.txt",
        "..\\victim\\secret.txt",
    ];
    for client in every_door(&house) {
        for path in paths {
            let (local, intruder) = (house.scratch("caught"), house.scratch("intruder"));
            let _ = fs::remove_file(&local);
            client.get(&house, &user.with_password(), path, &local);
            let got = fs::read_to_string(&local).unwrap_or_default();
            assert!(!got.contains(canary), "{} read {path}", client.name());
            fs::write(&intruder, "overwritten").unwrap();
            client.put(&house, &user.with_password(), &intruder, path);
            assert_eq!(
                fs::read_to_string(outside.join("secret.txt")).unwrap(),
                canary,
                "{} wrote {path}",
                client.name()
            );
        }
    }
}

#[test]
fn ten_thousand_names_in_a_folder_are_listed_on_every_door() {
    let house = House::open();
    let user = house.newcomer("collector").add();
    let folder: PathBuf = house.home().join("files/collector");
    fs::create_dir_all(&folder).unwrap();
    for n in 0..10_000 {
        fs::write(folder.join(format!("entry-{n:05}")), "").unwrap();
    }
    for client in every_door(&house) {
        let reply = client.login(&house, &user.with_password());
        reply.must_be_granted(client.name());
        // The web's list is paged; the others are whole.
        let wanted = if client.protocol().starts_with("http") { 100 } else { 10_000 };
        let seen = reply.said.matches("entry-").count();
        assert!(seen >= wanted, "{} listed {seen} names", client.name());
    }
}

#[test]
fn an_upload_that_is_cut_leaves_the_old_file_whole_and_nothing_in_sight() {
    let house = House::open();
    let user = house.newcomer("cutter").add();
    let folder = house.home().join("files/cutter");
    let old = house.scratch("old");
    let bytes = write_sample(&old, 50_000);
    for (scheme, door) in [("http", "http"), ("https", "https"), ("ftp", "ftp")] {
        let client: Box<dyn Client> =
            every_door(&house).into_iter().find(|client| client.protocol() == scheme).unwrap();
        client.put(&house, &user.with_password(), &old, "kept.bin").must_be_granted(scheme);
        let large = house.scratch("large");
        fs::File::create(&large).unwrap().set_len(64 << 20).unwrap();
        let path = if scheme == "ftp" { "kept.bin" } else { "dav/kept.bin" };
        let mut curl = crate::program::clean_command("curl");
        // curl gives up after a second at 100 kB/s: far from the end.
        curl.args([
            "-q",
            "-s",
            "-k",
            "--limit-rate",
            "100k",
            "--max-time",
            "1",
            "--user",
            &format!("{}:{}", user.name, user.password),
        ]);
        curl.arg("--upload-file").arg(&large).arg(format!("{scheme}://{}/{path}", house.door(door)));
        let ran = run_with(curl, "");
        assert_ne!(ran.code(), 0, "{scheme}: the upload was not cut: {ran}");
        // FTP in clear has no other proof of an upload's end than the end of its connection (RFC 959 section 3.4.1).
        if scheme != "ftp" {
            reads(&house, &*client, &user, "kept.bin", &bytes, scheme);
        }
        let listed = client.login(&house, &user.with_password()).said;
        assert!(!listed.contains(".lockgate"), "{scheme} lists a temporary: {listed}");
        assert!(folder.join("kept.bin").exists());
    }
}
