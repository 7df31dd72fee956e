//! The port through which second factors come in. `access` does not know that they are shared objects.

use crate::{ChannelName, Expects};
use lockgate_model::{Protocol, Secret, UserName};
use std::{collections::BTreeMap, net::IpAddr};

/// Which of the two kinds a factor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorKind {
    /// Carries a code to the user; the gate makes it, keeps its digest and checks it.
    Delivers,
    /// Says itself whether an answer is right.
    Verifies,
}

/// What a factor learns of a user: what the call needs, and nothing else.
#[derive(Clone, Debug)]
pub struct FactorUser {
    /// The name.
    pub name: UserName,
    /// Mail address.
    pub email: Option<String>,
    /// Phone number.
    pub phone: Option<String>,
    /// Free texts by NAME (`{user_x_NAME}`).
    pub texts: BTreeMap<String, String>,
    /// Whether `otp_auth` is on.
    pub flagged: bool,
    /// What this factor's `enroll` made, where the user is enrolled with it.
    pub secret: Option<Secret<Vec<u8>>>,
}

/// What a factor learns of where a login comes from.
#[derive(Clone, Debug)]
pub struct FactorOrigin {
    /// The protocol.
    pub protocol: Protocol,
    /// The client's address.
    pub address: IpAddr,
}

/// A fresh enrolment: kept by the gate, shown to the user once.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// To keep for the user.
    pub secret: Secret<Vec<u8>>,
    /// `otpauth://…` or another URI to show.
    pub uri: Secret<String>,
}

/// What `begin` gives back.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// For the user, where the factor has words of its own.
    pub text: Option<String>,
    /// What the answer looks like.
    pub expects: Expects,
    /// Handed to `verify` again, opaque.
    pub state: Vec<u8>,
}

/// What `verify` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Right. Each text in `used` (a TOTP step and those before it) must never be accepted again for this user and factor;
    /// the first is the one that was used now. An empty list is a fault of the factor and counts as wrong.
    Right {
        /// What is burnt.
        used: Vec<String>,
    },
    /// Wrong.
    Wrong,
    /// The person has not answered yet: ask again.
    Later,
}

/// Why a factor could not do its work. Each of these means "this channel cannot serve", never "not needed".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactorError {
    /// Not loaded, disabled, or its worker is away.
    #[error("channel {0} is not available")]
    Unavailable(ChannelName),
    /// It did not answer in time.
    #[error("channel {0} did not answer in time")]
    Late(ChannelName),
    /// It failed, in its own words (without secrets).
    #[error("channel {channel} failed: {reason}")]
    Failed {
        /// Which.
        channel: ChannelName,
        /// Its words.
        reason: String,
    },
}

/// A second factor. Calls have their own deadline (N13) inside; a call that hangs ends as [`FactorError::Late`].
///
/// Dropping a future gives up waiting; what was sent may have been sent.
#[async_trait::async_trait]
pub trait Factor: Send + Sync + 'static {
    /// Its channel's name.
    fn channel(&self) -> &ChannelName;

    /// Which kind it is.
    fn kind(&self) -> FactorKind;

    /// Whether users enrol with it (a secret is kept for them).
    fn enrols(&self) -> bool;

    /// Whether it can serve this user now. `totp`, `sms` and `email` have rules of their own in `policy`; this asks the
    /// factor itself.
    async fn serves(&self, user: &FactorUser) -> Result<bool, FactorError>;

    /// Makes a secret for a user.
    async fn enroll(&self, user: &FactorUser) -> Result<Enrolment, FactorError>;

    /// Begins a challenge. `code` is there for factors that deliver: it is carried to the user when this returns `Ok`.
    async fn begin(
        &self,
        user: &FactorUser,
        origin: &FactorOrigin,
        code: Option<&Secret<String>>,
    ) -> Result<Prompt, FactorError>;

    /// Whether `answer` is right. Only asked of factors that verify.
    async fn verify(
        &self,
        user: &FactorUser,
        origin: &FactorOrigin,
        state: &[u8],
        answer: &Secret<String>,
    ) -> Result<Verdict, FactorError>;
}
