//! What a plugin cannot do, and what it cannot leave behind.

use super::*;

/// Waits until a process has ended. What nobody waits for stays listed as a zombie, and has ended all the same.
async fn ended(pid: &str) {
    let stat = format!("/proc/{pid}/stat");
    let runs = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    let gone = async {
        while runs() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("the process has ended");
}

#[tokio::test]
async fn a_worker_has_no_rights_no_descriptors_and_no_environment_to_speak_of() {
    let house = House::misbehaving(&[]);
    // One that a child would inherit.
    let inherited = rustix::io::dup(fs::File::open("/dev/null").unwrap()).unwrap();
    let host = house.start(&["misbehaving"]).await;
    let sandbox = report(&host).sandbox;

    let rights = begin(&only(&host), "rights").await.unwrap();

    drop(inherited);
    // What it needs to reach a gateway is there: the resolver's files, and the TLS roots where the system has them.
    let common = "privileges=1 dumpable=0 core=0 path=0 stdin=0 sockets=2 names=1 roots=1";
    assert!(rights.starts_with(common), "{rights}");
    if sandbox != "none" {
        assert!(rights.contains("read=0 write=0"), "{rights}");
    }
}

#[tokio::test]
async fn what_a_plugin_forks_ends_with_its_worker() {
    let house = House::misbehaving(&[]);
    let host = house.start(&["misbehaving"]).await;
    let factor = only(&host);
    let group = begin(&factor, "who").await.unwrap();

    assert!(begin(&factor, "fork").await.is_err());

    let group = rustix::process::Pid::from_raw(group.parse().unwrap()).unwrap();
    let gone = async {
        while rustix::process::test_kill_process_group(group).is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("the process group is gone");
}

#[tokio::test]
async fn a_process_that_wants_a_session_of_its_own_stays_in_the_group_and_ends_with_it() {
    let house = House::misbehaving(&[]);
    let host = house.start(&["misbehaving"]).await;
    let factor = only(&host);
    let worker = begin(&factor, "who").await.unwrap();
    let forked = begin(&factor, "escape").await.unwrap();
    // Number, name, state, parent, group.
    let stat = fs::read_to_string(format!("/proc/{forked}/stat")).unwrap();
    assert_eq!(stat.split(' ').nth(4), Some(worker.as_str()), "{stat}");

    assert!(begin(&factor, "hang").await.is_err());

    ended(&worker).await;
    ended(&forked).await;
}

#[tokio::test]
async fn what_a_plugin_forks_ends_even_where_it_leaves_by_itself_when_it_is_closed() {
    let house = House::misbehaving(&["-DCLOSE=leave"]);
    let host = house.start(&["misbehaving"]).await;
    let factor = only(&host);
    let forked = begin(&factor, "escape").await.unwrap();

    drop((host, factor));

    ended(&forked).await;
}

#[tokio::test]
async fn a_plugin_reads_the_homes_plugin_folder_and_nothing_of_where_it_lies_otherwise() {
    let house = House::misbehaving(&[]);
    let plugins = house.home.path().join("plugins");
    fs::write(plugins.join("own"), "").unwrap();
    fs::write(house.home.path().join("prefs.xml"), "").unwrap();
    let bin = house.home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::set_permissions(&bin, Permissions::from_mode(0o755)).unwrap();
    fs::write(bin.join("secret"), "").unwrap();
    let host = house.start(&["misbehaving"]).await;
    let confined = report(&host).sandbox != "none";
    let read = async |factor: &Arc<dyn Factor>, path: PathBuf| {
        begin(factor, &format!("read {}", path.display())).await.unwrap() == "read"
    };

    let factor = only(&host);
    assert!(read(&factor, plugins.join("own")).await);
    assert_eq!(read(&factor, house.home.path().join("prefs.xml")).await, !confined);

    fs::rename(house.file("misbehaving"), bin.join("lockgate_misbehaving.so")).unwrap();
    let beside = house.start(&["misbehaving"]).await;
    let factor = only(&beside);
    for kept in [bin.join("secret"), plugins.join("own")] {
        assert_eq!(read(&factor, kept.clone()).await, !confined, "{}", kept.display());
    }
}
