//! Reading the prefs.xml of a home.

use crate::home::Home;
use lockgate_config::{PrefsFile, Reading};

/// Reads and checks the whole file.
pub(crate) fn load(home: &Home) -> anyhow::Result<Reading> {
    home.require()?;
    Ok(PrefsFile::load(&home.prefs())?.read()?)
}
