//! The first factor: step 3 of one login.
//!
//! What is shown costs the same whoever it is shown for. The number of hashes depends on the string and the preferences alone;
//! an unknown user, and one without a password, get a dummy hash for each. Checks for one name from one address happen one
//! after the other, so that the count of wrong passwords is exact.

use crate::{
    Evidence,
    candidate::Candidate,
    compound::CodeShape,
    counting::Counting,
    crowd::Full,
    gate::{Inner, Rules},
    reason::{Reason, Refusal},
};
use lockgate_model::{Origin, Secret};
use lockgate_users::{
    Account, app_password,
    password::{self, Workspace},
};
use std::{sync::Arc, time::Duration};

/// How long a login waits for others of the same name and address.
const TURN_PATIENCE: Duration = Duration::from_secs(25);

/// What was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// A password.
    Password,
    /// An app password: its own whole login.
    AppPassword,
    /// A key whose signature the door verified.
    Key,
    /// A certificate that the TLS layer verified.
    Certificate,
}

/// A right first factor.
pub(crate) struct Proof {
    pub(crate) account: Account,
    pub(crate) first: First,
    /// The code that came along in the same string.
    pub(crate) code: Option<Secret<String>>,
}

/// One login at its first factor.
pub(crate) struct Showing<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) who: &'a Candidate,
    pub(crate) origin: &'a Origin,
    pub(crate) account: Option<Account>,
}

/// A password that was shown, and the code that came along if it is right.
struct Guess {
    password: Secret<String>,
    code: Option<Secret<String>>,
}

impl Inner {
    /// Checks what was shown, and counts it where it is wrong.
    pub(crate) async fn first_factor(
        self: &Arc<Self>,
        showing: Showing<'_>,
        evidence: &Evidence,
    ) -> Result<Proof, Refusal> {
        match evidence {
            Evidence::PublicKey(blob) => proven(showing, First::Key, Reason::UnknownKey, |account| {
                account.keys.iter().any(|key| key.blob == *blob)
            }),
            Evidence::ClientCertificate(subject) => {
                proven(showing, First::Certificate, Reason::UnknownCertificate, |account| opens(account, subject))
            }
            Evidence::Password(whole) => {
                let split = CodeShape::of(showing.rules).split(whole.expose());
                let mut guesses = vec![Guess { password: whole.clone(), code: None }];
                guesses.extend(split.map(|(password, code)| Guess {
                    password: Secret::new(password.to_owned()),
                    code: Some(Secret::new(code.to_owned())),
                }));
                self.passwords(showing, guesses).await
            }
            Evidence::Compound(password, code) => {
                self.passwords(showing, vec![Guess { password: password.clone(), code: Some(code.clone()) }]).await
            }
        }
    }

    async fn passwords(self: &Arc<Self>, showing: Showing<'_>, guesses: Vec<Guess>) -> Result<Proof, Refusal> {
        let Showing { rules, who, origin, account } = showing;
        let name_here = format!("{}/{}", who.key, origin.address_key());
        let _turn = self.password_turns.take(&name_here, TURN_PATIENCE).await.ok_or(Reason::TooSlow)?;
        let known = self.accounts.knows_address(who.name.as_ref(), &origin.address_key()).await?;
        let counting = self.counting(rules);
        let standing = counting.passwords(&who.key, origin, known).await?;

        let app = self.app_password(rules, account.as_ref(), origin, &guesses).await?;
        if let Some(Ok(())) = app
            && let Some(account) = account
        {
            return Ok(Proof { account, first: First::AppPassword, code: None });
        }
        let too_long = guesses.iter().all(|guess| guess.password.expose().len() > password::MAX_BYTES);
        let phc = account.as_ref().and_then(|account| account.password.clone());
        let otherwise = match (app, &account) {
            (Some(Err(reason)), _) => reason,
            (_, None) if who.name.is_none() => Reason::ImpossibleName,
            (_, None) => Reason::UnknownUser,
            _ if too_long => Reason::PasswordTooLong,
            _ if phc.is_none() => Reason::NoPassword,
            _ => Reason::WrongPassword,
        };
        let right = hash_all(rules, &origin.address_key(), phc, &guesses).await?;

        let Some((account, guess)) = account.zip(right.and_then(|place| guesses.into_iter().nth(place))) else {
            // Inside a pause nothing is accepted, so that a wrong one there is no further guess.
            if !standing.paused {
                counting.wrong_password(&who.key, origin, known).await?;
            }
            return Err(otherwise.into());
        };
        if standing.paused {
            return Err(Reason::PasswordsPaused.into());
        }
        counting.right_password(&who.key, origin, standing).await?;
        self.refresh_hash(rules, origin, &account, &guess.password);
        Ok(Proof { account, first: First::Password, code: guess.code })
    }

    /// Whether the first guess is an app password of the user: `None` no, `Some(Err)` yes, but not here.
    async fn app_password(
        &self,
        rules: &Rules,
        account: Option<&Account>,
        origin: &Origin,
        guesses: &[Guess],
    ) -> Result<Option<Result<(), Reason>>, Refusal> {
        let Some(shown) = guesses.first().filter(|guess| app_password::has_shape(guess.password.expose().as_bytes()))
        else {
            return Ok(None);
        };
        let Some(account) = account else { return Ok(None) };
        let kept = self.accounts.app_passwords(&account.name).await?;
        let Some(found) = app_password::recognise(&self.key, &account.name, &kept, shown.password.expose().as_bytes())
        else {
            return Ok(None);
        };
        if !rules.settings.app_passwords {
            return Ok(Some(Err(Reason::AppPasswordsOff)));
        }
        if !found.protocols.contains(origin.protocol) {
            return Ok(Some(Err(Reason::AppPasswordElsewhere)));
        }
        let (directory, name, id) = (self.accounts.store(), account.name.clone(), found.id.clone());
        tokio::spawn(async move {
            if let Err(error) = directory.touch_app_password(&name, &id).await {
                tracing::debug!(%error, "the last use of an app password was not noted");
            }
        });
        Ok(Some(Ok(())))
    }

    /// Hashes a right password anew where its hash is weaker than what is made today. Behind the login, when there is a core.
    fn refresh_hash(self: &Arc<Self>, rules: &Rules, origin: &Origin, account: &Account, shown: &Secret<String>) {
        let Some(old) = account.password.clone().filter(password::needs_rehash) else { return };
        let (gate, hashing) = (Arc::clone(self), rules.hashing.clone());
        let (name, shown, address) = (account.name.clone(), shown.clone(), origin.address_key());
        tokio::spawn(async move {
            let Ok(Some(Ok(new))) = hashing.run(&address, move |space| space.hash(&shown)).await else { return };
            if let Err(error) = gate.accounts.store().rehash_password(&name, &old, new).await {
                tracing::warn!(user = %name, %error, "a password hash was not renewed");
            }
        });
    }

    pub(crate) fn counting<'a>(&'a self, rules: &'a Rules) -> Counting<'a> {
        Counting { ledger: &*self.ledger, limits: &rules.settings.brute_force, now_ms: self.clock.now_ms() }
    }
}

/// Hashes every guess that could be a password, right or not, and says which was right.
async fn hash_all(
    rules: &Rules,
    address: &str,
    phc: Option<Secret<String>>,
    guesses: &[Guess],
) -> Result<Option<usize>, Refusal> {
    let shown: Vec<Secret<String>> = guesses.iter().map(|guess| guess.password.clone()).collect();
    let work = move |space: &mut Workspace| {
        let mut right = None;
        for (place, guess) in shown.iter().enumerate() {
            let bytes = guess.expose().as_bytes();
            if bytes.len() > password::MAX_BYTES {
                continue;
            }
            let hit = match &phc {
                Some(phc) => space.verify(phc, bytes),
                None => space.dummy(bytes),
            };
            if hit && right.is_none() {
                right = Some(place);
            }
        }
        right
    };
    match rules.hashing.run(address, work).await {
        Ok(Some(right)) => Ok(right),
        Ok(None) => Err(Reason::InternalFault.into()),
        Err(Full::OfAddress) => Err(Reason::HashShareFull.into()),
        Err(Full::InAll) => Err(Reason::HashQueueFull.into()),
    }
}

/// Whether a certificate with this subject is the account's: the whole subject and nothing less.
pub(crate) fn opens(account: &Account, subject: &str) -> bool {
    !subject.is_empty() && account.client_certificate.as_deref() == Some(subject)
}

/// Evidence that no guessing finds: looked up, not counted.
fn proven(
    showing: Showing<'_>,
    first: First,
    otherwise: Reason,
    fits: impl FnOnce(&Account) -> bool,
) -> Result<Proof, Refusal> {
    let no_account = if showing.who.name.is_none() { Reason::ImpossibleName } else { Reason::UnknownUser };
    let account = showing.account.ok_or(no_account)?;
    if fits(&account) { Ok(Proof { account, first, code: None }) } else { Err(otherwise.into()) }
}
