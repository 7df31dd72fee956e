//! Which file a plugin's name means, and whether that file may be loaded.
//!
//! Whoever can write the file or its folder can become the plugin. So both must belong to root or to the user that the
//! server runs as and be writable by nobody else, the file itself is no link, and no folder above can be changed by
//! everybody. The check is made before each start of a worker, on the very path that the worker gets.
//!
//! Never: loads, executes or repairs.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use rustix::fs::OFlags;

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
        match places.iter().find(|place| place.symlink_metadata().is_ok()) {
            Some(found) => Ok(found.clone()),
            None => Err(PluginError::NotFound { name: name.to_owned(), places }),
        }
    }
}

/// The path to load: `file` with every link in its folder resolved, after all checks. Blocks on the disk.
///
/// `pin` is the file's SHA-256 in hexadecimal, where the operator gave one.
///
/// # Errors
/// [`PluginError::Untrusted`] or [`PluginError::Unreadable`], with the path that is to blame.
pub(crate) fn trusted(file: &Path, pin: Option<&str>) -> Result<PathBuf, PluginError> {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Err(untrusted(file, "it is no file"));
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let folder = folder.canonicalize().map_err(|error| unreadable(folder, &error))?;
    let file = folder.join(name);

    let found = file.symlink_metadata().map_err(|error| unreadable(&file, &error))?;
    if found.is_symlink() {
        return Err(untrusted(&file, "it is a symbolic link; put the file itself there"));
    }
    if !found.is_file() {
        return Err(untrusted(&file, "it is no file"));
    }
    only_ours(&file, &found)?;
    let found = folder.metadata().map_err(|error| unreadable(&folder, &error))?;
    only_ours(&folder, &found)?;
    for above in folder.ancestors().skip(1) {
        let found = above.metadata().map_err(|error| unreadable(above, &error))?;
        // In a sticky folder (as /tmp) nobody can rename what belongs to others.
        if found.mode() & 0o1002 == 0o002 {
            return Err(untrusted(above, "everybody can write to it; take that right away"));
        }
    }
    if let Some(pin) = pin {
        pinned(&file, pin)?;
    }
    Ok(file)
}

fn only_ours(path: &Path, found: &Metadata) -> Result<(), PluginError> {
    let owner = found.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        let why = format!("it belongs to user {owner}; give it to root or to the user that the server runs as");
        return Err(untrusted(path, why));
    }
    if found.mode() & 0o022 != 0 {
        let why = format!(
            "group or others can write to it (mode {:o}); take that right away (chmod go-w)",
            found.mode() & 0o7777
        );
        return Err(untrusted(path, why));
    }
    Ok(())
}

fn pinned(file: &Path, pin: &str) -> Result<(), PluginError> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let mut open = options.open(file).map_err(|error| unreadable(file, &error))?;
    let mut sum = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match open.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => sum.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(file, &error)),
        }
    }
    let found: String = sum.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if found.eq_ignore_ascii_case(pin.trim()) {
        return Ok(());
    }
    Err(untrusted(file, format!("its sha256 is {found}, the preferences pin another; look who changed it")))
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

    fn refusal(file: &Path) -> String {
        trusted(file, None).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_only_its_owner_can_change_is_trusted() {
        let (_folder, file) = planted();

        assert_eq!(trusted(&file, None).unwrap(), file.canonicalize().unwrap());
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
    fn a_file_below_a_folder_that_everybody_can_change_is_refused() {
        let (folder, _) = planted();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o755)).unwrap();
        let file = inner.join("lockgate_x.so");
        fs::write(&file, "abc").unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();

        assert!(refusal(&file).contains("everybody can write"));
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
    fn a_pinned_file_loads_only_with_its_own_sum() {
        let (_folder, file) = planted();
        let right = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";

        assert!(trusted(&file, Some(right)).is_ok());
        fs::write(&file, "abd").unwrap();
        assert!(trusted(&file, Some(right)).unwrap_err().to_string().contains("sha256"));
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
