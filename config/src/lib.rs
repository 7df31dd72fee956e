//! prefs.xml to typed preferences and back, keeping what it does not know.
//!
//! One file configures the server, and its administrators come to it with an editor, a command line, a web form, or a
//! file of another product. Four things follow, and are this room:
//!
//! * [`tree`]: the document as it is, so that what is not edited is written back byte for byte;
//! * [`keys`]: every key declared once, from which reading, checking, showing and the reference are made;
//! * [`prefs`]: the typed view, which exists only where the whole file is right;
//! * [`edit`], [`show`] and [`mod@file`]: one key set or shown by its path, and the file replaced in one step.
//!
//! Never: starts, opens or connects to what a value names; guesses what a key that decides about security may have meant;
//! prints a secret. Other rooms do not read preferences: the daemon turns [`Prefs`] into their settings.
//!
//! ```
//! use lockgate_config::{FreshPorts, KeyPath, Prefs, fresh, show, tree::Tree};
//!
//! let text = fresh("127.0.0.1".parse()?, FreshPorts::Default);
//! let tree = Tree::parse(text.as_bytes())?;
//! assert!(Prefs::read(&tree)?.prefs.second_factor.switched_on);
//!
//! let path: KeyPath = "server_list[SFTP].port".parse()?;
//! let shown = show::get(&tree, &path)?;
//! assert_eq!(shown.first().and_then(|key| key.value.as_deref()), Some("2222"));
//! assert_eq!(*tree.render(), text);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod edit;
mod error;
pub mod file;
mod fresh;
mod keypath;
pub mod keys;
mod locate;
pub mod numbers;
pub mod prefs;
pub mod reference;
mod secret;
pub mod show;
pub mod tree;
mod url;
pub mod values;

pub use edit::EditError;
pub use error::{PrefsError, Refusal, Warning};
pub use file::{FileError, Fingerprint, PrefsFile, Report};
pub use fresh::{FreshPorts, fresh};
pub use keypath::{KeyPath, KeyPathError};
pub use prefs::{Prefs, Reading};
pub use secret::{MASK, SealError, Sealer, SecretError, SecretText, sounds_secret};
pub use url::ServiceUrl;
