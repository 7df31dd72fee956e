//! Secrets: resolved only when asked, never shown, moved nowhere.

use super::*;

/// Seals by turning bytes over and putting the label in front: enough to see that both are used.
pub(crate) struct ToySealer;

impl Sealer for ToySealer {
    fn seal(&self, plain: &[u8], label: &str) -> Result<Vec<u8>, SealError> {
        let mut sealed = label.as_bytes().to_vec();
        sealed.push(0);
        sealed.extend(plain.iter().map(|byte| byte ^ 0x55));
        Ok(sealed)
    }

    fn open(&self, sealed: &[u8], label: &str) -> Result<Secret<Vec<u8>>, SealError> {
        let rest = sealed.strip_prefix(label.as_bytes()).and_then(|rest| rest.strip_prefix(&[0]));
        let rest = rest.ok_or_else(|| SealError("sealed for another key".to_owned()))?;
        Ok(Secret::new(rest.iter().map(|byte| byte ^ 0x55).collect()))
    }
}

fn resolved(stored: &str) -> Result<String, SecretError> {
    let secret = SecretText::parse("smtp_pass", stored).unwrap().unwrap();
    secret.resolve(Path::new("/nowhere"), &ToySealer).map(|secret| secret.expose().clone())
}

#[test]
fn a_plain_secret_is_taken_to_the_letter() {
    assert_eq!(resolved(" a b ").unwrap(), " a b ");
}

#[test]
fn a_sealed_secret_opens_under_its_own_key_alone() {
    let stored = store("open sesame", "smtp_pass", &ToySealer).unwrap();
    assert!(stored.starts_with(SEALED) && !stored.contains("sesame"));
    assert_eq!(resolved(&stored).unwrap(), "open sesame");
    let moved = SecretText::parse("otp_password", &stored).unwrap().unwrap();
    let error = moved.resolve(Path::new("/"), &ToySealer).unwrap_err();
    assert!(error.to_string().contains("lockgate prefs set otp_password"), "{error}");
}

#[test]
fn a_secret_from_a_file_loses_one_line_end_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("pass"), "two words \r\n").unwrap();
    let secret = SecretText::parse("smtp_pass", "file:pass").unwrap().unwrap();
    assert_eq!(secret.resolve(home.path(), &ToySealer).unwrap().expose(), "two words ");
    std::fs::write(home.path().join("pass"), "\n").unwrap();
    let error = secret.resolve(home.path(), &ToySealer).unwrap_err();
    assert!(error.to_string().ends_with("which is empty"), "{error}");
}

#[test]
fn a_missing_variable_or_file_is_named() {
    let error = resolved("env:LOCKGATE_NO_SUCH_VARIABLE").unwrap_err();
    assert!(error.to_string().contains("LOCKGATE_NO_SUCH_VARIABLE"), "{error}");
    let error = resolved("file:/nowhere/at/all").unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}

#[test]
fn references_are_stored_as_they_are() {
    for stored in ["env:MAIL_PASS", "file:/run/secrets/mail", "enc:v1:AAAA"] {
        assert_eq!(&**store(stored, "smtp_pass", &ToySealer).unwrap(), stored);
    }
}

#[test]
fn what_begins_like_a_reference_and_is_none_is_refused() {
    for stored in ["env:", "env:A B", "env:A=B", "file:", "enc:v1:", "enc:v1:***", "enc:v2:AAAA", "enc:"] {
        assert!(SecretText::parse("smtp_pass", stored).is_err(), "{stored}");
    }
    assert!(SecretText::parse("smtp_pass", "  ").unwrap().is_none());
}

#[test]
fn a_secret_does_not_print_itself() {
    let secret = SecretText::parse("smtp_pass", "open sesame").unwrap().unwrap();
    assert!(!format!("{secret:?} {}", secret.masked()).contains("sesame"));
}

#[test]
fn names_that_sound_secret_are_hidden() {
    for name in
        ["apiKey", "api_key", "password", "ldap_pass", "x_secret", "authToken", "clientSecret", "keystorePass", "pin"]
    {
        assert!(sounds_secret(name), "{name}");
    }
    for name in ["url", "timeout", "monkey", "keyboard", "compass_heading", "from"] {
        assert!(!sounds_secret(name), "{name}");
    }
}
