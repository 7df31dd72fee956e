//! The authenticator-app factor: RFC 6238 with the parameters that every app knows (SHA-1, 6 digits, 30 s).
//!
//! A code of the current or the previous step is right; one step ahead only where the operator's setting says so, for
//! users whose clocks run fast. Each step opens once: the plugin says which step an answer used, and the gate burns it.
//! The time is the server's, handed over with the call.
//!
//! Never: a memory of what was used, a wider window, a secret that another plugin or user could see.

use lockgate_plugin::{Begin, Begun, Enrolment, Factor, Failure, Plugin, Settings, Used, User, Verdict, Verify};
use totp_rs::{Algorithm, Builder, Secret, Totp};

/// The operator's settings.
struct AuthenticatorApp {
    issuer: String,
    one_step_ahead: bool,
}

impl Plugin for AuthenticatorApp {
    fn open(settings: &Settings<'_>) -> Result<Self, Failure> {
        let issuer = settings.text("totp_issuer").unwrap_or("Lockgate").trim().to_owned();
        if issuer.contains(':') {
            return Err(Failure::error("the setting totp_issuer may not contain a colon"));
        }
        Ok(Self { issuer, one_step_ahead: settings.flag("totp_step_ahead", false)? })
    }
}

impl Factor for AuthenticatorApp {
    fn serves(&self, user: &User<'_>) -> Result<bool, Failure> {
        Ok(user.secret().is_some())
    }

    fn enroll(&self, user: &User<'_>) -> Result<Enrolment, Failure> {
        let secret = Secret::generate();
        // A colon parts issuer and account in the label, so it cannot be in a name.
        let account = user.name()?.replace(':', "_");
        let app = self.app(&secret, &account)?;
        let uri = app.to_url().map_err(|_| Failure::error("the user's name does not fit a URI"))?;
        Ok(Enrolment { secret: secret.as_ref().to_vec(), uri })
    }

    fn begin(&self, ask: &Begin<'_>) -> Result<Begun, Failure> {
        match ask.user().secret() {
            Some(_) => Ok(Begun::prompt("Code from your authenticator app")),
            None => Err(Failure::unavailable("the user is not enrolled")),
        }
    }

    fn verify(&self, ask: &Verify<'_>) -> Result<Verdict, Failure> {
        let secret = ask.user().secret().ok_or_else(|| Failure::unavailable("the user is not enrolled"))?;
        let app = self.app(&Secret::from(secret.to_vec()), "user")?;
        Ok(match self.matching_step(&app, &typed(ask.answer()), ask.now()) {
            Some(step) => Verdict::Right(Used::Step(step)),
            None => Verdict::Wrong,
        })
    }
}

impl AuthenticatorApp {
    fn app(&self, secret: &Secret, account: &str) -> Result<Totp, Failure> {
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(DIGITS)
            .with_step_duration(STEP)
            // The window is counted here, since it is not the same on both sides of now.
            .with_skew(0)
            .with_secret(secret.clone())
            .with_account_name(account)
            .with_issuer(Some(self.issuer.as_str()))
            .build()
            .map_err(|_| Failure::error("the kept secret is not one of this factor"))
    }

    /// The step whose code `code` is: the current one, the one before, or (by setting) the one after.
    ///
    /// Compares with every step of the window, each in constant time, so that how long it takes says nothing about which
    /// one fits or how far a wrong code comes.
    fn matching_step(&self, app: &Totp, code: &str, now: u64) -> Option<u64> {
        let current = now / STEP;
        let ahead = u64::from(self.one_step_ahead);
        let mut found = None;
        for step in current.saturating_sub(1)..=current.saturating_add(ahead) {
            let right = app.check(code, step.saturating_mul(STEP)).is_some();
            found = found.or(right.then_some(step));
        }
        found
    }
}

/// Apps show a code as `123 456`, and people type it so.
fn typed(answer: &str) -> String {
    answer.chars().filter(|letter| !matches!(letter, ' ' | '\u{a0}' | '-')).take(ANSWER).collect()
}

lockgate_plugin::export! {
    plugin: AuthenticatorApp,
    name: "totp",
    summary: "a code from an authenticator app (RFC 6238)",
    settings: include_str!("settings.json"),
    roles: [verifies, enrols],
    flags: [],
}

const DIGITS: u8 = 6;
/// Seconds.
const STEP: u64 = 30;
/// Characters of an answer that are looked at.
const ANSWER: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_plugin::abi::{self, PluginTable};
    use lockgate_plugin::exchange::{Fields, Instance, Table, What};

    unsafe extern "C" {
        safe fn lockgate_plugin_v1() -> *const PluginTable;
    }

    /// The key of RFC 6238, appendix B.
    const KEY: &[u8] = b"12345678901234567890";

    fn fields(pairs: &[(&str, &[u8])]) -> Fields {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec().into())).collect()
    }

    fn plugin(settings: &[(&str, &[u8])]) -> Instance {
        // SAFETY: the plugin of this crate, which is never unloaded.
        let table = unsafe { Table::read(lockgate_plugin_v1()) }.unwrap();
        table.open(fields(settings), 0).unwrap()
    }

    fn verify(plugin: &Instance, code: &str, now: u64) -> (i32, Option<String>) {
        let asked = fields(&[("user.name", b"alice"), ("user.secret", KEY), ("answer", code.as_bytes())]);
        let (status, answer) = plugin.call(What::Verify, asked, now);
        let used = answer.iter().find(|(name, _)| name == "used");
        (status, used.map(|(_, used)| String::from_utf8(used.to_vec()).unwrap()))
    }

    #[test]
    fn the_codes_of_rfc_6238_are_right_and_name_their_step() {
        let plugin = plugin(&[]);

        // Appendix B has eight digits; the last six are the code of six.
        for (now, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(verify(&plugin, code, now), (abi::OK, Some((now / 30).to_string())), "at {now}");
        }
    }

    #[test]
    fn the_previous_step_is_right_and_names_itself_and_older_ones_are_wrong() {
        let plugin = plugin(&[]);

        assert_eq!(verify(&plugin, "287082", 89), (abi::OK, Some("1".to_owned())));
        assert_eq!(verify(&plugin, "287082", 90), (abi::NO, None));
    }

    #[test]
    fn the_next_step_is_right_only_by_setting_and_never_the_one_after() {
        let strict = plugin(&[]);
        let lenient = plugin(&[("setting.totp_step_ahead", b"true")]);

        assert_eq!(verify(&strict, "287082", 29).0, abi::NO);
        assert_eq!(verify(&lenient, "287082", 29), (abi::OK, Some("1".to_owned())));
        // The code of step 2 (RFC 4226, appendix D) two steps early.
        assert_eq!(verify(&lenient, "359152", 29).0, abi::NO);
    }

    #[test]
    fn an_answer_that_is_no_code_is_wrong() {
        let plugin = plugin(&[]);

        for answer in ["", "28708", "2870820", "28708a", "94287082", "287082\0", "٢٨٧٠٨٢", &"2".repeat(9999)] {
            assert_eq!(verify(&plugin, answer, 59).0, abi::NO, "{answer:?}");
        }
        assert_eq!(verify(&plugin, "287 082", 59).0, abi::OK);
    }

    #[test]
    fn a_user_without_an_enrolment_cannot_be_served_begun_or_verified() {
        let plugin = plugin(&[]);
        let asked = || fields(&[("user.name", b"alice"), ("user.secret", b""), ("answer", b"287082")]);

        assert_eq!(plugin.call(What::Serves, asked(), 59).0, abi::NO);
        assert_eq!(plugin.call(What::Begin, asked(), 59).0, abi::UNAVAILABLE);
        assert_eq!(plugin.call(What::Verify, asked(), 59).0, abi::UNAVAILABLE);
    }

    #[test]
    fn a_kept_secret_that_is_too_short_is_an_error_and_not_a_factor() {
        let asked = fields(&[("user.secret", b"short"), ("answer", b"287082")]);

        assert_eq!(plugin(&[]).call(What::Verify, asked, 59).0, abi::ERROR);
    }

    #[test]
    fn an_enrolment_is_160_random_bits_and_a_uri_that_apps_read() {
        let plugin = plugin(&[]);
        let enroll = |name: &str| {
            let (status, made) = plugin.call(What::Enroll, fields(&[("user.name", name.as_bytes())]), 0);
            assert_eq!(status, abi::OK);
            let field = |name: &str| made.iter().find(|(known, _)| known == name).unwrap().1.to_vec();
            (field("secret"), String::from_utf8(field("uri")).unwrap())
        };

        let (secret, uri) = enroll("al:ice w\u{f6}lf");

        assert_eq!(secret.len(), 20);
        assert_ne!(secret, enroll("al:ice w\u{f6}lf").0);
        let base32 = Secret::from(secret).to_base32();
        assert_eq!(uri, format!("otpauth://totp/Lockgate:al_ice%20w%C3%B6lf?secret={base32}&issuer=Lockgate"));
    }

    #[test]
    fn a_setting_that_is_neither_true_nor_false_is_refused() {
        // SAFETY: the plugin of this crate, which is never unloaded.
        let table = unsafe { Table::read(lockgate_plugin_v1()) }.unwrap();

        let refused = table.open(fields(&[("setting.totp_step_ahead", b"perhaps")]), 0).err().unwrap();

        assert!(refused.contains("totp_step_ahead"), "{refused}");
    }
}
