//! The certificate of the first start, signed by itself.
//!
//! It lets every TLS door work before an operator has brought a certificate; clients pin its fingerprint, which start-up
//! prints. Written so that a crash leaves either nothing or a whole pair behind: the key goes first, and both files
//! appear under their names complete.

use super::TlsError;
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};
use time::{Duration, OffsetDateTime};

/// Makes the pair. Neither file is there yet.
pub(super) fn make(certificate: &Path, key: &Path, names: &[String]) -> Result<(), TlsError> {
    let unusable =
        |cause: rcgen::Error| TlsError::unusable(certificate, format!("no certificate could be made: {cause}"));
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unusable)?;
    let made = parameters(names).self_signed(&pair).map_err(unusable)?;
    write(key, 0o600, pair.serialize_pem().as_bytes())?;
    write(certificate, 0o644, made.pem().as_bytes())
}

fn parameters(names: &[String]) -> CertificateParams {
    let host = host_name();
    let now = OffsetDateTime::now_utc();
    let mut parameters = CertificateParams::default();
    parameters.not_before = now - CLOCK_SLACK;
    parameters.not_after = now + LIFE;
    // rustls and browsers refuse an authority's certificate as a server's own.
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.distinguished_name.push(DnType::CommonName, host.as_deref().unwrap_or("lockgate"));
    let fixed = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let all: BTreeSet<String> = fixed.into_iter().chain(host).chain(names.iter().cloned()).collect();
    parameters.subject_alt_names = all.into_iter().filter_map(subject).collect();
    parameters
}

/// A name as a certificate holds it; `None` for what cannot stand in one, or says nothing.
fn subject(name: String) -> Option<SanType> {
    match name.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => None,
        Ok(address) => Some(SanType::IpAddress(address)),
        Err(_) => {
            let fit = !name.is_empty()
                && name.len() <= 253
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._*".contains(&b));
            fit.then(|| name.try_into().ok().map(SanType::DnsName)).flatten()
        }
    }
}

/// The host's name, where the system tells one.
fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.to_owned();
    (!name.is_empty() && name != "(none)").then_some(name)
}

/// Writes a file so that it appears whole, durable, and with its mode from the first moment.
fn write(path: &Path, mode: u32, contents: &[u8]) -> Result<(), TlsError> {
    let staged = staging_name(path);
    let written = (|| -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&staged)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&staged, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    })();
    written.map_err(|cause| {
        // Best effort: what is left has the right mode and no one's name.
        let _ = fs::remove_file(&staged);
        TlsError::file("cannot write", path, cause)
    })
}

fn staging_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    name.into()
}

/// Ten years.
const LIFE: Duration = Duration::days(3650);
/// Devices with a clock that is a little behind take it from the first minute on.
const CLOCK_SLACK: Duration = Duration::days(1);
