//! The file on disk: made private, replaced whole or not at all, never overwritten behind somebody's back.

use super::*;
use crate::{FreshPorts, fresh, secret::tests::ToySealer};
use std::net::Ipv4Addr;

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn fresh() -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        PrefsFile::create(&home.path(), &fresh(Ipv4Addr::LOCALHOST.into(), FreshPorts::Default)).unwrap();
        home
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("prefs.xml")
    }

    fn load(&self) -> PrefsFile {
        PrefsFile::load(&self.path()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn set(file: &mut PrefsFile, key: &str, value: &str) -> Result<Reading, FileError> {
    file.set(&[(key.parse().unwrap(), value)], &ToySealer)
}

#[test]
fn a_new_file_is_for_its_owner_alone_and_replaces_none() {
    let home = Home::fresh();
    assert_eq!(fs::metadata(home.path()).unwrap().mode() & 0o777, 0o600);
    let before = fs::read(home.path()).unwrap();
    assert!(matches!(PrefsFile::create(&home.path(), "<a/>"), Err(FileError::Exists { .. })));
    assert_eq!(fs::read(home.path()).unwrap(), before);
    assert_eq!(home.names(), ["prefs.xml"]);
}

#[test]
fn a_save_keeps_the_file_before_and_leaves_nothing_else() {
    let home = Home::fresh();
    let before = fs::read(home.path()).unwrap();
    let mut file = home.load();
    let reading = set(&mut file, "max_users", "7").unwrap();
    assert_eq!(reading.prefs.login.max_sessions, Some(7));
    assert_eq!(home.names(), ["prefs.xml", "prefs.xml.1"]);
    assert_eq!(fs::read(home.folder.path().join("prefs.xml.1")).unwrap(), before);
    assert_eq!(fs::metadata(home.folder.path().join("prefs.xml.1")).unwrap().mode() & 0o777, 0o600);
    assert!(!file.has_changed());
    set(&mut file, "max_users", "8").unwrap();
    assert_eq!(home.load().read().unwrap().prefs.login.max_sessions, Some(8));
}

#[test]
fn a_refused_change_touches_nothing() {
    let home = Home::fresh();
    let before = (fs::read(home.path()).unwrap(), Fingerprint::of(&home.path()));
    let mut file = home.load();
    let error = set(&mut file, "otp_token_timeout", "900000").unwrap_err();
    assert!(error.to_string().contains("otp_token_timeout is \"900000\""), "{error}");
    assert_eq!((fs::read(home.path()).unwrap(), Fingerprint::of(&home.path())), before);
    assert_eq!(home.names(), ["prefs.xml"]);
}

#[test]
fn a_file_that_changed_since_it_was_read_is_not_overwritten() {
    let home = Home::fresh();
    let (mut first, mut second) = (home.load(), home.load());
    set(&mut first, "max_users", "7").unwrap();
    assert!(second.has_changed());
    assert!(matches!(set(&mut second, "max_users", "8"), Err(FileError::Changed { .. })));
    assert_eq!(home.load().read().unwrap().prefs.login.max_sessions, Some(7));
    fs::remove_file(home.path()).unwrap();
    assert!(matches!(set(&mut first, "max_users", "9"), Err(FileError::Changed { .. })));
    assert!(!home.path().exists());
}

#[test]
fn of_many_writers_at_once_each_change_is_there_or_refused() {
    let home = Home::fresh();
    let path = home.path();
    let writers: Vec<_> = (0..8)
        .map(|number| {
            let path = path.clone();
            thread::spawn(move || {
                let mut file = PrefsFile::load(&path).unwrap();
                set(&mut file, "max_users", &(100 + number).to_string()).is_ok()
            })
        })
        .collect();
    let done = writers.into_iter().map(|writer| writer.join().unwrap()).filter(|done| *done).count();
    assert!(done >= 1);
    let last = home.load().read().unwrap().prefs.login.max_sessions.unwrap();
    assert!((100..108).contains(&last));
    assert_eq!(home.names(), ["prefs.xml", "prefs.xml.1"]);
}

#[test]
fn the_mode_of_the_file_stays_but_never_opens_it_to_everyone() {
    let home = Home::fresh();
    for (mode, expected) in [(0o640, 0o640), (0o666, 0o640), (0o400, 0o600)] {
        fs::set_permissions(home.path(), fs::Permissions::from_mode(mode)).unwrap();
        let mut file = home.load();
        assert_eq!(file.is_open_to_others(), mode == 0o666);
        set(&mut file, "max_users", &mode.to_string()).unwrap();
        assert_eq!(fs::metadata(home.path()).unwrap().mode() & 0o777, expected);
    }
}

#[test]
fn a_link_stays_a_link() {
    let home = Home::fresh();
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("prefs.xml");
    std::os::unix::fs::symlink(home.path(), &link).unwrap();
    let mut file = PrefsFile::load(&link).unwrap();
    set(&mut file, "max_users", "7").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(home.load().read().unwrap().prefs.login.max_sessions, Some(7));
}

#[test]
fn what_cannot_be_read_says_so_in_one_line() {
    let home = Home::fresh();
    let message = |path: &Path| PrefsFile::load(path).unwrap_err().to_string();
    assert!(message(&home.folder.path().join("none.xml")).contains("`lockgate init` makes one"));
    assert!(message(home.folder.path()).contains("not a regular file"));
    fs::write(home.path(), "<server_prefs>\n  <otp").unwrap();
    let broken = message(&home.path());
    assert!(broken.contains("prefs.xml: line 2, column 3: "), "{broken}");
    fs::write(home.path(), "").unwrap();
    assert!(message(&home.path()).contains("holds no element"));
}

#[test]
fn a_check_lists_mistakes_and_warnings_together() {
    let home = Home::fresh();
    let report = PrefsFile::check(&home.path()).unwrap();
    assert_eq!((report.errors.len(), report.warnings.len()), (0, 0), "{report:?}");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let text = fs::read_to_string(home.path()).unwrap().replace("<port>2222<", "<colour/><port>ssh<");
    fs::write(home.path(), text).unwrap();
    let report = PrefsFile::check(&home.path()).unwrap();
    assert!(report.errors[0].to_string().contains("server_list[2].port is \"ssh\""), "{report:?}");
    assert_eq!(report.warnings.len(), 2, "{report:?}");
    fs::remove_file(home.path()).unwrap();
    assert!(matches!(PrefsFile::check(&home.path()), Err(FileError::Missing { .. })));
}
