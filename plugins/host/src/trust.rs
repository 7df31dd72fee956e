//! Which file a plugin's name means, and whether that file may be loaded.
//!
//! Whoever can write the file, its folder or a folder above can become the plugin. So all of them must belong to root or to
//! the user that the server runs as and be writable by nobody else (above the folder, a sticky one may be), and the file
//! itself is no link. The checks are made before each start of a worker, and on what was opened and not on its path: the
//! worker is handed the open file, so that nothing can be put in its place between the look and the loading.
//!
//! Never: loads, executes or repairs.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::PluginError;

/// Where plugins are looked for, first to last.
#[derive(Debug, Clone)]
pub struct SearchPath {
    /// `HOME/plugins`.
    own: PathBuf,
    /// The folder that the program lies in.
    program: Option<PathBuf>,
}

impl SearchPath {
    /// `home` is the server's home; the bundled plugins are looked for beside the running program.
    #[must_use]
    pub fn new(home: &Path) -> Self {
        let program = std::env::current_exe().ok().and_then(|file| file.parent().map(Path::to_owned));
        Self { own: home.join("plugins"), program }
    }

    /// Looks for bundled plugins beside another program.
    #[must_use]
    pub fn beside(mut self, folder: impl Into<PathBuf>) -> Self {
        self.program = Some(folder.into());
        self
    }

    /// The file of a plugin: `HOME/plugins/lockgate_NAME.so`, then `lockgate_NAME.so` or `liblockgate_NAME.so` beside
    /// the program, then `../lib/lockgate/lockgate_NAME.so`.
    ///
    /// # Errors
    /// Where the name is none, or no such file exists. A dangling link counts as existing, and is refused later.
    pub fn find(&self, name: &str) -> Result<PathBuf, PluginError> {
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if !(1..=32).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(PluginError::Name { name: name.to_owned() });
        }
        let file = format!("lockgate_{name}.so");
        let mut places = vec![self.own.join(&file)];
        if let Some(program) = &self.program {
            places.push(program.join(&file));
            places.push(program.join(format!("liblockgate_{}.so", name.replace('-', "_"))));
            if let Some(above) = program.parent() {
                places.push(above.join("lib/lockgate").join(&file));
            }
        }
        present(name, places)
    }

    /// The file of this name in `HOME/plugins`, and nowhere else.
    ///
    /// # Errors
    /// Where the name is no file's, or no such file exists, as for [`SearchPath::find`].
    pub fn find_file(&self, name: &str, file: &str) -> Result<PathBuf, PluginError> {
        let mut parts = Path::new(file).components();
        match (parts.next(), parts.next()) {
            (Some(std::path::Component::Normal(one)), None) => present(name, vec![self.own.join(one)]),
            _ => Err(PluginError::Name { name: file.to_owned() }),
        }
    }

    /// Whether a plugin may read this folder: `HOME/plugins`, unless that is a place where the server keeps its own.
    fn is_for_data(&self, folder: &File) -> bool {
        let (Ok(folder_is), Ok(own)) = (folder.metadata(), self.own.metadata()) else { return false };
        let lacks =
            |name: &&str| matches!(rustix::fs::statat(folder, *name, AtFlags::SYMLINK_NOFOLLOW), Err(Errno::NOENT));
        folder_is.dev() == own.dev() && folder_is.ino() == own.ino() && THE_SERVERS.iter().all(lacks)
    }
}

/// What lies in a home and is no plugin's business.
const THE_SERVERS: [&str; 4] = ["keys", "lockgate.db", "prefs.xml", "run"];

/// The first of the places where something is.
fn present(name: &str, places: Vec<PathBuf>) -> Result<PathBuf, PluginError> {
    match places.iter().find(|place| place.symlink_metadata().is_ok()) {
        Some(found) => Ok(found.clone()),
        None => Err(PluginError::NotFound { name: name.to_owned(), places }),
    }
}

/// A file that may be loaded, open since before it was checked: whatever happens to its path, this is what was looked at.
#[derive(Debug)]
pub(crate) struct Trusted {
    /// Where it was found; for messages.
    pub(crate) path: PathBuf,
    /// What is loaded.
    pub(crate) file: File,
    /// Its folder, where that is the one in which plugins may keep data of their own.
    pub(crate) data: Option<File>,
}

/// Opens `file` and makes all checks, on descriptors. Links in its folder are resolved. Blocks on the disk.
///
/// `pin` is the file's SHA-256 in hexadecimal, where the operator gave one.
///
/// # Errors
/// [`PluginError::Untrusted`] or [`PluginError::Unreadable`], with the path that is to blame.
pub(crate) fn trusted(file: &Path, pin: Option<&str>, search: &SearchPath) -> Result<Trusted, PluginError> {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(untrusted(file, "it is no file"));
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let folder = folder.canonicalize().map_err(|error| unreadable(folder, &error))?;
    let within = descend(&folder)?;
    let path = folder.join(name);

    // A pipe in its place must not hold up the server.
    let open = open(Some(&within), name, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY);
    let file = match open {
        Ok(file) => file,
        Err(Errno::LOOP) => return Err(untrusted(&path, "it is a symbolic link; put the file itself there")),
        Err(error) => return Err(unreadable(&path, &error.into())),
    };
    let found = file.metadata().map_err(|error| unreadable(&path, &error))?;
    if !found.is_file() {
        return Err(untrusted(&path, "it is no file"));
    }
    only_ours(&path, found.uid(), found.mode(), Place::Here)?;
    if let Some(pin) = pin {
        pinned(&path, &file, pin)?;
    }
    let data = Some(within).filter(|within| search.is_for_data(within));
    Ok(Trusted { path, file, data })
}

/// Opens a folder from the root on, one step at a time and following no link, and checks every folder on the way.
fn descend(folder: &Path) -> Result<File, PluginError> {
    let mut path = PathBuf::new();
    let mut here = None;
    let mut steps = folder.components().peekable();
    while let Some(step) = steps.next() {
        path.push(step);
        let next = open(here.as_ref(), step.as_os_str(), OFlags::PATH | OFlags::DIRECTORY)
            .map_err(|error| unreadable(&path, &error.into()))?;
        let found = next.metadata().map_err(|error| unreadable(&path, &error))?;
        let place = if steps.peek().is_some() { Place::Above } else { Place::Here };
        only_ours(&path, found.uid(), found.mode(), place)?;
        here = Some(next);
    }
    here.ok_or_else(|| untrusted(folder, "it is no folder"))
}

fn open(within: Option<&File>, name: &OsStr, flags: OFlags) -> Result<File, Errno> {
    let within = within.map_or(CWD, File::as_fd);
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(within, name, flags, Mode::empty())?.into())
}

/// Where something stands in relation to the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The file, or the folder it is in.
    Here,
    /// A folder above that one.
    Above,
}

fn only_ours(path: &Path, owner: u32, mode: u32, place: Place) -> Result<(), PluginError> {
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        let why = format!("it belongs to user {owner}; give it to root or to the user that the server runs as");
        return Err(untrusted(path, why));
    }
    // In a sticky folder (as /tmp) nobody can rename what belongs to others. They can still add files: not in the plugin's own.
    let held = place == Place::Above && mode & 0o1000 != 0;
    if mode & 0o022 != 0 && !held {
        let why =
            format!("group or others can write to it (mode {:o}); take that right away (chmod go-w)", mode & 0o7777);
        return Err(untrusted(path, why));
    }
    Ok(())
}

fn pinned(path: &Path, file: &File, pin: &str) -> Result<(), PluginError> {
    let mut sum = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 64 * 1024];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(read) => {
                sum.update(buffer.get(..read).unwrap_or_default());
                at += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(path, &error)),
        }
    }
    let found: String = sum.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if found.eq_ignore_ascii_case(pin.trim()) {
        return Ok(());
    }
    Err(untrusted(path, format!("its sha256 is {found}, the preferences pin another; look who changed it")))
}

fn untrusted(path: &Path, why: impl Into<String>) -> PluginError {
    PluginError::Untrusted { path: path.to_owned(), why: why.into() }
}

fn unreadable(path: &Path, error: &std::io::Error) -> PluginError {
    PluginError::Unreadable { path: path.to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A folder of mode 0755 with a file of mode 0644 in it.
    fn planted() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let file = folder.path().join("lockgate_x.so");
        fs::write(&file, "abc").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        (folder, file)
    }

    fn nowhere() -> SearchPath {
        SearchPath::new(Path::new("/nonexistent"))
    }

    fn refusal(file: &Path) -> String {
        trusted(file, None, &nowhere()).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_only_its_owner_can_change_is_trusted() {
        let (_folder, file) = planted();

        assert_eq!(trusted(&file, None, &nowhere()).unwrap().path, file.canonicalize().unwrap());
    }

    #[test]
    fn a_file_or_folder_that_group_or_others_can_write_is_refused() {
        for mode in [0o664, 0o646] {
            let (_folder, file) = planted();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            assert!(refusal(&file).contains("group or others can write"));
        }
        for mode in [0o775, 0o757, 0o1777] {
            let (folder, file) = planted();
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            assert!(refusal(&file).contains("group or others can write"));
        }
    }

    #[test]
    fn a_file_below_a_folder_that_others_can_change_is_refused_unless_it_is_sticky() {
        let (folder, _) = planted();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o755)).unwrap();
        let file = inner.join("lockgate_x.so");
        fs::write(&file, "abc").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        for mode in [0o777, 0o775, 0o757] {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            assert!(refusal(&file).contains("group or others can write"), "{mode:o}");
        }
        fs::set_permissions(folder.path(), Permissions::from_mode(0o1777)).unwrap();
        assert!(trusted(&file, None, &nowhere()).is_ok());
    }

    #[test]
    fn what_another_user_owns_is_refused_on_the_whole_way_to_the_file() {
        let own = rustix::process::geteuid().as_raw();
        for place in [Place::Here, Place::Above] {
            let judged = |owner| only_ours(Path::new("/x"), owner, 0o755, place);
            assert!(judged(0).is_ok() && judged(own).is_ok());
            assert!(judged(own + 1).unwrap_err().to_string().contains("belongs to user"));
        }
        let sticky = |owner| only_ours(Path::new("/x"), owner, 0o1777, Place::Above);
        assert!(sticky(0).is_ok() && sticky(own + 1).is_err(), "its owner can rename what is in it");
    }

    #[test]
    fn what_was_checked_stays_what_is_loaded_when_another_file_takes_its_place() {
        let (folder, file) = planted();
        let right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let checked = trusted(&file, Some(right), &nowhere()).unwrap();

        let other = folder.path().join("other");
        fs::write(&other, "evil").unwrap();
        fs::rename(&other, &file).unwrap();

        let mut held = [0; 8];
        let read = checked.file.read_at(&mut held, 0).unwrap();
        assert_eq!(held.get(..read), Some(b"abc".as_slice()));
    }

    #[test]
    fn only_the_homes_plugin_folder_is_for_data_and_never_one_with_the_servers_own_in_it() {
        let (folder, file) = planted();
        let home = tempfile::tempdir().unwrap();
        let at_home = |own: &Path| {
            let search = SearchPath { own: own.to_owned(), program: None };
            trusted(&file, None, &search).unwrap().data.is_some()
        };
        assert!(at_home(folder.path()));
        assert!(!at_home(home.path()), "another folder than the plugin's");
        for name in ["keys", "lockgate.db"] {
            fs::create_dir(folder.path().join(name)).unwrap();
            assert!(!at_home(folder.path()), "{name}");
            fs::remove_dir(folder.path().join(name)).unwrap();
        }
    }

    #[test]
    fn a_link_is_refused_wherever_it_leads() {
        let (folder, file) = planted();
        let link = folder.path().join("lockgate_y.so");
        symlink(&file, &link).unwrap();
        assert!(refusal(&link).contains("symbolic link"));

        let dangling = folder.path().join("lockgate_z.so");
        symlink("nowhere", &dangling).unwrap();
        assert!(refusal(&dangling).contains("symbolic link"));
    }

    #[test]
    fn a_folder_in_the_place_of_the_file_is_refused() {
        let (folder, _) = planted();
        fs::create_dir(folder.path().join("lockgate_d.so")).unwrap();

        assert!(refusal(&folder.path().join("lockgate_d.so")).contains("no file"));
    }

    #[test]
    fn a_file_that_is_named_is_looked_for_in_the_homes_folder_alone() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("plugins")).unwrap();
        fs::write(home.path().join("plugins/mine.so"), "abc").unwrap();
        fs::write(home.path().join("other.so"), "abc").unwrap();
        let search = SearchPath::new(home.path()).beside(home.path());

        assert_eq!(search.find_file("x", "mine.so").unwrap(), home.path().join("plugins/mine.so"));
        for elsewhere in ["other.so", "../other.so", "/etc/passwd", "..", ""] {
            assert!(search.find_file("x", elsewhere).is_err(), "{elsewhere}");
        }
    }

    #[test]
    fn a_pinned_file_loads_only_with_its_own_sum() {
        let (_folder, file) = planted();
        let right = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";

        assert!(trusted(&file, Some(right), &nowhere()).is_ok());
        fs::write(&file, "abd").unwrap();
        assert!(trusted(&file, Some(right), &nowhere()).unwrap_err().to_string().contains("sha256"));
    }

    #[test]
    fn a_name_with_a_path_in_it_is_no_name() {
        let (folder, _) = planted();
        let search = SearchPath::new(folder.path());

        for name in ["", "../x", "a/b", "a.so", "A", "a_b", "\u{e9}", &"a".repeat(33)] {
            assert!(matches!(search.find(name), Err(PluginError::Name { .. })), "{name:?}");
        }
    }

    #[test]
    fn plugins_are_found_in_the_home_first_then_beside_the_program_then_in_lib() {
        let root = tempfile::tempdir().unwrap();
        let (home, bin, lib) = (root.path().join("home"), root.path().join("bin"), root.path().join("lib/lockgate"));
        let places = [
            home.join("plugins/lockgate_a-b.so"),
            bin.join("lockgate_a-b.so"),
            bin.join("liblockgate_a_b.so"),
            lib.join("lockgate_a-b.so"),
        ];
        let search = SearchPath::new(&home).beside(&bin);
        assert!(matches!(search.find("a-b"), Err(PluginError::NotFound { .. })));

        for place in places.iter().rev() {
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, "").unwrap();
            assert_eq!(search.find("a-b").unwrap(), *place);
        }
    }
}
