//! Passwords as they are kept and checked: Argon2id in PHC form.
//!
//! The gate checks one password for every try, also where there is no such user; so there is a
//! [`Workspace::dummy`] that costs exactly what [`Workspace::verify`] costs. Passwords are taken byte for byte as they were typed: no trimming, no folding of case, no cutting.
//!
//! Every function but [`needs_rehash`] blocks for tens of milliseconds and fills 19 MiB of a [`Workspace`]: the caller puts
//! them on blocking threads, bounds how many run at once and keeps a workspace for each. Never: a plain-text comparison, or a
//! scheme weaker than this one.

use crate::{RandomError, random};
use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::phc::{Output, Salt},
};
use lockgate_model::Secret;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

/// The longest password, in bytes. Longer ones are refused before anything is computed.
pub const MAX_BYTES: usize = 1024;

/// Why a password was not hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// No characters at all.
    #[error("a password cannot be empty")]
    Empty,
    /// Over [`MAX_BYTES`].
    #[error("a password has at most {MAX_BYTES} bytes")]
    TooLong,
    /// Not enough memory.
    #[error("the password cannot be hashed: out of memory")]
    Hash,
    /// No salt.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// The memory that a computation fills, kept for the next one.
///
/// Allocated anew for each try, 19 MiB go to whichever thread happens to run it, and the allocator keeps them there: the more
/// threads ever hashed, the larger the process stays. Whoever hashes for strangers keeps as many workspaces as hashes may run
/// at once, so that this is all the memory that hashing ever takes. Wiped after each use; a fresh one has no memory yet.
#[derive(Default)]
pub struct Workspace {
    blocks: Vec<Block>,
    /// What was computed: KiB, passes, lanes and the length of the password. Equal entries cost equal time.
    #[cfg(test)]
    computed: Vec<(u32, u32, u32, usize)>,
}

impl Workspace {
    /// Hashes a password with a fresh salt, for [`crate::Directory::set_password`]. Blocking.
    ///
    /// # Errors
    /// [`PasswordError`] where the password is empty or too long, or memory or random bytes are lacking.
    pub fn hash(&mut self, password: &Secret<String>) -> Result<Secret<String>, PasswordError> {
        let bytes = password.expose().as_bytes();
        if bytes.is_empty() {
            return Err(PasswordError::Empty);
        }
        if bytes.len() > MAX_BYTES {
            return Err(PasswordError::TooLong);
        }
        let salt = random::bytes::<SALT_LEN>()?;
        let mut output = Zeroizing::new([0; Params::DEFAULT_OUTPUT_LEN]);
        let present = argon2();
        self.compute(&present, bytes, &*salt, &mut *output).ok_or(PasswordError::Hash)?;
        let phc = PasswordHash {
            algorithm: argon2::ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: present.params().try_into().map_err(|_| PasswordError::Hash)?,
            salt: Some(Salt::new(&*salt).map_err(|_| PasswordError::Hash)?),
            hash: Some(Output::new(&*output).map_err(|_| PasswordError::Hash)?),
        };
        Ok(Secret::new(phc.to_string()))
    }

    /// Whether `candidate` is the password behind `phc`. Blocking.
    ///
    /// A hash that cannot be read costs what a readable one costs, and is never right.
    #[must_use]
    pub fn verify(&mut self, phc: &Secret<String>, candidate: &[u8]) -> bool {
        if candidate.len() > MAX_BYTES {
            return false;
        }
        let Some(kept) = Scheme::of(phc.expose()).and_then(|Scheme::Argon2id(hash)| Kept::of(&hash)) else {
            return self.dummy(candidate);
        };
        let mut output = Zeroizing::new(vec![0; kept.expected.len()]);
        let computed = self.compute(&kept.argon2, candidate, &kept.salt, &mut output);
        computed.is_some() && bool::from(output.ct_eq(&kept.expected))
    }

    /// Spends what [`Self::verify`] spends and is never right: for names that are nobody's. Blocking.
    #[must_use]
    pub fn dummy(&mut self, candidate: &[u8]) -> bool {
        if candidate.len() <= MAX_BYTES {
            let mut output = Zeroizing::new([0; Params::DEFAULT_OUTPUT_LEN]);
            let spent = self.compute(&argon2(), candidate, &[0; SALT_LEN], &mut *output);
            // Without this the whole computation could be optimised away.
            std::hint::black_box((spent, &output));
        }
        false
    }

    /// `None` where memory is lacking or a parameter cannot be.
    fn compute(&mut self, argon2: &Argon2<'_>, password: &[u8], salt: &[u8], output: &mut [u8]) -> Option<()> {
        #[cfg(test)]
        {
            let params = argon2.params();
            self.computed.push((params.m_cost(), params.t_cost(), params.p_cost(), password.len()));
        }
        let needed = argon2.params().block_count();
        self.blocks.try_reserve_exact(needed).ok()?;
        self.blocks.resize(needed, Block::new());
        let done = argon2.hash_password_into_with_memory(password, salt, output, &mut self.blocks[..]);
        // What is left in it is worth a faster guess at the password. It is empty afterwards, and still there.
        self.blocks.zeroize();
        // A hash from elsewhere may have needed more; that is not kept.
        self.blocks.shrink_to(USUAL_BLOCKS);
        done.ok()
    }
}

/// [`Workspace::hash`] with memory of its own: for whoever hashes one password now and then. Blocking.
///
/// # Errors
/// As there.
pub fn hash(password: &Secret<String>) -> Result<Secret<String>, PasswordError> {
    Workspace::default().hash(password)
}

/// Whether `phc` is weaker than what [`hash`] makes now, so that a right password should be hashed anew.
#[must_use]
pub fn needs_rehash(phc: &Secret<String>) -> bool {
    let Some(Scheme::Argon2id(hash)) = Scheme::of(phc.expose()) else {
        return true;
    };
    let current = hash.version.is_some_and(|version| version == u32::from(Version::V0x13));
    let strong =
        Params::try_from(&*hash).is_ok_and(|params| params.m_cost() >= MEMORY_KIB && params.t_cost() >= PASSES);
    let long = hash.hash.is_some_and(|output| output.len() >= Params::DEFAULT_OUTPUT_LEN);
    !(current && strong && long)
}

/// What a kept hash says about itself.
struct Kept {
    argon2: Argon2<'static>,
    salt: Vec<u8>,
    expected: Vec<u8>,
}

impl Kept {
    fn of(hash: &PasswordHash) -> Option<Self> {
        let version = hash.version.map(Version::try_from).transpose().ok()?.unwrap_or_default();
        let params = Params::try_from(hash).ok()?;
        let (salt, expected) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
        Some(Self {
            argon2: Argon2::new(Algorithm::Argon2id, version, params),
            salt: salt.as_ref().to_vec(),
            expected: expected.as_bytes().to_vec(),
        })
    }
}

/// The schemes that are understood. A hash brought over from another server comes in as a further variant here, together with
/// a [`needs_rehash`] that says yes to it.
enum Scheme {
    Argon2id(Box<PasswordHash>),
}

impl Scheme {
    fn of(phc: &str) -> Option<Self> {
        let hash = PasswordHash::new(phc).ok()?;
        if hash.algorithm != argon2::ARGON2ID_IDENT {
            return None;
        }
        // A hash from elsewhere must not be able to order more work than a login may cost.
        let params = Params::try_from(&hash).ok()?;
        let bearable = params.m_cost() <= 4 * MEMORY_KIB && params.t_cost() <= 8 && params.p_cost() <= 4;
        bearable.then(|| Self::Argon2id(Box::new(hash)))
    }
}

fn argon2() -> Argon2<'static> {
    // These are compile-time constants inside the allowed ranges; the defaults behind them are the same numbers.
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

const MEMORY_KIB: u32 = 19_456;
/// Blocks of 1 KiB that a hash of ours needs.
const USUAL_BLOCKS: usize = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordHasher as _;
    use std::time::{Duration, Instant};

    fn verify(phc: &Secret<String>, candidate: &[u8]) -> bool {
        Workspace::default().verify(phc, candidate)
    }

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_password_is_taken_exactly_as_typed() {
        let phc = hash(&secret(" Correct Hors\u{e9} ")).unwrap();
        assert!(phc.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", phc.expose());
        assert!(verify(&phc, " Correct Hors\u{e9} ".as_bytes()));
        for other in ["Correct Hors\u{e9}", " correct hors\u{e9} ", " Correct Horse\u{301} ", ""] {
            assert!(!verify(&phc, other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn the_same_password_never_has_the_same_hash_twice() {
        assert_ne!(hash(&secret("one")).unwrap().expose(), hash(&secret("one")).unwrap().expose());
    }

    #[test]
    fn no_character_of_a_long_password_is_ignored() {
        for length in [64, 73, MAX_BYTES] {
            let phc = hash(&secret(&"a".repeat(length))).unwrap();
            assert!(verify(&phc, "a".repeat(length).as_bytes()));
            assert!(!verify(&phc, "a".repeat(length - 1).as_bytes()), "{length}");
        }
    }

    #[test]
    fn a_password_over_the_limit_is_refused_unhashed() {
        let phc = hash(&secret("right")).unwrap();
        let long = "a".repeat(MAX_BYTES + 1);
        assert_eq!(hash(&secret(&long)).unwrap_err(), PasswordError::TooLong);
        assert_eq!(hash(&secret("")).unwrap_err(), PasswordError::Empty);
        let start = Instant::now();
        assert!(!verify(&phc, long.as_bytes()) && !Workspace::default().dummy(long.as_bytes()));
        assert!(start.elapsed() < Duration::from_millis(5), "it was hashed");
    }

    #[test]
    fn an_unknown_user_costs_what_a_wrong_password_costs() {
        let phc = hash(&secret("right")).unwrap();
        let unreadable = secret("$x$");
        let work = |act: &dyn Fn(&mut Workspace) -> bool| {
            let mut space = Workspace::default();
            assert!(!act(&mut space));
            space.computed
        };
        let wrong = work(&|space| space.verify(&phc, b"wrong"));
        assert_eq!(wrong, [(MEMORY_KIB, PASSES, LANES, 5)]);
        assert_eq!(work(&|space| space.dummy(b"wrong")), wrong, "unknown user");
        assert_eq!(work(&|space| space.verify(&unreadable, b"wrong")), wrong, "unreadable hash");
    }

    #[test]
    fn a_weaker_or_foreign_hash_asks_to_be_replaced_and_a_present_one_does_not() {
        assert!(!needs_rehash(&hash(&secret("one")).unwrap()));
        let weak = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(4096, 3, 1, None).unwrap());
        let phc = Secret::new(weak.hash_password_with_salt(b"one", &[1; 16]).unwrap().to_string());
        assert!(verify(&phc, b"one") && needs_rehash(&phc));
        assert!(needs_rehash(&secret("$2b$10$abcdefghijklmnopqrstuv")));
    }

    #[test]
    fn one_workspace_serves_every_computation_and_keeps_no_more_than_one_needs() {
        let mut space = Workspace::default();
        let phc = space.hash(&secret("right")).unwrap();
        let kept = space.blocks.as_ptr();
        let greedy = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(4 * MEMORY_KIB, 1, 1, None).unwrap());
        for _ in 0..3 {
            assert!(space.verify(&phc, b"right") && !space.verify(&phc, b"wrong") && !space.dummy(b"right"));
            assert_eq!(space.blocks.as_ptr(), kept, "memory was allocated anew");
        }
        let elsewhere = Secret::new(greedy.hash_password_with_salt(b"one", &[1; 16]).unwrap().to_string());
        assert!(space.verify(&elsewhere, b"one") && space.verify(&phc, b"right"));
        assert_eq!((space.blocks.capacity(), space.blocks.len()), (USUAL_BLOCKS, 0));
        assert_eq!(argon2().params().block_count(), USUAL_BLOCKS);
    }

    #[test]
    fn a_hash_that_orders_too_much_work_is_never_right() {
        let greedy = secret(
            "$argon2id$v=19$m=4194304,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        );
        assert!(!verify(&greedy, b"one"));
        for other in [
            "",
            "plain",
            "$argon2i$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(!verify(&secret(other), other.as_bytes()), "{other}");
        }
    }
}
