//! The rules of TLS material, with real handshakes over sockets.

use super::*;
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{ServerName, UnixTime},
};
use std::fs;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Takes any certificate and remembers nothing: what is shown is compared by the tests.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn client(alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// What one handshake ended in, as the client saw it.
struct Met {
    leaf: Vec<u8>,
    kind: Option<HandshakeKind>,
    alpn: Option<Vec<u8>>,
    tickets: u32,
}

async fn meet(material: &TlsMaterial, served: &[&'static [u8]], config: &Arc<ClientConfig>) -> io::Result<Met> {
    shake(material.server_config(served), config).await
}

async fn shake(server_config: Arc<ServerConfig>, config: &Arc<ClientConfig>) -> io::Result<Met> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        let mut stream = TlsAcceptor::from(server_config).accept(stream).await?;
        // Tickets travel with the first bytes after the handshake.
        stream.write_all(b".").await?;
        stream.shutdown().await
    });
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let met = async {
        let mut stream = tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, stream).await?;
        stream.read_to_end(&mut Vec::new()).await?;
        let session = stream.get_ref().1;
        let leaf =
            session.peer_certificates().and_then(|chain| chain.first()).map(|leaf| leaf.to_vec()).unwrap_or_default();
        let alpn = session.alpn_protocol().map(<[u8]>::to_vec);
        Ok(Met { leaf, kind: session.handshake_kind(), alpn, tickets: session.tls13_tickets_received() })
    }
    .await;
    let _ = server.await;
    met
}

struct Files {
    folder: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

fn fresh_pair(names: &[&str]) -> Files {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    TlsMaterial::ensure_self_signed(&certificate, &key, &names).unwrap();
    Files { folder, certificate, key }
}

fn refused(outcome: io::Result<Met>) -> AlertDescription {
    let Err(error) = outcome else { panic!("the handshake succeeded") };
    match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        other => panic!("no alert but {other:?} ({error})"),
    }
}

#[tokio::test]
async fn a_client_offering_only_foreign_protocols_is_refused_and_one_offering_none_is_not() {
    let files = fresh_pair(&[]);
    let material = TlsMaterial::load(&files.certificate, &files.key).unwrap();
    let web: [&[u8]; 2] = [b"h2", b"http/1.1"];
    for foreign in [&[b"ftp".as_slice()][..], &[b"imap", b"smtp"]] {
        assert_eq!(refused(meet(&material, &web, &client(foreign)).await), AlertDescription::NoApplicationProtocol);
    }
    assert_eq!(
        meet(&material, &web, &client(&[b"ftp", b"http/1.1"])).await.unwrap().alpn.as_deref(),
        Some(&b"http/1.1"[..])
    );
    assert_eq!(meet(&material, &web, &client(&[])).await.unwrap().alpn, None);
    let door_without_alpn = meet(&material, &[], &client(&[b"http/1.1"])).await;
    assert_eq!(refused(door_without_alpn), AlertDescription::NoApplicationProtocol);
    assert!(meet(&material, &[], &client(&[])).await.is_ok());
}

#[tokio::test]
async fn connections_after_a_reload_show_the_new_certificate_with_the_same_configuration() {
    let files = fresh_pair(&[]);
    let material = TlsMaterial::load(&files.certificate, &files.key).unwrap();
    let config = material.server_config(&[b"ftp"]);
    let (before, old) = (material.fingerprint(), meet(&material, &[b"ftp"], &client(&[])).await.unwrap().leaf);

    let renewed = fresh_pair(&["files.example.org"]);
    fs::copy(&renewed.certificate, &files.certificate).unwrap();
    assert!(material.reload().is_err(), "a certificate without its key");
    assert_eq!(material.fingerprint(), before, "the old material stays");
    fs::copy(&renewed.key, &files.key).unwrap();
    material.reload().unwrap();

    assert!(Arc::ptr_eq(&config, &material.server_config(&[b"ftp"])));
    assert_ne!(material.fingerprint(), before);
    assert_ne!(meet(&material, &[b"ftp"], &client(&[])).await.unwrap().leaf, old);
}

#[tokio::test]
async fn a_session_resumes_at_its_own_door_and_at_no_other() {
    let files = fresh_pair(&[]);
    let material = TlsMaterial::load(&files.certificate, &files.key).unwrap();
    let config = client(&[]);
    let kind = async |served: &[&'static [u8]]| meet(&material, served, &config).await.unwrap().kind;
    assert_ne!(kind(&[b"ftp"]).await, Some(HandshakeKind::Resumed));
    assert_eq!(kind(&[b"ftp"]).await, Some(HandshakeKind::Resumed));
    assert_ne!(kind(&[b"h2"]).await, Some(HandshakeKind::Resumed), "another door's ticket is worth nothing");
}

#[tokio::test]
async fn a_connection_that_is_never_read_from_resumes_and_gets_no_tickets() {
    let files = fresh_pair(&[]);
    let material = TlsMaterial::load(&files.certificate, &files.key).unwrap();
    let client = client(&[]);
    let control = shake(material.server_config(&[b"ftp"]), &client).await.unwrap();
    assert!(control.tickets > 0);
    for _ in 0..control.tickets {
        let upload = shake(material.server_config_without_tickets(&[b"ftp"]), &client).await.unwrap();
        assert_eq!((upload.kind, upload.tickets), (Some(HandshakeKind::Resumed), 0));
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_in_time_is_given_up() {
    let files = fresh_pair(&[]);
    let material = TlsMaterial::load(&files.certificate, &files.key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let error = material.accept(stream, &[b"h2"], Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_remedy() {
    let files = fresh_pair(&[]);
    assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o640)).unwrap();
    let error = TlsMaterial::load(&files.certificate, &files.key).unwrap_err().to_string();
    let path = files.key.display();
    assert_eq!(error, format!("{path} may be read by others (mode 640): chmod 600 {path}"));
}

#[test]
fn what_is_no_pair_is_refused_by_file_and_reason() {
    let (files, stranger) = (fresh_pair(&[]), fresh_pair(&[]));
    let error = TlsMaterial::load(&files.certificate, &stranger.key).unwrap_err().to_string();
    assert!(error.contains("is not the key of"), "{error}");
    let error = TlsMaterial::load(&files.key, &files.key).unwrap_err().to_string();
    assert!(error.ends_with("holds no certificate in PEM"), "{error}");
    let error = TlsMaterial::load(&files.folder.path().join("none"), &files.key).unwrap_err().to_string();
    assert!(error.starts_with("cannot read"), "{error}");
    fs::write(&files.key, "nonsense").unwrap();
    let error = TlsMaterial::load(&files.certificate, &files.key).unwrap_err().to_string();
    assert!(error.ends_with("holds no private key in PEM"), "{error}");
}

#[test]
fn a_pair_that_is_there_is_kept_and_half_a_pair_is_an_error() {
    let files = fresh_pair(&[]);
    let before = fs::read(&files.certificate).unwrap();
    TlsMaterial::ensure_self_signed(&files.certificate, &files.key, &[]).unwrap();
    assert_eq!(fs::read(&files.certificate).unwrap(), before);
    fs::remove_file(&files.key).unwrap();
    let error = TlsMaterial::ensure_self_signed(&files.certificate, &files.key, &[]).unwrap_err().to_string();
    assert!(error.contains("tls.key: is missing while"), "{error}");
    assert!(!files.key.exists());
}

#[tokio::test]
async fn the_self_signed_certificate_satisfies_a_strict_client_that_trusts_it() {
    let files = fresh_pair(&["files.example.org", "192.0.2.7", "0.0.0.0", "not a name"]);
    let material = TlsMaterial::load(&files.certificate, &files.key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = Arc::new(
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    );
    let met = meet(&material, &[b"h2"], &config).await.unwrap();
    assert!(!met.leaf.is_empty());
    for name in ["files.example.org", "192.0.2.7", "127.0.0.1", "::1"] {
        let name = ServerName::try_from(name).unwrap();
        let leaf = CertificateDer::from(met.leaf.clone());
        let leaf = webpki_name_check(&leaf, &name);
        assert!(leaf, "{name:?} is not in the certificate");
    }
}

fn webpki_name_check(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let parsed = rustls::server::ParsedCertificate::try_from(leaf).unwrap();
    rustls::client::verify_server_name(&parsed, name).is_ok()
}

#[test]
fn the_fingerprint_reads_as_people_compare_it() {
    let files = fresh_pair(&[]);
    let fingerprint = TlsMaterial::load(&files.certificate, &files.key).unwrap().fingerprint();
    let parts: Vec<&str> = fingerprint.split(':').collect();
    assert_eq!(parts.len(), 32);
    assert!(
        parts
            .iter()
            .all(|part| part.len() == 2 && u8::from_str_radix(part, 16).is_ok() && *part == part.to_uppercase())
    );
}
