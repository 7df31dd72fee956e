//! A plugin that checks names and passwords.
//!
//! Never: a "right" that the plugin did not say in so many words. A directory that does not answer is an error, which is
//! neither "wrong" nor "unknown": the caller must not go on to the next directory with it as if the name were free.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_access::FactorOrigin;
use lockgate_model::Secret;
use lockgate_plugin::abi;
use lockgate_plugin::exchange::{Fields, What};

use crate::PluginError;
use crate::factor::put_origin;
use crate::line::{Answer, Line};

/// What a directory says about a name and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Right; the account's properties by name (`email`, `phone`, `name`, `x_NAME`), as the plugin has them, unchecked.
    Right(BTreeMap<String, String>),
    /// Known there, and the password is wrong.
    Wrong,
    /// Not known there.
    Unknown,
}

/// A directory behind the border.
pub struct PluginDirectory {
    line: Arc<Line>,
}

impl PluginDirectory {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        Self { line }
    }

    /// Asks the plugin; an empty password is wrong without asking, because some directories take it for a login without one
    /// and let it in (RFC 4513 section 5.1.2). Dropping the future gives up waiting.
    ///
    /// # Errors
    /// Wherever there is no clear answer.
    pub async fn check_password(
        &self,
        name: &str,
        password: &Secret<String>,
        origin: &FactorOrigin,
    ) -> Result<Standing, PluginError> {
        if password.expose().is_empty() {
            return Ok(Standing::Wrong);
        }
        let mut fields: Fields = vec![
            ("name".to_owned(), name.as_bytes().to_vec().into()),
            ("password".to_owned(), password.expose().as_bytes().to_vec().into()),
        ];
        put_origin(&mut fields, origin);
        let answer = self.line.call(What::CheckPassword, fields).await?;
        match answer.status {
            abi::OK => Ok(Standing::Right(properties(&answer))),
            abi::NO if answer.field("unknown") == Some(b"1") => Ok(Standing::Unknown),
            abi::NO => Ok(Standing::Wrong),
            abi::UNAVAILABLE => Err(PluginError::Unavailable { why: answer.why() }),
            _ => Err(PluginError::Plugin { why: answer.why() }),
        }
    }
}

fn properties(answer: &Answer) -> BTreeMap<String, String> {
    let property = |(name, value): &(String, zeroize::Zeroizing<Vec<u8>>)| {
        let key = name.strip_prefix("account.")?;
        Some((key.to_owned(), std::str::from_utf8(value).ok()?.to_owned()))
    };
    answer.fields.iter().filter_map(property).collect()
}
