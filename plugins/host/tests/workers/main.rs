//! The host against plugins that misbehave in every way there is a word for, and against the two examples.
//!
//! The worker is this very test program: started again with the name of one test, which finds out that it is meant to be a
//! worker and becomes one.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail loudly")]

mod confinement;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockgate_access::{ChannelName, Factor, FactorError, FactorKind, FactorOrigin, FactorUser, Verdict};
use lockgate_model::{Protocol, Secret, UserName};
use lockgate_plugins::{
    Deadlines, PluginHost, PluginReport, PluginSettings, PluginSpec, PluginState, Role, SearchPath, Standing,
    WorkerCommand,
};

const WORKER: &str = "becomes_a_worker_where_it_is_started_as_one";

#[test]
fn becomes_a_worker_where_it_is_started_as_one() {
    if std::env::var_os("LOCKGATE_TEST_WORKER").is_some() {
        let file = PathBuf::from(std::env::args_os().next_back().unwrap());
        lockgate_plugins::worker::run(&file);
    }
}

/// A home whose plugin folder holds what a test puts there.
struct House {
    home: tempfile::TempDir,
    settings: PluginSettings,
}

impl House {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let plugins = home.path().join("plugins");
        fs::create_dir(&plugins).unwrap();
        for folder in [home.path(), &plugins] {
            fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        }
        let worker = WorkerCommand::new("/proc/self/exe")
            .variable("LOCKGATE_TEST_WORKER", "1")
            .argument("--test-threads=1")
            .argument("--exact")
            .argument(WORKER);
        let settings = PluginSettings {
            search: SearchPath::new(home.path()).beside(home.path().join("bin")),
            worker,
            deadlines: Deadlines { call: Duration::from_millis(700), ..Deadlines::default() },
            ..PluginSettings::new(home.path())
        };
        Self { home, settings }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(format!("plugins/lockgate_{name}.so"))
    }

    /// Puts a shared object there under a plugin's name.
    fn install(&self, name: &str, object: &Path) {
        let file = self.file(name);
        fs::copy(object, &file).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    }

    /// Puts the misbehaving plugin there, compiled with these definitions.
    fn misbehaving(definitions: &[&str]) -> Self {
        let house = Self::new();
        house.install("misbehaving", &compiled("tests/plugins/misbehaving.c", definitions));
        house
    }

    async fn start(&self, plugins: &[&str]) -> PluginHost {
        let specs: Vec<PluginSpec> = plugins.iter().map(|plugin| spec(plugin)).collect();
        PluginHost::start(self.settings.clone(), &specs).await
    }
}

fn spec(plugin: &str) -> PluginSpec {
    PluginSpec { channel: plugin.to_owned(), plugin: plugin.to_owned(), file: None, sha256: None, settings: Vec::new() }
}

/// Compiles a C file of this crate into a shared object of its own.
fn compiled(source: &str, definitions: &[&str]) -> tempfile::TempPath {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = tempfile::Builder::new().suffix(".so").tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = Command::new("cc")
        .args(["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden"])
        .args(["-Wno-unused-function", "-pthread"])
        .arg("-I")
        .arg(here.join("../sdk"))
        .args(definitions)
        .arg("-o")
        .arg(built.path())
        .arg(here.join(source))
        .output()
        .expect("a C compiler named cc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    built.into_temp_path()
}

fn alice() -> FactorUser {
    FactorUser {
        name: UserName::new("alice").unwrap(),
        email: Some("alice@example.net".to_owned()),
        phone: None,
        texts: BTreeMap::new(),
        flagged: true,
        secret: None,
    }
}

fn origin() -> FactorOrigin {
    FactorOrigin { protocol: Protocol::Sftp, address: [192, 0, 2, 1].into() }
}

/// Begins with a word for the plugin: its prompt, or what went wrong.
async fn begin(factor: &Arc<dyn Factor>, word: &str) -> Result<String, FactorError> {
    let prompt = factor.begin(&alice(), &origin(), Some(&Secret::new(word.to_owned()))).await?;
    Ok(prompt.text.unwrap_or_default())
}

async fn verify(factor: &Arc<dyn Factor>, word: &str) -> Result<Verdict, FactorError> {
    factor.verify(&alice(), &origin(), b"", &Secret::new(word.to_owned())).await
}

fn only(host: &PluginHost) -> Arc<dyn Factor> {
    let mut factors = host.factors();
    assert_eq!(factors.len(), 1);
    factors.remove(0)
}

fn report(host: &PluginHost) -> PluginReport {
    host.reports().remove(0)
}

#[tokio::test]
async fn a_description_is_read_at_the_start_and_no_worker_stays() {
    let house = House::misbehaving(&[]);

    let host = house.start(&["misbehaving"]).await;

    let report = report(&host);
    assert_eq!((report.state, report.version.as_str()), (PluginState::Ready, "1"));
    assert_eq!(report.roles, [Role::Delivers, Role::Verifies]);
    assert_eq!(only(&host).kind(), FactorKind::Verifies);
    assert!(["full", "partial", "none"].contains(&report.sandbox.as_str()));
    assert_eq!(report.calls, 0);
}

#[tokio::test]
async fn a_plugin_that_hangs_is_ended_at_its_deadline_and_the_next_call_works() {
    let house = House::misbehaving(&[]);
    let host = house.start(&["misbehaving"]).await;
    let factor = only(&host);
    let before = begin(&factor, "who").await.unwrap();

    let started = Instant::now();
    let hung = begin(&factor, "hang").await;

    assert!(matches!(hung, Err(FactorError::Late(_))), "{hung:?}");
    assert!(started.elapsed() < Duration::from_secs(2));
    let after = begin(&factor, "who").await.unwrap();
    assert_ne!(before, after);
    assert_eq!(report(&host).failures, 1);
    assert!(report(&host).last_error.unwrap().contains("700 ms"));
    assert!(!Path::new(&format!("/proc/{before}")).exists(), "the worker that hung is gone");
}

#[tokio::test]
async fn a_plugin_that_crashes_exits_or_talks_garbage_costs_its_worker_and_no_more() {
    for word in ["crash", "abort", "exit", "garbage", "giant", "forged"] {
        let house = House::misbehaving(&[]);
        let host = house.start(&["misbehaving"]).await;
        let factor = only(&host);

        let failed = begin(&factor, word).await;

        assert!(matches!(failed, Err(FactorError::Unavailable(_))), "{word}: {failed:?}");
        assert_eq!(begin(&factor, "ok").await.unwrap(), "fine", "{word}");
        assert_eq!(report(&host).failures, 1, "{word}");
        let judged = verify(&factor, word).await;
        assert!(judged.is_err(), "{word}: {judged:?}");
    }
}

#[tokio::test]
async fn only_the_one_defined_success_counts() {
    let house = House::misbehaving(&[]);
    let host = house.start(&["misbehaving"]).await;
    let factor = only(&host);

    for word in ["status", "minus", "zero", "away", "ok", "no such"] {
        let judged = verify(&factor, word).await;
        assert!(judged.is_err(), "{word}: {judged:?}");
    }
    assert_eq!(verify(&factor, "no").await.unwrap(), Verdict::Wrong);
    assert_eq!(verify(&factor, "later").await.unwrap(), Verdict::Later);
    let used = ["step:100", "step:99", "step:98"].map(str::to_owned).to_vec();
    assert_eq!(verify(&factor, "step").await.unwrap(), Verdict::Right { used });
    for word in ["no", "later", "binary"] {
        assert!(begin(&factor, word).await.is_err(), "{word}");
    }
    assert!(verify(&factor, "ok").await.unwrap_err().to_string().contains("used up"));
}

#[tokio::test]
async fn after_failures_in_a_row_the_worker_rests_and_calls_are_turned_away_at_once() {
    let house = House::misbehaving(&[]);
    let host = house.start(&["misbehaving"]).await;
    let factor = only(&host);

    for _ in 0..2 {
        assert!(begin(&factor, "crash").await.is_err());
    }

    let turned_away = begin(&factor, "ok").await;
    assert!(matches!(turned_away, Err(FactorError::Unavailable(_))));
    let PluginState::Resting { again } = report(&host).state else { panic!("{:?}", report(&host).state) };
    tokio::time::sleep(again).await;
    assert_eq!(begin(&factor, "ok").await.unwrap(), "fine");
}

#[tokio::test]
async fn values_too_large_and_memory_without_end_are_refused_inside_the_worker() {
    let mut house = House::misbehaving(&[]);
    house.settings.deadlines.call = Duration::from_secs(5);
    let host = house.start(&["misbehaving"]).await;
    let factor = only(&host);

    assert_eq!(begin(&factor, "huge").await.unwrap(), "one=0 bounded=1");
    assert_eq!(begin(&factor, "memory").await.unwrap(), "bounded");
}

#[tokio::test]
async fn a_plugin_that_comes_back_with_other_roles_or_flags_is_refused_until_a_restart() {
    for changed in ["-DROLES=LOCKGATE_DELIVERS", "-DFLAGS=LOCKGATE_SINGLE_THREADED"] {
        let house = House::misbehaving(&[]);
        let host = house.start(&["misbehaving"]).await;
        let factor = only(&host);
        assert_eq!(begin(&factor, "ok").await.unwrap(), "fine");

        fs::remove_file(house.file("misbehaving")).unwrap();
        house.install("misbehaving", &compiled("tests/plugins/misbehaving.c", &[changed]));
        assert!(begin(&factor, "crash").await.is_err());

        assert!(begin(&factor, "ok").await.is_err(), "{changed}");
        let report = report(&host);
        assert!(report.last_error.as_deref().unwrap().contains("changed since"), "{:?}", report.last_error);
        assert_eq!(factor.kind(), FactorKind::Verifies, "{changed}");
        let restarted = house.start(&["misbehaving"]).await;
        assert_eq!(begin(&only(&restarted), "ok").await.unwrap(), "fine", "{changed}");
    }
}

#[tokio::test]
async fn a_file_of_another_name_is_loaded_from_the_homes_folder_where_the_preferences_name_it() {
    let house = House::misbehaving(&[]);
    fs::rename(house.file("misbehaving"), house.home.path().join("plugins/mine.so")).unwrap();
    let named = |file: &str| PluginSpec { file: Some(file.to_owned()), ..spec("misbehaving") };

    let host = PluginHost::start(house.settings.clone(), &[named("mine.so")]).await;
    assert_eq!(begin(&only(&host), "ok").await.unwrap(), "fine");

    let host = PluginHost::start(house.settings.clone(), &[named("../plugins/mine.so")]).await;
    assert_eq!(report(&host).state, PluginState::Broken);
    assert!(begin(&only(&host), "ok").await.is_err());
}

#[tokio::test]
async fn a_code_does_not_come_back_in_an_error_or_a_report() {
    let house = House::misbehaving(&[]);
    let host = house.start(&["misbehaving"]).await;

    let failed = begin(&only(&host), "tell 482913").await.unwrap_err().to_string();

    let kept = report(&host).last_error.unwrap();
    assert!(failed.contains("the code is ***") && kept.contains("the code is ***"), "{failed} {kept}");
    assert!(!failed.contains("482913") && !kept.contains("482913"));
}

async fn at_once(factor: &Arc<dyn Factor>, calls: usize) -> usize {
    let calls: Vec<_> = (0..calls)
        .map(|_| {
            let factor = Arc::clone(factor);
            tokio::spawn(async move { begin(&factor, "together").await.unwrap().parse::<usize>().unwrap() })
        })
        .collect();
    let mut most = 0;
    for call in calls {
        most = most.max(call.await.unwrap());
    }
    most
}

#[tokio::test]
async fn calls_run_side_by_side_up_to_the_limit_and_one_by_one_where_the_plugin_says_so() {
    let mut house = House::misbehaving(&[]);
    house.settings.max_calls = 4;
    let host = house.start(&["misbehaving"]).await;
    assert_eq!(at_once(&only(&host), 10).await, 4);

    let house = House::misbehaving(&["-DFLAGS=LOCKGATE_SINGLE_THREADED"]);
    let host = house.start(&["misbehaving"]).await;
    assert!(report(&host).single_threaded);
    assert_eq!(at_once(&only(&host), 3).await, 1);
}

#[tokio::test]
async fn a_plugin_that_waits_for_a_person_has_more_time_for_that_alone() {
    let mut house = House::misbehaving(&["-DFLAGS=LOCKGATE_WAITS_FOR_PERSON"]);
    house.settings.deadlines.person = Duration::from_millis(1500);
    let host = house.start(&["misbehaving"]).await;

    let started = Instant::now();
    let hung = verify(&only(&host), "hang").await;

    assert!(matches!(hung, Err(FactorError::Late(_))));
    assert!(started.elapsed() >= Duration::from_millis(1500) && started.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_line_in_order() {
    let house = House::misbehaving(&[]);
    let host = house.start(&["misbehaving"]).await;
    let factor = only(&host);
    assert_eq!(begin(&factor, "ok").await.unwrap(), "fine");

    let given_up = tokio::time::timeout(Duration::from_millis(50), begin(&factor, "together")).await;

    assert!(given_up.is_err());
    assert_eq!(begin(&factor, "ok").await.unwrap(), "fine");
    assert_eq!(report(&host).failures, 0);
}

#[tokio::test]
async fn another_abi_another_size_or_another_name_is_refused_with_the_reason() {
    for (definition, reason) in [
        ("-DABI=2", "ABI 2, this Lockgate speaks ABI 1"),
        ("-DSIZE=16", "16 bytes"),
        ("-DSIZE=4294967295", "4294967295 bytes"),
        ("-DNAME=\"other\"", "calls itself \"other\""),
        ("-DNAME=\"../other\"", "name"),
        ("-DNOTHING", "lockgate_plugin_v1"),
    ] {
        let house = House::misbehaving(&[definition]);

        let host = house.start(&["misbehaving"]).await;

        let report = report(&host);
        assert_eq!(report.state, PluginState::Broken, "{definition}");
        assert!(report.last_error.as_deref().unwrap().contains(reason), "{definition}: {:?}", report.last_error);
        assert!(begin(&only(&host), "ok").await.is_err(), "{definition}");
    }
}

#[tokio::test]
async fn a_table_that_grew_at_its_end_is_loaded() {
    let house = House::misbehaving(&["-DSIZE=4096"]);

    let host = house.start(&["misbehaving"]).await;

    assert_eq!(begin(&only(&host), "ok").await.unwrap(), "fine");
}

#[tokio::test]
async fn a_file_that_is_missing_cut_or_open_to_others_is_not_loaded_and_is_once_it_is_mended() {
    let house = House::misbehaving(&[]);
    let file = house.file("misbehaving");
    let whole = fs::read(&file).unwrap();

    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    let host = house.start(&["misbehaving"]).await;
    assert!(report(&host).last_error.unwrap().contains("others can write"));
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    assert_eq!(begin(&only(&host), "ok").await.unwrap(), "fine");

    fs::write(&file, whole.get(..2000).unwrap()).unwrap();
    let host = house.start(&["misbehaving"]).await;
    assert!(report(&host).last_error.unwrap().contains("cannot be loaded"));

    fs::remove_file(&file).unwrap();
    let host = house.start(&["misbehaving"]).await;
    assert!(report(&host).last_error.unwrap().contains("lockgate_misbehaving.so"));
    assert!(begin(&only(&host), "ok").await.is_err());
}

#[tokio::test]
async fn a_file_that_is_not_the_pinned_one_is_not_loaded() {
    let house = House::misbehaving(&[]);
    let pinned = PluginSpec { sha256: Some("0".repeat(64)), ..spec("misbehaving") };

    let host = PluginHost::start(house.settings.clone(), &[pinned]).await;

    assert!(report(&host).last_error.unwrap().contains("sha256"));
    assert!(begin(&only(&host), "ok").await.is_err());
}

#[tokio::test]
async fn a_plugin_that_does_not_take_its_settings_or_hangs_over_them_cannot_serve() {
    for (word, reason) in [("tell me", "settings: the code is"), ("hang", "500 ms"), ("crash", "ended unexpectedly")] {
        let mut house = House::misbehaving(&[]);
        house.settings.deadlines.start = Duration::from_millis(500);
        let settings = vec![("open".to_owned(), Secret::new(word.to_owned()))];

        let host = PluginHost::start(house.settings.clone(), &[PluginSpec { settings, ..spec("misbehaving") }]).await;

        let report = report(&host);
        assert!(report.last_error.as_deref().unwrap().contains(reason), "{word}: {:?}", report.last_error);
        assert!(begin(&only(&host), "ok").await.is_err(), "{word}");
    }
}

#[tokio::test]
async fn one_plugin_that_hangs_does_not_hold_up_another() {
    let mut house = House::misbehaving(&[]);
    house.settings.deadlines.call = Duration::from_secs(4);
    house.install("every-part", &beside("examples/libevery_part.so"));
    let host = house.start(&["misbehaving", "every-part"]).await;
    let [bad, good] = host.factors().try_into().ok().unwrap();

    let hung = tokio::spawn(async move { begin(&bad, "hang").await });
    assert_eq!(begin(&good, "ok").await.unwrap(), "fine");

    assert!(!hung.is_finished());
    assert!(hung.await.unwrap().is_err());
}

#[tokio::test]
async fn a_panic_is_an_error_of_that_call_alone_and_its_words_stay_inside() {
    let house = House::new();
    house.install("every-part", &beside("examples/libevery_part.so"));
    let host = house.start(&["every-part"]).await;
    let factor = only(&host);
    assert_eq!(factor.kind(), FactorKind::Delivers);
    assert_eq!(begin(&factor, "ok").await.unwrap(), "fine");

    let failed = begin(&factor, "482913").await.unwrap_err().to_string();

    assert!(failed.contains("panicked") && !failed.contains("482913"), "{failed}");
    assert_eq!(begin(&factor, "ok").await.unwrap(), "fine");
    assert_eq!(report(&host).state, PluginState::Running);
}

#[tokio::test]
async fn a_directory_says_right_wrong_or_unknown_and_anything_else_is_an_error() {
    let house = House::new();
    house.install("every-part", &beside("examples/libevery_part.so"));
    let host = house.start(&["every-part"]).await;
    let directory = host.directories().remove(0);
    let ask = async |name: &str, password: &str| {
        directory.check_password(name, &Secret::new(password.to_owned()), &origin()).await
    };

    let properties = BTreeMap::from([("email".to_owned(), "alice@example.net".to_owned())]);
    assert_eq!(ask("alice", "right").await.unwrap(), Standing::Right(properties));
    assert_eq!(ask("alice", "wrong").await.unwrap(), Standing::Wrong);
    assert_eq!(ask("bob", "right").await.unwrap(), Standing::Unknown);
    assert!(ask("alice", "away").await.is_err());
    assert_eq!(ask("alice", "").await.unwrap(), Standing::Wrong);
    // Larger than the border takes: refused before the worker sees it.
    assert!(ask("alice", &"x".repeat(70_000)).await.is_err());
    assert_eq!(report(&host).state, PluginState::Running);
}

#[tokio::test]
async fn events_are_told_to_the_plugins_that_want_them() {
    let mut house = House::misbehaving(&[]);
    // One call at a time, so that the event is there before the question after it.
    house.settings.max_calls = 1;
    house.install("every-part", &beside("examples/libevery_part.so"));
    let host = house.start(&["misbehaving", "every-part"]).await;

    host.tell(r#"{"event":"login"}"#);

    let [_, factor] = host.factors().try_into().ok().unwrap();
    assert_eq!(begin(&factor, "last event").await.unwrap(), r#"{"event":"login"}"#);
    assert_eq!(report(&host).calls, 0);
}

#[tokio::test]
async fn workers_end_when_nobody_holds_the_plugin_any_more() {
    let house = House::misbehaving(&[]);
    let host = house.start(&["misbehaving"]).await;
    let factor = only(&host);
    let worker = PathBuf::from(format!("/proc/{}", begin(&factor, "who").await.unwrap()));
    assert!(worker.exists());

    drop((host, factor));

    let gone = async {
        while worker.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("the worker is gone");
}

#[tokio::test]
async fn checking_a_file_says_what_it_is_without_putting_it_to_use() {
    let house = House::misbehaving(&[]);

    let report = PluginHost::check(&house.settings, house.file("misbehaving")).await.unwrap();

    assert_eq!((report.plugin.as_str(), report.version.as_str()), ("misbehaving", "1"));
    let refused = PluginHost::check(&house.settings, PathBuf::from("/etc/hostname")).await;
    assert!(refused.is_err());
}

/// Something that cargo built beside this test.
fn beside(path: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let file = program.parent().unwrap().parent().unwrap().join(path);
    assert!(file.exists(), "{} is built by `cargo test -p lockgate-plugins`", file.display());
    file
}

/// A web hook that takes one request: its address, and the request's body.
fn web_hook() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/codes", listener.local_addr().unwrap());
    let taken = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut length, mut line) = (0, String::new());
        while reader.read_line(&mut line).unwrap() > 2 {
            let header = line.to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        String::from_utf8(body).unwrap()
    });
    (address, taken)
}

async fn posted(house: &House, plugin: &str) -> String {
    let (url, taken) = web_hook();
    let settings = vec![("url".to_owned(), Secret::new(url))];
    let host = PluginHost::start(house.settings.clone(), &[PluginSpec { settings, ..spec(plugin) }]).await;
    let factor = only(&host);
    assert_eq!(factor.channel(), &ChannelName::new(plugin).unwrap());
    assert_eq!(factor.kind(), FactorKind::Delivers);
    assert!(factor.serves(&alice()).await.unwrap());
    assert_eq!(begin(&factor, "482913").await.unwrap(), "Code sent to your web hook");
    taken.join().unwrap()
}

#[tokio::test]
async fn the_example_in_rust_posts_the_code_to_its_web_hook() {
    let mut house = House::new();
    house.settings.deadlines = Deadlines::default();
    house.install("webhook", &beside("deps/liblockgate_webhook.so"));

    assert_eq!(posted(&house, "webhook").await, r#"{"user":"alice","code":"482913"}"#);
}

#[tokio::test]
async fn the_example_in_c_posts_the_code_to_its_web_hook() {
    let mut house = House::new();
    house.settings.deadlines = Deadlines::default();
    house.install("webhook-c", &compiled("../../examples/factor-webhook-c/webhook.c", &[]));

    assert_eq!(posted(&house, "webhook-c").await, "user=%61%6C%69%63%65&code=%34%38%32%39%31%33");
}
