//! A client certificate as the first factor.

use super::house::{Client, House, under_tls};
use crate::{CodePrompt, FtpSettings};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::{ClientConfig, pki_types::PrivateKeyDer};
use std::sync::{Arc, atomic::Ordering};
use time::{Duration, OffsetDateTime};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn named(name: &str) -> DistinguishedName {
    let mut all = DistinguishedName::new();
    all.push(DnType::OrganizationName, "Example");
    all.push(DnType::CommonName, name);
    all
}

fn authority() -> Authority {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named("authority");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// The house's client with a certificate of this name.
fn client(house: &House, by: &Authority, name: &str, days: i64) -> Arc<ClientConfig> {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = named(name);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters.not_before = OffsetDateTime::now_utc() - Duration::days(9);
    parameters.not_after = OffsetDateTime::now_utc() + Duration::days(days);
    let certificate = parameters.signed_by(&key, by).unwrap().der().clone();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let signing = house.client.crypto_provider().key_provider.load_private_key(private).unwrap();
    let mut config = ClientConfig::clone(&house.client);
    config.client_auth_cert_resolver =
        Arc::new(rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(vec![certificate], signing)));
    Arc::new(config)
}

/// A connection of either kind of TLS with this certificate.
async fn connection(house: &House, config: &Arc<ClientConfig>, implicit: bool) -> Client {
    if !implicit {
        return house.secure_with(config).await;
    }
    let stream = TcpStream::connect(house.at).await.unwrap();
    let mut client = Client::over(Box::new(under_tls(stream, config).await.unwrap()));
    client.must(220).await;
    client
}

#[tokio::test]
async fn the_right_certificate_stands_in_for_the_password() {
    let ours = authority();
    for implicit in [false, true] {
        let house = House::trusting(|settings: &mut FtpSettings| settings.implicit = implicit, &ours.pem()).await;
        let alice = client(&house, &ours, "alice", 9);
        let mut session = connection(&house, &alice, implicit).await;
        session
            .expect(&[("USER alice", 232), ("PASS whatever", 202), ("USER alice", 503), ("TYPE I", 200), ("PWD", 257)])
            .await;
        // The data connections show it too, or resume.
        session.expect(&[("PBSZ 0", 200), ("PROT P", 200)]).await;
        let data = session.passive().await;
        session.expect(&[("NLST", 150)]).await;
        under_tls(data, &alice).await.unwrap().read_to_end(&mut Vec::new()).await.unwrap();
        session.must(226).await;
        assert_eq!(house.tries.load(Ordering::SeqCst), 0, "no password was looked at");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_the_users_or_does_not_count_changes_nothing() {
    let (ours, theirs) = (authority(), authority());
    let house = House::trusting(|_| {}, &ours.pem()).await;
    for config in [
        client(&house, &ours, "bob", 9),
        client(&house, &ours, "alice2", 9),
        client(&house, &ours, "alice", -1),
        client(&house, &theirs, "alice", 9),
        Arc::clone(&house.client),
    ] {
        let mut session = connection(&house, &config, false).await;
        session.expect(&[("USER alice", 331), ("PASS wrong", 530), ("USER alice", 331), ("PASS right", 230)]).await;
    }
    let mut session = connection(&house, &client(&house, &ours, "alice", 9), false).await;
    session.expect(&[("USER nobody", 331), ("PASS right", 530)]).await;
    let mut session = connection(&house, &client(&house, &ours, "busy", 9), false).await;
    session.expect(&[("USER alice", 421)]).await;
    session.must_be_closed().await;
}

#[tokio::test]
async fn a_code_that_is_due_behind_a_certificate_comes_in_place_of_the_password() {
    let ours = authority();
    let house = House::trusting(|_| {}, &ours.pem()).await;
    let half = client(&house, &ours, "half", 9);
    let mut session = connection(&house, &half, false).await;
    let asked = session.expect(&[("ACCT 123456", 503), ("USER alice", 331)]).await;
    assert!(asked.contains("PASS"), "{asked}");
    session.expect(&[("HOST x", 503), ("ACCT 123456", 503), ("PWD", 530), ("PASS 123456", 230), ("PWD", 257)]).await;
    // A wrong one is a wrong login, and a new question is for a new USER.
    let mut session = connection(&house, &half, false).await;
    session.expect(&[("USER alice", 331), ("PASS 000000", 530), ("PASS 123456", 503)]).await;
    session.expect(&[("USER alice", 331), ("USER bob", 331), ("PASS 123456", 530)]).await;
    session.expect(&[("USER alice", 331), ("PASS 000000", 530)]).await;
    session.must(421).await;
    session.must_be_closed().await;
}

#[tokio::test]
async fn a_password_that_is_sent_where_a_code_is_due_is_no_answer_and_a_code_behind_it_is_one() {
    let ours = authority();
    let house = House::trusting(|_| {}, &ours.pem()).await;
    let half = client(&house, &ours, "half", 9);
    let mut session = connection(&house, &half, false).await;
    let again = session.expect(&[("USER alice", 331), ("PASS right", 530)]).await;
    assert!(again.contains("PASS and the code"), "{again}");
    session.expect(&[("PASS right:12345", 530)]).await;
    assert_eq!(house.answers.load(Ordering::SeqCst), 0, "nothing was judged");
    session.expect(&[("PASS right:123456", 230), ("PWD", 257)]).await;
    assert_eq!((house.answers.load(Ordering::SeqCst), house.tries.load(Ordering::SeqCst)), (1, 0));
    // A few of them, over all questions of a connection.
    let mut session = connection(&house, &half, false).await;
    session.expect(&[("USER alice", 331), ("PASS right", 530), ("USER alice", 331), ("PASS right", 530)]).await;
    session.expect(&[("PASS right", 421)]).await;
    session.must_be_closed().await;
    assert_eq!(house.answers.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_certificate_whose_authority_went_after_tls_began_opens_nothing() {
    let (ours, theirs) = (authority(), authority());
    let house = House::trusting(|_| {}, &ours.pem()).await;
    let (alice, half) = (client(&house, &ours, "alice", 9), client(&house, &ours, "half", 9));
    let mut before_user = connection(&house, &alice, false).await;
    let mut before_code = connection(&house, &half, false).await;
    before_code.expect(&[("USER alice", 331)]).await;

    house.trust(&theirs.pem());

    before_user.expect(&[("USER alice", 331), ("PASS right", 230)]).await;
    before_code.expect(&[("PASS 123456", 530), ("USER alice", 331), ("PASS right", 230)]).await;
    assert_eq!(house.answers.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn where_codes_come_by_acct_a_password_that_is_sent_all_the_same_is_not_looked_at() {
    let ours = authority();
    let house = House::trusting(|settings| settings.code_prompt = CodePrompt::Account, &ours.pem()).await;
    let half = client(&house, &ours, "half", 9);
    let mut session = connection(&house, &half, false).await;
    session.expect(&[("USER alice", 332), ("ACCT 000000", 332), ("ACCT 123456", 230)]).await;
    let mut session = connection(&house, &half, false).await;
    session.expect(&[("USER alice", 332), ("PASS right", 332), ("PASS ", 332), ("ACCT 123456", 230)]).await;
    assert_eq!(house.tries.load(Ordering::SeqCst), 0);
}
