//! Codes that the gate makes itself and a channel carries: how they are made, kept, recognised and spent.
//!
//! One live code a user (N9), in the ledger, as a keyed digest together with the login it belongs to; so a code is worth
//! nothing to another user, from another address or on another protocol, nor once the account or the place it was sent to has
//! changed, and survives a restart like everything that may be used once. Never: keeps a code, logs one, or sends one.

use crate::{Ledger, LedgerError, reason::Reason};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockgate_model::{Origin, Secret};
use lockgate_users::SecretKey;
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Letters and digits that are not mistaken for each other; 32 of them.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const DIGITS: &[u8; 10] = b"0123456789";
/// Codes longer than anybody would type.
const LONGEST: u32 = 64;
/// NIST SP 800-63B section 3.1.3: a code lives for ten minutes at most, whatever was set.
pub(crate) const LONGEST_LIFE: Duration = Duration::from_secs(600);

/// Whether a character could stand in a sent code.
pub(crate) fn may_be_in(byte: u8, numeric: bool) -> bool {
    if numeric { byte.is_ascii_digit() } else { LETTERS.contains(&byte.to_ascii_uppercase()) }
}

/// A fresh code. Each character is drawn from 64 random bits, so that the remainder favours none by more than 2^-58.
pub(crate) fn generate(length: u32, numeric: bool) -> Result<Secret<String>, Reason> {
    let alphabet: &[u8] = if numeric { DIGITS } else { LETTERS };
    let length = usize::try_from(length.clamp(1, LONGEST)).unwrap_or(1);
    let mut random = Zeroizing::new(vec![0_u8; length * 8]);
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Reason::NoRandomness)?;
    let mut code = String::with_capacity(length);
    let (draws, _) = random.as_chunks::<8>();
    for draw in draws {
        let place = u64::from_be_bytes(*draw) % alphabet.len() as u64;
        let character =
            usize::try_from(place).ok().and_then(|place| alphabet.get(place)).ok_or(Reason::InternalFault)?;
        code.push(char::from(*character));
    }
    Ok(Secret::new(code))
}

/// A code that was made and not yet used, as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveCode {
    /// Its own id: what is marked used.
    pub(crate) issue: String,
    digest: [u8; 32],
    /// The channel that carries it.
    pub(crate) channel: String,
    /// For which login: address, door and protocol.
    bound: String,
    /// For which state of the account, and where it was sent.
    whose: String,
    /// The challenge that may be answered with it; `None`: made for a client that cannot be asked.
    pub(crate) challenge: Option<String>,
    /// When it ends, Unix ms.
    pub(crate) until_ms: u64,
}

impl LiveCode {
    /// What a code is bound to beside its user.
    fn place(origin: &Origin) -> String {
        format!("{} {} {}", origin.address(), origin.door, origin.protocol)
    }

    /// Whether it was made for a login from here, by the account as it is now.
    pub(crate) fn is_for(&self, origin: &Origin, whose: &str) -> bool {
        self.bound == Self::place(origin) && self.whose == whose
    }

    fn encode(&self) -> String {
        let digest = URL_SAFE_NO_PAD.encode(self.digest);
        let challenge = self.challenge.as_deref().unwrap_or("-");
        let Self { issue, channel, bound, whose, until_ms, .. } = self;
        format!("2\n{issue}\n{digest}\n{channel}\n{bound}\n{whose}\n{challenge}\n{until_ms}")
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(value).ok()?.split('\n');
        let mut line = || lines.next();
        if line()? != "2" {
            return None;
        }
        let issue = line()?.to_owned();
        let digest = URL_SAFE_NO_PAD.decode(line()?).ok()?.try_into().ok()?;
        let channel = line()?.to_owned();
        let bound = line()?.to_owned();
        let whose = line()?.to_owned();
        let challenge = Some(line()?).filter(|text| *text != "-").map(str::to_owned);
        let until_ms = line()?.parse().ok()?;
        Some(Self { issue, digest, channel, bound, whose, challenge, until_ms })
    }
}

/// What a code is made for.
pub(crate) struct Purpose<'a> {
    /// The channel that carries it.
    pub(crate) channel: &'a str,
    /// For a login from here.
    pub(crate) origin: &'a Origin,
    /// The state of the account, and where it goes.
    pub(crate) whose: String,
    /// The challenge that may be answered with it.
    pub(crate) challenge: Option<&'a str>,
    /// How long it lives.
    pub(crate) life: Duration,
}

/// The live codes of all users.
pub(crate) struct Codes<'a> {
    pub(crate) ledger: &'a dyn Ledger,
    pub(crate) key: &'a SecretKey,
    pub(crate) now_ms: u64,
}

impl Codes<'_> {
    /// The live code of the user behind `user` (a ledger key part).
    pub(crate) async fn live(&self, user: &str) -> Result<Option<LiveCode>, LedgerError> {
        let value = self.ledger.get(&place(user)).await?;
        Ok(value.and_then(|value| LiveCode::parse(&value)).filter(|live| live.until_ms > self.now_ms))
    }

    /// Makes `code` the user's live code, in the place of an older one.
    pub(crate) async fn put(
        &self,
        user: &str,
        code: &Secret<String>,
        purpose: Purpose<'_>,
    ) -> Result<LiveCode, LedgerErrorOr> {
        let issue = random_id()?;
        let Purpose { channel, origin, whose, challenge, life } = purpose;
        let life = life.min(LONGEST_LIFE);
        let live = LiveCode {
            digest: self.digest(user, &issue, code.expose()),
            issue,
            channel: channel.to_owned(),
            bound: LiveCode::place(origin),
            whose,
            challenge: challenge.map(str::to_owned),
            until_ms: self.now_ms.saturating_add(millis(life)),
        };
        self.ledger.put(&place(user), live.encode().as_bytes(), life).await?;
        Ok(live)
    }

    /// Hands the live code on to a newer challenge of the same login place.
    pub(crate) async fn rebind(&self, user: &str, live: &LiveCode, challenge: Option<&str>) -> Result<(), LedgerError> {
        let live = LiveCode { challenge: challenge.map(str::to_owned), ..live.clone() };
        let left = Duration::from_millis(live.until_ms.saturating_sub(self.now_ms));
        self.ledger.put(&place(user), live.encode().as_bytes(), left).await
    }

    /// Whether `entry` is the code; blanks around it and case are forgiven. In time that does not depend on where it differs.
    pub(crate) fn matches(&self, user: &str, live: &LiveCode, entry: &str) -> bool {
        self.digest(user, &live.issue, entry).ct_eq(&live.digest).into()
    }

    /// Uses the code: `true` for one caller only, on whatever node.
    pub(crate) async fn spend(&self, user: &str, live: &LiveCode) -> Result<bool, LedgerError> {
        let first = self.ledger.use_once(&format!("used/code/{}", live.issue), LONGEST_LIFE * 2).await?;
        if first {
            self.void(user).await?;
        }
        Ok(first)
    }

    /// One more wrong answer to the code; at `limit` it is void.
    pub(crate) async fn missed(&self, user: &str, live: &LiveCode, limit: u32) -> Result<(), LedgerError> {
        let misses = self.ledger.bump(&format!("missed/{}", live.issue), LONGEST_LIFE * 2).await?;
        if misses.n >= u64::from(limit) {
            self.void(user).await?;
        }
        Ok(())
    }

    /// Ends the live code of a user.
    pub(crate) async fn void(&self, user: &str) -> Result<(), LedgerError> {
        self.ledger.remove(&place(user)).await
    }

    fn digest(&self, user: &str, issue: &str, entry: &str) -> [u8; 32] {
        let plain = Zeroizing::new(entry.trim().to_ascii_uppercase());
        let bound = Zeroizing::new(format!("{user}\n{issue}\n{}", plain.as_str()));
        self.key.keyed_digest("sent-code", bound.as_bytes())
    }
}

/// Either the ledger failed or there are no random bytes.
pub(crate) type LedgerErrorOr = crate::reason::Refusal;

fn place(user: &str) -> String {
    format!("code/{user}")
}

/// 128 random bits as 32 hex digits.
pub(crate) fn random_id() -> Result<String, Reason> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Reason::NoRandomness)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::origin;
    use lockgate_model::Protocol;
    use std::collections::BTreeSet;

    #[test]
    fn codes_have_the_length_and_alphabet_that_was_asked_for() {
        for (length, numeric) in [(6, true), (8, true), (10, false)] {
            let codes: BTreeSet<String> =
                (0..200).map(|_| generate(length, numeric).unwrap().expose().clone()).collect();
            assert!(codes.len() > 195, "codes repeat");
            for code in &codes {
                assert_eq!(code.len(), length as usize);
                assert!(code.bytes().all(|byte| may_be_in(byte, numeric)), "{code}");
            }
        }
    }

    #[test]
    fn every_digit_comes_up_equally_often() {
        let mut seen = [0_u32; 10];
        for _ in 0..2000 {
            for byte in generate(10, true).unwrap().expose().bytes() {
                seen[usize::from(byte - b'0')] += 1;
            }
        }
        // 2000 each; six standard deviations are 250.
        assert!(seen.iter().all(|count| (1750..2250).contains(count)), "{seen:?}");
    }

    #[test]
    fn ids_carry_128_bits_and_differ() {
        let ids: BTreeSet<String> = (0..10_000).map(|_| random_id().unwrap()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.len() == 32));
    }

    #[test]
    fn a_live_code_comes_back_from_the_ledger_as_it_was() {
        let live = LiveCode {
            issue: "1f".into(),
            digest: [7; 32],
            channel: "sms".into(),
            bound: LiveCode::place(&origin(Protocol::Ftp, "2001:db8::1")),
            whose: "7 digest".into(),
            challenge: None,
            until_ms: 12,
        };
        assert_eq!(LiveCode::parse(live.encode().as_bytes()), Some(live.clone()));
        let bound = LiveCode { challenge: Some("ab".into()), ..live };
        assert_eq!(LiveCode::parse(bound.encode().as_bytes()), Some(bound));
        assert_eq!(LiveCode::parse(b"2\nx"), None);
        assert_eq!(LiveCode::parse(b"\xff"), None);
    }
}
