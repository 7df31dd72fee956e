//! The rules of the directory, over a real file, often opened twice as the server and a command open it.

mod file;

use super::*;
use crate::{Field, MountPoint, PathRule, recovery};
use lockgate_model::{ByteSize, Permissions, Protocol, ProtocolSet, VPath};
use sqlx::{ConnectOptions, Connection, SqlitePool, sqlite::SqliteConnectOptions};
use std::{
    collections::BTreeSet,
    fs::Permissions as Mode,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};
use tempfile::TempDir;
use tokio::{sync::Barrier, task::JoinSet};

/// A home with a database, and the directory in it.
struct Home {
    folder: TempDir,
    key: SecretKey,
    directory: SqliteDirectory,
}

impl Home {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SecretKey::generate().unwrap();
        let directory = SqliteDirectory::open(&folder.path().join("lockgate.db"), key.clone()).await.unwrap();
        Self { folder, key, directory }
    }

    async fn with_users(names: &[&str]) -> Self {
        let home = Self::new().await;
        for user in names {
            home.directory.create(&name(user), AccountChange::default()).await.unwrap();
        }
        home
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("lockgate.db")
    }

    /// The same file as another process has it.
    async fn opened_again(&self) -> SqliteDirectory {
        SqliteDirectory::open(&self.file(), self.key.clone()).await.unwrap()
    }

    async fn account(&self, user: &str) -> Account {
        self.directory.find(&name(user)).await.unwrap().unwrap()
    }

    async fn epoch(&self, user: &str) -> u64 {
        self.account(user).await.epoch.0
    }

    async fn raw(&self) -> SqlitePool {
        SqlitePool::connect(&format!("sqlite://{}", self.file().display())).await.unwrap()
    }
}

fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn key(fingerprint: &str) -> AuthorizedKey {
    AuthorizedKey { fingerprint: fingerprint.into(), blob: vec![1, 2], comment: "c".into(), added: 3 }
}

fn every_property() -> AccountChange {
    AccountChange {
        enabled: Some(false),
        admin: Some(true),
        email: Field::Set("alice@example.org".into()),
        phone: Field::Set("+1 555-010-0200".into()),
        otp_auth: Some(true),
        otp_auth_by_protocol: [(Protocol::Ftp, Some(true)), (Protocol::Webdav, Some(false))].into(),
        otp_token_timeout_ms: Field::Set(90_000),
        root: Field::Set("/srv/alice".into()),
        mounts: Some(vec![MountPoint {
            at: VPath::parse(b"/caf\xe9").unwrap(),
            source: "/srv/shared".into(),
            permissions: Permissions::read_only(),
        }]),
        rules: Some(vec![PathRule { path: VPath::parse("/in").unwrap(), permissions: Permissions::full() }]),
        read_only: Some(true),
        quota: Field::Set(ByteSize(1 << 40)),
        allowed_protocols: Some([Protocol::Sftp, Protocol::Https].into_iter().collect()),
        ip_restrictions: Some(vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]),
        max_logins: Field::Set(4),
        expires: Field::Set(1_900_000_000_000),
        client_certificate: Field::Set("CN=alice,O=Example".into()),
        texts: [("dept".to_owned(), Some("R&D \"x\" {y}".to_owned()))].into(),
    }
}

#[tokio::test]
async fn every_property_of_an_account_is_kept_as_it_was_set() {
    let home = Home::new().await;
    home.directory.create(&name("alice"), every_property()).await.unwrap();
    let account = home.account("alice").await;

    assert!(!account.enabled && account.admin && account.otp_auth && account.read_only);
    assert_eq!((account.email.as_deref(), account.phone.as_deref()), (Some("alice@example.org"), Some("+15550100200")));
    assert_eq!(account.otp_auth_by_protocol, [(Protocol::Ftp, true), (Protocol::Webdav, false)].into());
    assert_eq!(
        (account.otp_token_timeout_ms, account.max_logins, account.expires),
        (Some(90_000), Some(4), Some(1_900_000_000_000))
    );
    assert_eq!((account.root.as_deref(), account.quota), (Some(Path::new("/srv/alice")), Some(ByteSize(1 << 40))));
    assert_eq!(account.mounts, every_property().mounts.unwrap());
    assert_eq!(account.rules, every_property().rules.unwrap());
    assert_eq!(account.allowed_protocols.to_string(), "sftp,https");
    assert_eq!(account.ip_restrictions, every_property().ip_restrictions.unwrap());
    assert_eq!(account.client_certificate.as_deref(), Some("CN=alice,O=Example"));
    assert_eq!(account.texts["dept"], "R&D \"x\" {y}");

    home.directory
        .update(
            &name("alice"),
            AccountChange {
                email: Field::Clear,
                otp_auth_by_protocol: [(Protocol::Ftp, None)].into(),
                texts: [("dept".to_owned(), None)].into(),
                ..AccountChange::default()
            },
        )
        .await
        .unwrap();
    let after = home.account("alice").await;
    assert!(after.email.is_none() && after.texts.is_empty() && after.phone.is_some());
    assert_eq!(after.otp_auth_by_protocol, [(Protocol::Webdav, false)].into());
}

#[tokio::test]
async fn a_new_account_may_do_everything_in_its_own_folder_and_nothing_more() {
    let home = Home::with_users(&["alice"]).await;
    let account = home.account("alice").await;
    assert!(account.enabled && !account.admin && !account.otp_auth && !account.read_only);
    assert!(account.password.is_none() && account.root.is_none() && account.ip_restrictions.is_empty());
    assert_eq!(account.allowed_protocols, ProtocolSet::all());
}

#[tokio::test]
async fn a_name_is_found_by_its_exact_spelling_only_and_made_once() {
    let home = Home::with_users(&["alice", "o'brien; DROP TABLE users--", "100%"]).await;
    for other in ["Alice", "alice ", "alic", "%", "ALICE", "100_"] {
        assert!(home.directory.find(&name(other)).await.unwrap().is_none(), "{other}");
    }
    assert!(home.directory.find(&name("o'brien; DROP TABLE users--")).await.unwrap().is_some());
    let again = home.directory.create(&name("alice"), AccountChange::default()).await;
    assert!(matches!(again, Err(DirectoryError::Exists(_))), "{again:?}");
}

#[tokio::test]
async fn a_refused_change_leaves_everything_as_it_was() {
    let home = Home::with_users(&["alice"]).await;
    let epoch = home.epoch("alice").await;
    let change =
        AccountChange { admin: Some(true), email: Field::Set("a@b\r\nBcc: c@d".into()), ..AccountChange::default() };
    assert!(matches!(home.directory.update(&name("alice"), change.clone()).await, Err(DirectoryError::Invalid(_))));
    assert!(matches!(home.directory.create(&name("bob"), change).await, Err(DirectoryError::Invalid(_))));

    let account = home.account("alice").await;
    assert!(!account.admin && account.epoch.0 == epoch);
    assert!(home.directory.find(&name("bob")).await.unwrap().is_none());
}

#[tokio::test]
async fn accounts_are_listed_by_name_page_by_page_with_what_hangs_on_them() {
    let home = Home::with_users(&["carol", "alice", "bob"]).await;
    home.directory.add_key(&name("bob"), key("SHA256:b")).await.unwrap();
    home.directory.enrol(&name("carol"), "totp", Secret::new(b"seed".to_vec())).await.unwrap();
    let names = |page: &[Account]| page.iter().map(|account| account.name.to_string()).collect::<Vec<_>>();

    let first = home.directory.list(None, 2).await.unwrap();
    assert_eq!(names(&first), ["alice", "bob"]);
    assert!(first[0].keys.is_empty() && first[1].keys[0].fingerprint == "SHA256:b");
    let second = home.directory.list(Some(&first[1].name), 2).await.unwrap();
    assert_eq!(names(&second), ["carol"]);
    assert_eq!(second[0].enrolments["totp"].expose(), b"seed");
    assert!(home.directory.list(Some(&second[0].name), 2).await.unwrap().is_empty());
}

#[tokio::test]
async fn whatever_changes_the_login_bumps_the_epoch_and_nothing_else_does() {
    let home = Home::with_users(&["alice"]).await;
    let (directory, alice) = (&home.directory, name("alice"));
    let mut expected = home.epoch("alice").await;

    let phc = secret("$argon2id$one");
    directory.set_password(&alice, Some(phc.clone())).await.unwrap();
    expected += 1;
    directory.rehash_password(&alice, &phc, secret("$argon2id$two")).await.unwrap();
    directory.add_key(&alice, key("SHA256:a")).await.unwrap();
    let (_, password) = crate::app_password::mint(&home.key, &alice, "phone", ProtocolSet::all(), 1).unwrap();
    directory.add_app_password(&alice, password.clone()).await.unwrap();
    directory.touch_app_password(&alice, &password.id).await.unwrap();
    directory.remember_address(&alice, "10.0.0.1").await.unwrap();
    directory.replace_recovery_codes(&alice, vec![vec![1]]).await.unwrap();
    directory
        .update(
            &alice,
            AccountChange { texts: [("a".to_owned(), Some(String::new()))].into(), ..AccountChange::default() },
        )
        .await
        .unwrap();
    assert_eq!(home.epoch("alice").await, expected);

    directory.remove_key(&alice, "SHA256:a").await.unwrap();
    directory.enrol(&alice, "totp", Secret::new(vec![1])).await.unwrap();
    directory.unenrol(&alice, "totp").await.unwrap();
    directory.remove_app_password(&alice, &password.id).await.unwrap();
    directory.update(&alice, AccountChange { enabled: Some(false), ..AccountChange::default() }).await.unwrap();
    directory.set_password(&alice, None).await.unwrap();
    assert_eq!(home.epoch("alice").await, expected + 6);
    directory.replace_recovery_codes(&alice, Vec::new()).await.unwrap();
    assert_eq!(home.epoch("alice").await, expected + 7);
}

#[tokio::test]
async fn epochs_tell_of_those_who_are_there_and_are_silent_about_the_rest() {
    let home = Home::with_users(&["alice", "bob"]).await;
    let asked: Vec<UserName> =
        (0..2500).map(|n| name(&format!("nobody{n}"))).chain([name("bob"), name("alice")]).collect();
    let epochs = home.directory.epochs(&asked).await.unwrap();
    assert_eq!(
        epochs,
        BTreeMap::from([
            (name("alice"), Epoch(home.epoch("alice").await)),
            (name("bob"), Epoch(home.epoch("bob").await))
        ])
    );
    assert!(home.directory.epochs(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_user_made_anew_under_an_old_name_inherits_nothing() {
    let home = Home::with_users(&["alice"]).await;
    let (directory, alice) = (&home.directory, name("alice"));
    directory.set_password(&alice, Some(secret("$x"))).await.unwrap();
    directory.add_key(&alice, key("SHA256:a")).await.unwrap();
    directory.enrol(&alice, "totp", Secret::new(vec![1])).await.unwrap();
    directory.replace_recovery_codes(&alice, vec![vec![1]]).await.unwrap();
    directory.remember_address(&alice, "10.0.0.1").await.unwrap();
    let (_, password) = crate::app_password::mint(&home.key, &alice, "phone", ProtocolSet::all(), 1).unwrap();
    directory.add_app_password(&alice, password).await.unwrap();
    let before = home.account("alice").await;

    directory.remove(&alice).await.unwrap();
    assert!(directory.find(&alice).await.unwrap().is_none());
    assert!(matches!(directory.remove(&alice).await, Err(DirectoryError::NoSuchUser(_))));
    directory.create(&alice, AccountChange::default()).await.unwrap();

    let after = home.account("alice").await;
    assert_ne!(after.epoch, before.epoch);
    assert!(
        after.password.is_none()
            && after.keys.is_empty()
            && after.enrolments.is_empty()
            && after.recovery_codes_left == 0
    );
    assert!(
        directory.app_passwords(&alice).await.unwrap().is_empty()
            && !directory.knows_address(&alice, "10.0.0.1").await.unwrap()
    );
}

#[tokio::test]
async fn nothing_can_be_hung_on_a_user_who_is_not_there() {
    let home = Home::new().await;
    let (directory, nobody) = (&home.directory, name("nobody"));
    let (_, password) = crate::app_password::mint(&home.key, &nobody, "phone", ProtocolSet::all(), 1).unwrap();
    let outcomes = [
        directory.update(&nobody, AccountChange::default()).await,
        directory.set_password(&nobody, Some(secret("$x"))).await,
        directory.add_key(&nobody, key("SHA256:a")).await,
        directory.remove_key(&nobody, "SHA256:a").await,
        directory.enrol(&nobody, "totp", Secret::new(vec![1])).await,
        directory.unenrol(&nobody, "totp").await,
        directory.replace_recovery_codes(&nobody, vec![vec![1]]).await,
        directory.add_app_password(&nobody, password).await,
        directory.remember_address(&nobody, "10.0.0.1").await,
    ];
    for (place, outcome) in outcomes.iter().enumerate() {
        assert!(matches!(outcome, Err(DirectoryError::NoSuchUser(_))), "{place}: {outcome:?}");
    }
    assert!(!directory.spend_recovery_code(&nobody, &[1]).await.unwrap());
}

#[tokio::test]
async fn removing_what_is_not_there_says_so() {
    let home = Home::with_users(&["alice"]).await;
    let (directory, alice, epoch) = (&home.directory, name("alice"), home.epoch("alice").await);
    for outcome in [
        directory.remove_key(&alice, "SHA256:a").await,
        directory.unenrol(&alice, "totp").await,
        directory.remove_app_password(&alice, "x").await,
    ] {
        assert!(matches!(outcome, Err(DirectoryError::NoSuchThing { .. })), "{outcome:?}");
    }
    assert_eq!(home.epoch("alice").await, epoch);
}

#[tokio::test]
async fn an_enrolment_is_never_in_clear_in_the_file() {
    let home = Home::with_users(&["alice"]).await;
    let seed = b"canary-of-an-authenticator-secret".to_vec();
    home.directory.enrol(&name("alice"), "totp", Secret::new(seed.clone())).await.unwrap();
    assert_eq!(home.account("alice").await.enrolments["totp"].expose(), &seed);
    for file in std::fs::read_dir(home.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(seed.len()).any(|window| window == seed), "the secret stands in a file of the database");
    }
}

#[tokio::test]
async fn an_enrolment_moved_to_another_user_does_not_open() {
    let home = Home::with_users(&["alice", "mallory"]).await;
    home.directory.enrol(&name("mallory"), "totp", Secret::new(b"known".to_vec())).await.unwrap();
    sqlx::query("UPDATE enrolments SET user_name = 'alice'").execute(&home.raw().await).await.unwrap();

    let found = home.directory.find(&name("alice")).await;
    assert!(matches!(&found, Err(DirectoryError::Sealed(user)) if user.as_str() == "alice"), "{found:?}");
    home.directory.unenrol(&name("alice"), "totp").await.unwrap();
    assert!(home.account("alice").await.enrolments.is_empty(), "an administrator can still take it away");
}

#[tokio::test]
async fn a_wrong_key_opens_no_account_with_an_enrolment() {
    let home = Home::with_users(&["alice"]).await;
    home.directory.enrol(&name("alice"), "totp", Secret::new(b"seed".to_vec())).await.unwrap();
    let stranger = SqliteDirectory::open(&home.file(), SecretKey::generate().unwrap()).await.unwrap();
    assert!(matches!(stranger.find(&name("alice")).await, Err(DirectoryError::Sealed(_))));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_and_never_a_user_with_fewer_rules() {
    let home = Home::with_users(&["alice"]).await;
    for (change, back) in [
        ("UPDATE users SET rules = '[{\"path\":\"/x\",\"permissions\":\"fly\"}]'", "UPDATE users SET rules = '[]'"),
        ("UPDATE users SET ip_restrictions = 'everywhere'", "UPDATE users SET ip_restrictions = ''"),
        ("UPDATE users SET otp_auth_on = 'scp'", "UPDATE users SET otp_auth_on = ''"),
        ("UPDATE users SET epoch = -1", "UPDATE users SET epoch = 1"),
    ] {
        sqlx::query(change).execute(&home.raw().await).await.unwrap();
        assert!(matches!(home.directory.find(&name("alice")).await, Err(DirectoryError::Store(_))), "{change}");
        sqlx::query(back).execute(&home.raw().await).await.unwrap();
    }
    assert!(home.directory.find(&name("alice")).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_spend_one_recovery_code_at_once_one_succeeds() {
    let home = Home::with_users(&["alice"]).await;
    let alice = name("alice");
    for round in 0..5 {
        let codes: Vec<Vec<u8>> = recovery::generate()
            .unwrap()
            .iter()
            .map(|code| recovery::digest(&home.key, &alice, code.expose()).unwrap())
            .collect();
        home.directory.replace_recovery_codes(&alice, codes.clone()).await.unwrap();
        let (start, mut racers) = (Arc::new(Barrier::new(64)), JoinSet::new());
        let other = home.opened_again().await;
        for racer in 0..64 {
            let directory = if racer % 2 == 0 { home.directory.clone() } else { other.clone() };
            let (start, alice, digest) = (start.clone(), alice.clone(), codes[3].clone());
            racers.spawn(async move {
                start.wait().await;
                directory.spend_recovery_code(&alice, &digest).await.unwrap()
            });
        }
        let spent = racers.join_all().await.into_iter().filter(|spent| *spent).count();
        assert_eq!(spent, 1, "round {round}");
        assert_eq!(home.account("alice").await.recovery_codes_left, 9);
    }
}

#[tokio::test]
async fn recovery_codes_open_their_owners_door_only_and_die_with_the_last_factor() {
    let home = Home::with_users(&["alice", "bob"]).await;
    let (directory, alice) = (&home.directory, name("alice"));
    for channel in ["totp", "webhook"] {
        directory.enrol(&alice, channel, Secret::new(vec![1])).await.unwrap();
    }
    directory.replace_recovery_codes(&alice, vec![vec![1; 32], vec![2; 32]]).await.unwrap();
    assert!(!directory.spend_recovery_code(&name("bob"), &[1; 32]).await.unwrap());

    directory.replace_recovery_codes(&alice, vec![vec![3; 32]]).await.unwrap();
    assert!(!directory.spend_recovery_code(&alice, &[1; 32]).await.unwrap(), "a replaced code must not work");
    directory.unenrol(&alice, "webhook").await.unwrap();
    assert_eq!(home.account("alice").await.recovery_codes_left, 1);
    directory.unenrol(&alice, "totp").await.unwrap();
    assert_eq!(home.account("alice").await.recovery_codes_left, 0);
}

#[tokio::test]
async fn a_password_changed_meanwhile_is_not_overwritten_by_a_rehash() {
    let home = Home::with_users(&["alice"]).await;
    let alice = name("alice");
    home.directory.set_password(&alice, Some(secret("$new"))).await.unwrap();
    home.directory.rehash_password(&alice, &secret("$old"), secret("$old-but-stronger")).await.unwrap();
    assert_eq!(home.account("alice").await.password.unwrap().expose(), "$new");
}

#[tokio::test]
async fn app_passwords_are_kept_as_digests_and_their_use_is_noted() {
    let home = Home::with_users(&["alice"]).await;
    let alice = name("alice");
    let (text, record) =
        crate::app_password::mint(&home.key, &alice, "backup job", [Protocol::Webdav].into_iter().collect(), 5)
            .unwrap();
    home.directory.add_app_password(&alice, record.clone()).await.unwrap();
    home.directory.touch_app_password(&alice, &record.id).await.unwrap();

    let kept = home.directory.app_passwords(&alice).await.unwrap();
    let found = crate::app_password::recognise(&home.key, &alice, &kept, text.expose().as_bytes()).unwrap();
    assert_eq!(
        (found.label.as_str(), found.protocols.to_string().as_str(), found.created),
        ("backup job", "webdav", 5)
    );
    assert!(found.last_used.is_some());
    let nowhere = AppPassword { id: "n".into(), protocols: ProtocolSet::NONE, ..record };
    assert!(matches!(home.directory.add_app_password(&alice, nowhere).await, Err(DirectoryError::Invalid(_))));
}

#[tokio::test]
async fn the_oldest_of_too_many_addresses_is_forgotten() {
    let home = Home::with_users(&["alice"]).await;
    let alice = name("alice");
    for n in 0..40 {
        home.directory.remember_address(&alice, &format!("10.0.0.{n}")).await.unwrap();
        sqlx::query("UPDATE known_addresses SET seen = seen - 7200000").execute(&home.raw().await).await.unwrap();
    }
    assert!(home.directory.knows_address(&alice, "10.0.0.39").await.unwrap());
    assert!(!home.directory.knows_address(&alice, "10.0.0.0").await.unwrap());
    let kept: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM known_addresses").fetch_one(&home.raw().await).await.unwrap();
    assert_eq!(kept, KNOWN_ADDRESSES);
}

#[tokio::test]
async fn a_user_cannot_pile_up_keys_without_end() {
    let home = Home::with_users(&["alice"]).await;
    for n in 0..MAX_PARTS {
        home.directory.add_key(&name("alice"), key(&format!("SHA256:{n}"))).await.unwrap();
    }
    assert!(matches!(
        home.directory.add_key(&name("alice"), key("SHA256:more")).await,
        Err(DirectoryError::Invalid(_))
    ));
    home.directory.add_key(&name("alice"), key("SHA256:1")).await.unwrap();
    assert_eq!(home.account("alice").await.keys.len(), MAX_PARTS);
}

#[tokio::test]
async fn users_with_a_flag_or_an_enrolment_are_counted_once() {
    let home = Home::with_users(&["none", "off", "flag", "protocol", "enrolled", "both"]).await;
    let change = |user: &'static str, change| {
        let directory = home.directory.clone();
        async move { directory.update(&name(user), change).await.unwrap() }
    };
    change(
        "off",
        AccountChange { otp_auth_by_protocol: [(Protocol::Ftp, Some(false))].into(), ..AccountChange::default() },
    )
    .await;
    change("flag", AccountChange { otp_auth: Some(true), ..AccountChange::default() }).await;
    change("both", AccountChange { otp_auth: Some(true), ..AccountChange::default() }).await;
    change(
        "protocol",
        AccountChange { otp_auth_by_protocol: [(Protocol::Ftp, Some(true))].into(), ..AccountChange::default() },
    )
    .await;
    for user in ["enrolled", "both"] {
        home.directory.enrol(&name(user), "totp", Secret::new(vec![1])).await.unwrap();
    }
    assert_eq!(home.directory.second_factor_users().await.unwrap(), 4);
}
