//! Whose certificate counts, in real handshakes.

use crate::{ClientTrust, OldestTls, TlsMaterial};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};
use time::{Duration, OffsetDateTime};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named(name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

fn named(name: &str) -> DistinguishedName {
    let mut all = DistinguishedName::new();
    all.push(DnType::OrganizationName, "Example");
    all.push(DnType::CommonName, name);
    all
}

/// A client's certificate with its key.
struct Card(CertificateDer<'static>, PrivateKeyDer<'static>);

fn card(by: &Authority, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Card {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named(name);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters.serial_number = Some(SerialNumber::from(7_u64));
    change(&mut parameters);
    let certificate = parameters.signed_by(&key, by).unwrap();
    Card(certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

struct Server {
    folder: tempfile::TempDir,
    material: TlsMaterial,
}

impl Server {
    fn trusting(authorities: &[&Authority], revoked: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        TlsMaterial::ensure_self_signed(&at("tls.crt"), &at("tls.key"), &[]).unwrap();
        fs::write(at("ca.pem"), authorities.iter().map(|one| one.pem()).collect::<String>()).unwrap();
        if let Some(list) = revoked {
            fs::write(at("crl.pem"), list).unwrap();
        }
        let trust = ClientTrust { authorities: at("ca.pem"), revoked: revoked.map(|_| at("crl.pem")) };
        let trust = (!authorities.is_empty()).then_some(trust);
        let loaded = TlsMaterial::load_asking(&at("tls.crt"), &at("tls.key"), OldestTls::Tls12, trust.as_ref());
        let material = loaded.unwrap();
        Self { folder, material }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn client(&self, card: Option<&Card>, tls12: bool) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file("tls.crt")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = if tls12 { &TLS12 } else { &TLS13 };
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[versions])
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match card {
            Some(Card(certificate, key)) => {
                config.with_client_auth_cert(vec![certificate.clone()], key.clone_key()).unwrap()
            }
            None => config.with_no_client_auth(),
        })
    }

    /// The subject that counts, and whether the session was resumed.
    async fn meet(&self, client: &Arc<ClientConfig>) -> (Option<String>, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let material = self.material.clone();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::from(material.server_config(&[b"ftp"])).accept(stream).await.unwrap();
            stream.write_all(b".").await.unwrap();
            stream.shutdown().await.unwrap();
            let session = stream.get_ref().1;
            (material.client_subject(session), session.handshake_kind() == Some(HandshakeKind::Resumed))
        });
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::clone(client)).connect(name, stream).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        server.await.unwrap()
    }

    async fn counts(&self, card: &Card) -> bool {
        let thirteen = self.meet(&self.client(Some(card), false)).await.0;
        let twelve = self.meet(&self.client(Some(card), true)).await.0;
        assert_eq!(thirteen, twelve);
        thirteen.is_some()
    }
}

/// A list of one authority that takes back the certificate with this number.
fn list(by: &Authority, serial: u64, until: Duration) -> String {
    let now = OffsetDateTime::now_utc();
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: now - Duration::days(1),
        reason_code: None,
        invalidity_date: None,
    };
    let parameters = CertificateRevocationListParams {
        this_update: now - Duration::days(2),
        next_update: now + until,
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    parameters.signed_by(by).unwrap().pem().unwrap()
}

const DAY: Duration = Duration::days(1);

#[tokio::test]
async fn a_certificate_of_a_named_authority_counts_with_its_exact_subject() {
    let ours = authority("ours");
    let server = Server::trusting(&[&ours], None);
    for tls12 in [false, true] {
        let client = server.client(Some(&card(&ours, "alice", |_| {})), tls12);
        assert_eq!(server.meet(&client).await, (Some("CN=alice,O=Example".into()), false));
        assert_eq!(server.meet(&client).await, (Some("CN=alice,O=Example".into()), true), "resumed");
    }
    assert_eq!(server.meet(&server.client(None, false)).await.0, None, "a client need not have one");
}

#[tokio::test]
async fn a_certificate_that_does_not_count_leaves_its_client_without_one() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let server = Server::trusting(&[&ours], None);
    let now = OffsetDateTime::now_utc();
    assert!(!server.counts(&card(&theirs, "alice", |_| {})).await, "another authority's");
    let expired = card(&ours, "alice", |card| (card.not_before, card.not_after) = (now - 9 * DAY, now - DAY));
    assert!(!server.counts(&expired).await, "expired");
    let early = card(&ours, "alice", |card| card.not_before = now + DAY);
    assert!(!server.counts(&early).await, "of tomorrow");
    let purpose = vec![ExtendedKeyUsagePurpose::ServerAuth];
    assert!(!server.counts(&card(&ours, "alice", |card| card.extended_key_usages = purpose)).await, "a server's");
    let mut own = CertificateParams::default();
    own.distinguished_name = named("alice");
    let key = KeyPair::generate().unwrap();
    let own = Card(own.self_signed(&key).unwrap().der().clone(), key.serialize_der().try_into().unwrap());
    assert!(!server.counts(&own).await, "signed by itself");
}

#[tokio::test]
async fn a_certificate_that_was_taken_back_does_not_count_and_none_does_without_a_list_in_date() {
    let ours = authority("ours");
    let alice = card(&ours, "alice", |_| {});
    assert!(!Server::trusting(&[&ours], Some(&list(&ours, 7, DAY))).counts(&alice).await, "taken back");
    assert!(Server::trusting(&[&ours], Some(&list(&ours, 8, DAY))).counts(&alice).await);
    assert!(!Server::trusting(&[&ours], Some(&list(&ours, 8, -DAY))).counts(&alice).await, "a list of the past");
    let theirs = authority("theirs");
    let other = list(&theirs, 8, DAY);
    assert!(!Server::trusting(&[&ours, &theirs], Some(&other)).counts(&alice).await, "no list of this authority");
}

#[tokio::test]
async fn a_resumed_session_is_looked_at_like_a_new_one() {
    let ours = authority("ours");
    let server = Server::trusting(&[&ours], Some(&list(&ours, 8, DAY)));
    for tls12 in [false, true] {
        fs::write(server.file("crl.pem"), list(&ours, 8, DAY)).unwrap();
        server.material.reload().unwrap();
        let client = server.client(Some(&card(&ours, "alice", |_| {})), tls12);
        assert!(server.meet(&client).await.0.is_some());
        fs::write(server.file("crl.pem"), list(&ours, 7, DAY)).unwrap();
        server.material.reload().unwrap();
        assert_eq!(server.meet(&client).await, (None, true));
    }
    // A list that cannot be read changes nothing.
    fs::write(server.file("crl.pem"), "nonsense").unwrap();
    assert!(server.material.reload().is_err());
    assert_eq!(server.meet(&server.client(Some(&card(&ours, "alice", |_| {})), false)).await.0, None);
}

#[tokio::test]
async fn an_authority_that_was_taken_back_goes_whatever_has_become_of_the_servers_own_pair() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    for spoil in [
        (|server: &Server| fs::set_permissions(server.file("tls.key"), fs::Permissions::from_mode(0o644)).unwrap())
            as fn(&Server),
        |server| fs::write(server.file("tls.key"), "half a pair").unwrap(),
        |server| fs::remove_file(server.file("tls.crt")).unwrap(),
    ] {
        let server = Server::trusting(&[&ours], None);
        let (alice, shown) = (server.client(Some(&card(&ours, "alice", |_| {})), false), server.material.fingerprint());
        assert!(server.meet(&alice).await.0.is_some());
        spoil(&server);
        fs::write(server.file("ca.pem"), theirs.pem()).unwrap();
        let error = server.material.reload().unwrap_err().to_string();
        assert!(error.contains("tls."), "{error}");
        assert_eq!(server.meet(&alice).await.0, None);
        assert_eq!(server.material.fingerprint(), shown, "the pair before it stays");
    }
}

#[test]
fn a_new_pair_is_shown_whatever_has_become_of_the_authorities() {
    let server = Server::trusting(&[&authority("ours")], None);
    let before = server.material.fingerprint();
    for file in ["tls.crt", "tls.key"] {
        fs::remove_file(server.file(file)).unwrap();
    }
    TlsMaterial::ensure_self_signed(&server.file("tls.crt"), &server.file("tls.key"), &[]).unwrap();
    fs::write(server.file("ca.pem"), "").unwrap();
    assert!(server.material.reload().unwrap_err().to_string().contains("ca.pem"));
    assert_ne!(server.material.fingerprint(), before);
}

#[test]
fn a_certificate_of_an_old_version_is_no_clients() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alice.pem");
    fs::write(&file, VERSION_1).unwrap();
    let error = TlsMaterial::subject_in_file(&file).unwrap_err().to_string();
    assert!(error.contains("alice.pem: is an X.509 certificate of version 1"), "{error}");
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named("alice");
    fs::write(&file, parameters.self_signed(&key).unwrap().pem()).unwrap();
    assert_eq!(TlsMaterial::subject_in_file(&file).unwrap(), "CN=alice,O=Example");
}

/// Signed by itself, for `O=Example, CN=alice`; `rcgen` makes version 3 only.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBPzCB5wIUXfY75+KM5Kv9DZF8B1SX/sUQXJAwCgYIKoZIzj0EAwIwIjEQMA4G
A1UECgwHRXhhbXBsZTEOMAwGA1UEAwwFYWxpY2UwIBcNMjYxMTI0MTUyMTU2WhgP
MjEyNjEwMzExNTIxNTZaMCIxEDAOBgNVBAoMB0V4YW1wbGUxDjAMBgNVBAMMBWFs
aWNlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfad8Or6dqQ+qT+VhAmMqIFsX
bZve8B3kiI0t7YnqaitkG3HEUMbfoqyN/F2Ds0ElKvOM1zfcgsH4EQ6OQu+j1zAK
BggqhkjOPQQDAgNHADBEAiAq+j0f/0KMCoFjTWwj++Df5ZtwbXmoJ70nmG7ZOYMd
7gIgNefM2RTvCpKLIalNPGZSBiP3Itupfz2WYGpFusQed5g=
-----END CERTIFICATE-----
";

#[tokio::test]
async fn where_no_authority_is_named_no_certificate_is_asked_for() {
    let server = Server::trusting(&[], None);
    assert!(!server.counts(&card(&authority("ours"), "alice", |_| {})).await);
}

#[tokio::test]
async fn a_certificate_with_another_ones_key_ends_the_handshake() {
    let ours = authority("ours");
    let server = Server::trusting(&[&ours], None);
    let Card(certificate, _) = card(&ours, "alice", |_| {});
    let Card(_, key) = card(&ours, "eve", |_| {});
    // A client that does not look whether its own two files belong together.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).unwrap();
    #[derive(Debug)]
    struct Stolen(Arc<rustls::sign::CertifiedKey>);
    impl rustls::client::ResolvesClientCert for Stolen {
        fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
        fn has_certs(&self) -> bool {
            true
        }
    }
    let stolen = Arc::new(rustls::sign::CertifiedKey::new(vec![certificate], key));
    let mut config = ClientConfig::clone(&server.client(None, false));
    config.client_auth_cert_resolver = Arc::new(Stolen(stolen));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = tokio::spawn({
        let acceptor = TlsAcceptor::from(server.material.server_config(&[b"ftp"]));
        async move { acceptor.accept(listener.accept().await.unwrap().0).await.is_ok() }
    });
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    if let Ok(mut stream) = TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    assert!(!accepted.await.unwrap());
}

#[test]
fn files_of_authorities_that_are_of_no_use_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    TlsMaterial::ensure_self_signed(&at("tls.crt"), &at("tls.key"), &[]).unwrap();
    let load = |trust: ClientTrust| {
        let loaded = TlsMaterial::load_asking(&at("tls.crt"), &at("tls.key"), OldestTls::Tls12, Some(&trust));
        loaded.unwrap_err().to_string()
    };
    let trust = ClientTrust { authorities: at("ca.pem"), revoked: None };
    assert!(load(trust.clone()).contains("ca.pem"));
    fs::write(at("ca.pem"), "").unwrap();
    assert!(load(trust).ends_with("ca.pem: holds no certificate in PEM"));
    fs::write(at("ca.pem"), authority("ours").pem()).unwrap();
    let trust = ClientTrust { authorities: at("ca.pem"), revoked: Some(at("ca.pem")) };
    assert!(load(trust).ends_with("ca.pem: holds no list of revoked certificates in PEM"));
}
