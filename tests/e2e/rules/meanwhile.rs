//! What others do to a name while a file of it comes or goes.

use crate::{
    clients::halves::Halves,
    house::House,
    newcomer::User,
    waiting::{self, PATIENCE},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// More than the buffers on the way take in: the rest comes when the other thing has happened.
const LONG: usize = 12 << 20;
const SHORT: usize = 300_000;

fn user_with_folder(house: &House, name: &str) -> (User, PathBuf) {
    let user = house.newcomer(name).add();
    let folder = house.home().join("files").join(name);
    fs::create_dir_all(&folder).unwrap();
    (user, folder)
}

/// Fails unless the file is `length` times this byte.
#[track_caller]
fn is(path: &Path, byte: u8, length: usize, whom: &str) {
    let bytes = fs::read(path).unwrap_or_default();
    let first = bytes.first().copied().unwrap_or_default();
    assert!(
        bytes.len() == length && bytes.iter().all(|found| *found == byte),
        "{whom}: {} bytes, the first a {:?}, instead of {length} times {:?}",
        bytes.len(),
        char::from(first),
        char::from(byte)
    );
}

/// What is in the folder besides these names.
fn litter(folder: &Path, names: &[&str]) -> Vec<String> {
    let found = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    found.filter(|name| !names.contains(&name.as_str())).collect()
}

#[test]
fn of_two_writers_to_one_name_by_any_two_doors_the_last_commit_wins_whole() {
    let house = House::open();
    let (user, folder) = user_with_folder(&house, "twins");
    let (mut early, mut late) = (Halves::open_each(&house, &user), Halves::open_each(&house, &user));
    let file = folder.join("name");
    for first in &mut early {
        for second in &mut late {
            let whom = format!("{} and {}", first.door, second.door);
            let _ = fs::remove_file(&file);
            first.must(&format!("put name 1 {SHORT}"), "begun", &whom);
            second.must(&format!("put name 2 {}", SHORT / 2), "begun", &whom);
            assert!(!file.exists(), "{whom}: half a file is in sight");
            first.must("finish", "done", &whom);
            is(&file, b'1', SHORT, &whom);
            second.must("finish", "done", &whom);
            is(&file, b'2', SHORT / 2, &whom);
            assert_eq!(litter(&folder, &["name"]), Vec::<String>::new(), "{whom}");
        }
    }
}

#[test]
fn an_upload_meant_for_one_state_of_a_file_does_not_replace_what_another_door_made_of_it() {
    let house = House::open();
    let (user, folder) = user_with_folder(&house, "matching");
    let (mut writers, mut others) = (Halves::open_each(&house, &user), Halves::open_each(&house, &user));
    let file = folder.join("name");
    for writer in writers.iter_mut().filter(|writer| ["http", "dav"].contains(&writer.door)) {
        for other in &mut others {
            let whom = format!("{} and {}", writer.door, other.door);
            fs::write(&file, "old").unwrap();
            let etag = writer.say("do HEAD name");
            // Meant for what is there: nobody comes between.
            writer.must(&format!("put name 1 {SHORT} If-Match: {etag}"), "begun", &whom);
            writer.must("finish", "done", &whom);
            let etag = writer.say("do HEAD name");
            writer.must(&format!("put name 2 {SHORT} If-Match: {etag}"), "begun", &whom);
            other.must("put name 3 1000", "begun", &whom);
            other.must("finish", "done", &whom);
            writer.refuses("finish", &["412"], &whom);
            is(&file, b'3', 1000, &whom);
            writer.refuses(&format!("put name 2 {SHORT} If-Match: {etag}"), &["412"], &whom);
            // Meant for no file at all: the other one makes it meanwhile.
            fs::remove_file(&file).unwrap();
            writer.must(&format!("put name 2 {SHORT} If-None-Match: *"), "begun", &whom);
            other.must("put name 4 1000", "begun", &whom);
            other.must("finish", "done", &whom);
            writer.refuses("finish", &["412"], &whom);
            is(&file, b'4', 1000, &whom);
            assert_eq!(litter(&folder, &["name"]), Vec::<String>::new(), "{whom}");
        }
    }
}

/// What each door says of a locked name, and what it can do to one besides uploading.
const LOCKED: [(&str, &str, &[&str]); 6] = [
    (
        "ftp",
        "450",
        &[
            "do DELE name",
            "do EPSV, APPE name",
            "do RNFR name, RNTO other",
            "do RNFR beside, RNTO name",
            "do SITE CHMOD 600 name",
        ],
    ),
    ("ftps", "450", &["do MFMT 20200101000000 name"]),
    (
        "sftp",
        "FAILURE: locked",
        &[
            "do remove name",
            "do rename name other",
            "do posix_rename name other",
            "do posix_rename beside name",
            "do chmod name",
            "do cut name",
            "do append name",
        ],
    ),
    ("http", "423", &["do DELETE name"]),
    (
        "dav",
        "423",
        &["do DELETE name", "do MOVE name|Destination: /dav/other", "do MOVE beside|Destination: /dav/name"],
    ),
    ("tus", "423", &[]),
];

#[test]
fn a_lock_taken_by_webdav_binds_every_door() {
    let house = House::open();
    let (user, folder) = user_with_folder(&house, "locking");
    let mut all = Halves::open_each(&house, &user);
    let mut holder = Halves::open(&house, &user, "dav");
    holder.greeted();
    let file = folder.join("name");
    fs::write(folder.join("beside"), "beside").unwrap();
    for (client, (door, word, acts)) in all.iter_mut().zip(LOCKED) {
        assert_eq!(client.door, door);
        fs::write(&file, "old").unwrap();
        // One upload is under way when the lock is taken, and has come to its end before it goes.
        client.must(&format!("put name 1 {SHORT}"), "begun", "before the lock");
        let token = holder.say("do LOCK name");
        assert!(token.starts_with("<urn:uuid:"), "{token}");
        client.refuses("finish", &[word], "under the lock");
        client.refuses(&format!("put name 1 {SHORT}"), &[word], "under the lock");
        for act in acts {
            // The first of two commands that belong together says nothing of locks.
            match act.split_once(", ") {
                None => client.refuses(act, &[word], "under the lock"),
                Some((first, second)) => {
                    client.must(first, "done", "under the lock");
                    client.refuses(&format!("do {second}"), &[word], "under the lock");
                }
            }
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "old", "{door}");
        holder.must(&format!("put name 5 {SHORT} If: ({token})"), "begun", "with the token");
        holder.must("finish", "done", "with the token");
        is(&file, b'5', SHORT, door);
        holder.must(&format!("do UNLOCK name|Lock-Token: {token}"), "done", "the holder");
        client.must(&format!("put name 6 {SHORT}"), "begun", "after the lock");
        client.must("finish", "done", "after the lock");
        is(&file, b'6', SHORT, door);
        let kept = litter(&folder, &["name", "beside"]);
        assert!(kept.iter().all(|name| name.starts_with(".lockgate-part-")), "{door}: {kept:?}");
    }
}

#[test]
fn what_happens_to_the_name_of_a_file_does_not_disturb_its_download() {
    let house = House::open();
    let (user, folder) = user_with_folder(&house, "reading");
    let mut readers = Halves::open_each(&house, &user);
    let mut other = Halves::open(&house, &user, "sftp");
    other.greeted();
    let file = folder.join("name");
    let acts: [&[&str]; 3] = [&["do remove name"], &["do rename name other"], &["put name 2 1000", "finish"]];
    for reader in readers.iter_mut().filter(|reader| reader.door != "tus") {
        // SFTP sends nothing that was not asked for.
        let length = if reader.door == "sftp" { SHORT } else { LONG };
        for act in acts {
            fs::write(&file, vec![b'1'; length]).unwrap();
            reader.must("get name", "begun", act[0]);
            for line in act {
                assert!(!other.say(line).starts_with("refused"), "{line}");
            }
            reader.must("rest", &format!("{length} 1"), act[0]);
            let _ = fs::remove_file(folder.join("other"));
        }
    }
}

#[test]
fn what_happens_to_a_name_does_not_disturb_an_upload_to_it() {
    let house = House::open();
    let (user, folder) = user_with_folder(&house, "replacing");
    let mut writers = Halves::open_each(&house, &user);
    let mut other = Halves::open(&house, &user, "sftp");
    other.greeted();
    let file = folder.join("in/name");
    for writer in &mut writers {
        for act in ["do remove in/name", "do rename in/name in/other"] {
            fs::create_dir_all(folder.join("in")).unwrap();
            fs::write(&file, "old").unwrap();
            writer.must(&format!("put in/name 1 {SHORT}"), "begun", act);
            other.must(act, "done", writer.door);
            writer.must("finish", "done", act);
            is(&file, b'1', SHORT, writer.door);
            let moved = fs::read_to_string(folder.join("in/other")).ok();
            assert_eq!(moved.as_deref(), act.contains("rename").then_some("old"), "{}", writer.door);
            fs::remove_dir_all(folder.join("in")).unwrap();
        }
        // Without its folder it has nowhere to go, and does not go where the folder went.
        for act in ["removed", "moved"] {
            fs::create_dir_all(folder.join("in")).unwrap();
            writer.must(&format!("put in/name 1 {SHORT}"), "begun", act);
            match act {
                "removed" => fs::remove_dir_all(folder.join("in")).unwrap(),
                _ => fs::rename(folder.join("in"), folder.join("away")).unwrap(),
            }
            writer.refuses("finish", &["550", "NO_SUCH_FILE", "404", "409"], act);
            assert!(!folder.join("in").exists(), "{}", writer.door);
            if folder.join("away").exists() {
                let gone = waiting::holds(PATIENCE, || {
                    litter(&folder.join("away"), &[]).iter().all(|name| name.starts_with(".lockgate-part-"))
                });
                assert!(gone, "{}: {:?}", writer.door, litter(&folder.join("away"), &[]));
                fs::remove_dir_all(folder.join("away")).unwrap();
            }
        }
    }
}
