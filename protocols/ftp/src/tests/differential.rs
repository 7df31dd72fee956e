//! The same sessions with us, with libunftp and with vsftpd: where they differ, a table says why.
//!
//! Sessions are made by chance from a number, so that a failure can be had again: it prints the number, and the session without
//! what it does not need. Some are part of every test run; `make differential` runs ten thousand, and then demands that each line
//! of the tables is still needed. No reply of this server may fail to come, and no difference counts as chance.

mod explained;
mod sides;
mod words;

use super::{
    house::{House, tree},
    previous,
};
use explained::{Explained, LIBUNFTP, VSFTPD, What};
use sides::{Outcome, Place, Side, Tree};
use std::{collections::BTreeMap, os::fd::OwnedFd, process::Stdio, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    process::Command,
};
use words::{Script, Step, script};

/// How many sessions.
const SESSIONS: &str = "LOCKGATE_SESSIONS";
/// The number of the first session.
const FIRST: &str = "LOCKGATE_FIRST_SESSION";
/// Whether each explained difference is told.
const TELL: &str = "LOCKGATE_TELL_DIFFERENCES";
/// With so many, from the first on, a line of a table that nothing needed is a fault.
const MANY: u64 = 10_000;

#[tokio::test]
async fn every_difference_from_libunftp_is_explained() {
    let house = House::set(|settings| settings.active_mode = true).await;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let vfs = tree(root.clone(), None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let place = Place { name: "libunftp", at, root, owner: None, alice: "alice" };
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (stream, vfs) = (stream.into_std().unwrap(), vfs.clone());
            // With a runtime for each: libunftp leaves data connections that nobody used, and their ports, behind.
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let stream = TcpStream::from_std(stream).unwrap();
                    stream.set_nodelay(true).unwrap();
                    previous::serve(stream, vfs).await;
                });
                runtime.shutdown_background();
            });
        }
    });
    compare(&house, &place, LIBUNFTP, 100).await;
    serving.abort();
}

#[tokio::test]
async fn every_difference_from_vsftpd_is_explained() {
    let program = "/usr/sbin/vsftpd";
    if !std::path::Path::new(program).exists() || !rustix::process::geteuid().is_root() {
        eprintln!("not compared with vsftpd: it must be installed (tests/setup does), and needs to be started by root");
        return;
    }
    let house = House::set(|settings| settings.active_mode = true).await;
    let folder = tempfile::tempdir().unwrap();
    let (place, serving) = vsftpd(program, folder.path()).await;
    compare(&house, &place, VSFTPD, 100).await;
    serving.abort();
}

/// `LOCKGATE_WRITE_DOCS=1 cargo test -p lockgate-ftp` writes the page anew.
#[test]
fn the_page_of_differences_is_the_one_that_the_tables_make() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ftp-differences.md");
    if std::env::var_os("LOCKGATE_WRITE_DOCS").is_some() {
        std::fs::write(path, explained::page()).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == explained::page(),
        "docs/ftp-differences.md is stale: run LOCKGATE_WRITE_DOCS=1 cargo test -p lockgate-ftp"
    );
}

/// vsftpd as inetd would start it: one process for each connection, and no port of its own.
async fn vsftpd(program: &'static str, folder: &std::path::Path) -> (Place, tokio::task::JoinHandle<()>) {
    let (root, empty, config) = (folder.join("root"), folder.join("empty"), folder.join("vsftpd.conf"));
    let words = folder.join("words");
    std::fs::create_dir(&root).unwrap();
    std::fs::create_dir(&empty).unwrap();
    std::fs::write(&words, "right\n").unwrap();
    let names = std::fs::read_to_string("/etc/passwd").unwrap();
    let owner = names.lines().find_map(|line| line.strip_prefix("ftp:")?.split(':').nth(1)?.parse().ok()).unwrap();
    // Its guest may do everything; a word from the list is the password.
    std::fs::write(
        &config,
        format!(
            "listen=NO\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nanon_root={root}\nwrite_enable=YES\n\
             anon_upload_enable=YES\nanon_mkdir_write_enable=YES\nanon_other_write_enable=YES\nanon_umask=022\n\
             anon_world_readable_only=NO\nallow_writeable_chroot=YES\nsecure_email_list_enable=YES\n\
             email_password_file={words}\nftp_username=ftp\nsecure_chroot_dir={empty}\nseccomp_sandbox=NO\nisolate=NO\n\
             isolate_network=NO\nxferlog_enable=NO\nascii_upload_enable=YES\nascii_download_enable=YES\n\
             delay_failed_login=0\nconnect_from_port_20=NO\npasv_promiscuous=NO\nls_recurse_enable=NO\n",
            root = root.display(),
            words = words.display(),
            empty = empty.display(),
        ),
    )
    .unwrap();
    std::os::unix::fs::chown(&root, Some(owner), None).unwrap();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder, everybody).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let place = Place { name: "vsftpd", at, root, owner: Some(owner), alice: "anonymous" };
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = stream.into_std().unwrap();
            stream.set_nonblocking(false).unwrap();
            stream.set_nodelay(true).unwrap();
            let stream = OwnedFd::from(stream);
            let mut child = Command::new(program)
                .arg(&config)
                .stdout(stream.try_clone().unwrap())
                .stdin(stream)
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            tokio::spawn(async move { child.wait().await });
        }
    });
    (place, serving)
}

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Difference {
    /// The line, with what makes it mean something else.
    line: String,
    what: What,
    ours: String,
    theirs: String,
}

impl Difference {
    /// The line of the table that has it.
    fn explained(&self, table: &[Explained]) -> Option<usize> {
        table.iter().position(|entry| {
            entry.what == self.what
                && (self.what != What::Replies || (entry.ours == self.ours && entry.theirs == self.theirs))
                && entry.lines.iter().any(|shape| is_meant(shape, &self.line))
        })
    }

    /// What makes it the same as another one.
    fn kind(&self) -> (What, String, String, String) {
        let verb = self.line.split(' ').next().unwrap_or_default().to_owned();
        let codes =
            if self.what == What::Replies { (self.ours.clone(), self.theirs.clone()) } else { Default::default() };
        (self.what, verb, codes.0, codes.1)
    }
}

/// Whether a shape is that of a line with what stands behind it in brackets, or without.
fn is_meant(shape: &str, line: &str) -> bool {
    fits(shape, line) || line.split_once(" (").is_some_and(|(bare, _)| fits(shape, bare))
}

/// Whether a line is of this shape: `*` is anything, `\*` a star.
fn fits(shape: &str, line: &str) -> bool {
    let mut rest = shape.chars();
    match rest.next() {
        None => line.is_empty(),
        Some('*') => {
            line.char_indices().any(|(place, _)| fits(rest.as_str(), &line[place..])) || fits(rest.as_str(), "")
        }
        Some('\\') => fits_one(rest.next(), rest.as_str(), line),
        wanted => fits_one(wanted, rest.as_str(), line),
    }
}

fn fits_one(wanted: Option<char>, rest: &str, line: &str) -> bool {
    let mut chars = line.chars();
    wanted.is_some() && chars.next() == wanted && fits(rest, chars.as_str())
}

#[test]
fn a_shape_of_lines_fits_what_it_says_and_no_more() {
    for (shape, line, fitting) in [
        ("LIST *", "LIST a", true),
        ("LIST *", "LIST", false),
        ("LIST \\*", "LIST *", true),
        ("LIST \\*", "LIST a", false),
        ("50*", "501", true),
        ("50*", "501 closed", true),
        ("* d/..* (REST)", "RETR d/../a (REST)", true),
        ("* d/..*", "RETR d/.", false),
        ("", "a", false),
    ] {
        assert_eq!(fits(shape, line), fitting, "{shape} {line}");
    }
}

async fn compare(house: &House, theirs: &Place, table: &[Explained], few: u64) {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let (first, count) = (number(FIRST).unwrap_or(0), number(SESSIONS).unwrap_or(few));
    let ours = Place { name: "this server", at: house.at, root: house.root(), owner: None, alice: "alice" };
    let mut met = Met::default();
    let mut unexplained = BTreeMap::new();
    let mut steps = 0;
    for seed in first..first + count {
        let script = script(seed);
        let _told = OnPanic(seed, &script);
        ports_are_free().await;
        steps += script.steps.len();
        for difference in play(&ours, theirs, table, &script, &mut met).await {
            unexplained.entry(difference.kind()).or_insert((seed, script.clone(), difference));
        }
    }
    eprintln!(
        "{count} sessions from {first} on, {steps} steps, {} of {} known differences met",
        met.0.len(),
        table.len()
    );
    met.tell(table);
    for (seed, _, difference) in unexplained.values() {
        eprintln!("session {seed}: {difference:?}");
    }
    for (_, (seed, script, difference)) in unexplained.iter().take(MOST_SHOWN) {
        let _told = OnPanic(*seed, script);
        let script = shrunk(&ours, theirs, table, script.clone(), difference).await;
        eprintln!("session {seed}, as far as it matters (logged in: {}), for {difference:?}:", script.logs_in);
        for step in &script.steps {
            eprintln!("    {}", told(step));
        }
    }
    assert!(unexplained.is_empty(), "{} kinds of differences are not explained: see above", unexplained.len());
    let unused = met.unused(table);
    for (shape, Explained { ours, theirs, why, .. }) in &unused {
        eprintln!("not met: {shape} {ours} {theirs} ({why})");
    }
    assert!(
        first > 0 || count < MANY || unused.is_empty(),
        "{} shapes in the table are no difference any more",
        unused.len()
    );
}

/// Connections that were closed keep their ports for a minute, and where they keep most of the system's, none is left to call
/// a client from.
async fn ports_are_free() {
    let kept = || {
        let sockets = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        let mut words = sockets.split_whitespace().skip_while(|word| *word != "tw").skip(1);
        words.next().and_then(|number| number.parse::<u32>().ok()).unwrap_or_default()
    };
    while kept() > MOST_KEPT {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Two thirds of the 28,000 ports that Linux has for it.
const MOST_KEPT: u32 = 18_000;

/// The differences that have a line in the table, by its place there: what was said and came of it, and how often.
#[derive(Default)]
struct Met(BTreeMap<usize, BTreeMap<(String, String), u64>>);

impl Met {
    fn note(&mut self, row: usize, difference: &Difference) {
        let Difference { line, what, ours, theirs } = difference;
        let codes = if *what == What::Replies { format!("{ours} | {theirs}") } else { format!("{what:?}") };
        *self.0.entry(row).or_default().entry((line.clone(), codes)).or_default() += 1;
    }

    /// The shapes of lines that nothing needed, with their rows.
    fn unused<'a>(&self, table: &'a [Explained]) -> Vec<(&'static str, &'a Explained)> {
        let seen = |row, shape| self.0.get(&row).is_some_and(|seen| seen.keys().any(|(line, _)| is_meant(shape, line)));
        let shapes = |(row, entry): (usize, &'a Explained)| {
            let unused = entry.lines.iter().filter(move |shape| !seen(row, shape));
            unused.map(move |shape| (*shape, entry))
        };
        table.iter().enumerate().filter(|(_, entry)| !entry.rare).flat_map(shapes).collect()
    }

    /// How many of which kind; where [`TELL`] is set also each, to see what a row of the table is wider than.
    fn tell(&self, table: &[Explained]) {
        let mut kinds = BTreeMap::<What, u64>::new();
        for (row, seen) in &self.0 {
            *kinds.entry(table[*row].what).or_default() += seen.values().sum::<u64>();
        }
        eprintln!("explained: {kinds:?}");
        if std::env::var_os(TELL).is_some() {
            for (row, seen) in &self.0 {
                eprintln!("row {:?} {} {}", table[*row].lines, table[*row].ours, table[*row].theirs);
                seen.iter().for_each(|((line, codes), often)| eprintln!("    {often} times {line}: {codes}"));
            }
        }
    }
}

/// Says which session it was where one ends the test, as one does in which nobody answers at all.
struct OnPanic<'a>(u64, &'a Script);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in session {} (logged in: {}):", self.0, self.1.logs_in);
            self.1.steps.iter().for_each(|step| eprintln!("    {}", told(step)));
        }
    }
}

/// Differences that are shown with their sessions.
const MOST_SHOWN: usize = 10;

fn told(step: &Step) -> String {
    match step {
        Step::Say(line) => format!("say  {line}"),
        Step::Get(way, line) => format!("get  {line} ({way:?})"),
        Step::Put(way, line, bytes) => format!("put  {line} ({way:?}, {} bytes)", bytes.len()),
    }
}

/// Leaves out what the difference does not need.
async fn shrunk(ours: &Place, theirs: &Place, table: &[Explained], mut script: Script, wanted: &Difference) -> Script {
    let mut place = script.steps.len();
    while place > 0 {
        place -= 1;
        let mut shorter = script.clone();
        shorter.steps.remove(place);
        let found = play(ours, theirs, table, &shorter, &mut Met::default()).await;
        if found.iter().any(|found| found.kind() == wanted.kind()) {
            script = shorter;
            place = place.min(script.steps.len());
        }
    }
    script
}

/// Holds the session with both; the differences that no table has.
async fn play(ours: &Place, theirs: &Place, table: &[Explained], script: &Script, met: &mut Met) -> Vec<Difference> {
    let furnish = || {
        ours.furnish();
        theirs.furnish();
        ours.tree()
    };
    let mut known = furnish();
    let (mut here, mut there) = tokio::join!(Side::new(ours, script.logs_in), Side::new(theirs, script.logs_in));
    let (mut setting, mut unexplained) = (Setting::default(), Vec::new());
    for step in &script.steps {
        let mut apart = false;
        let mut differences = Vec::new();
        if setting.agreed && Setting::is_alone(step) {
            // Servers differ in what they do with an agreed connection that nobody comes to, and all of them wait.
            continue;
        }
        let mut line = setting.line(step);
        let (one, other) = match step {
            Step::Say(line) => tokio::join!(here.speak(line), there.speak(line)),
            Step::Get(way, _) | Step::Put(way, ..) => {
                let bytes = if let Step::Put(_, _, bytes) = step { Some(bytes.as_slice()) } else { None };
                let ((one, one_link), (other, other_link)) = tokio::join!(here.agree(*way), there.agree(*way));
                if let (Some(one), Some(other)) = (one_link, other_link) {
                    let line = step.line();
                    tokio::join!(here.transfer(one, line, bytes), there.transfer(other, line, bytes))
                } else {
                    // Without a data connection on both sides there is nothing to compare.
                    way.verb().clone_into(&mut line);
                    (one, other)
                }
            }
        };
        setting.note(step, &line, [&one, &other]);
        differences.extend(between(&line, &one, &other));
        differences.extend(folders(step, line, &mut known, ours, theirs));
        for difference in differences {
            // What a reply that was explained did to the folder is explained with it.
            if apart && difference.what == What::Files {
                continue;
            }
            let entry = difference.explained(table);
            apart |= entry.is_none_or(|entry| table[entry].apart);
            match entry {
                Some(entry) => met.note(entry, &difference),
                None => unexplained.push(difference),
            }
        }
        if apart {
            known = furnish();
        }
        if apart || here.is_closed() || there.is_closed() {
            tokio::join!(here.again(script.logs_in), there.again(script.logs_in));
            setting = Setting::default();
        }
    }
    unexplained
}

/// What earlier commands made of a later one.
#[derive(Default)]
struct Setting {
    text: bool,
    restart: Restart,
    /// One of the two may wait for a data connection.
    agreed: bool,
}

/// An offset that was said.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Restart {
    #[default]
    None,
    /// For the next transfer.
    Due,
    /// The transfer that it was for was none that has an offset.
    Before,
}

impl Setting {
    fn line(&self, step: &Step) -> String {
        let line = step.line();
        let (moves, asks) = (!matches!(step, Step::Say(_)), line.starts_with("SIZE") || line.starts_with("REST"));
        let text = if self.text && (moves || asks) { " (TYPE A)" } else { "" };
        let restart = match self.restart {
            Restart::Due if moves => " (REST)",
            Restart::Before if moves => " (REST BEFORE)",
            _ => "",
        };
        format!("{line}{text}{restart}{}", if Self::is_alone(step) { " (NO DATA)" } else { "" })
    }

    /// Whether it wants to move data, and no connection is made for it.
    fn is_alone(step: &Step) -> bool {
        matches!(step, Step::Say(line) if ["RETR", "STOR", "LIST"].iter().any(|verb| line.starts_with(verb)))
    }

    fn note(&mut self, step: &Step, line: &str, outcomes: [&Outcome; 2]) {
        let [ours, _] = outcomes;
        let agrees = |outcome: &&Outcome| {
            ["PASV", "EPSV", "PORT", "EPRT"].iter().any(|verb| line.starts_with(verb)) && outcome.codes.starts_with('2')
        };
        if !matches!(step, Step::Say(_)) {
            self.agreed = outcomes.iter().any(|outcome| outcome.codes != "150 226");
        } else if outcomes.iter().any(agrees) {
            self.agreed = true;
        }
        let line = line.to_ascii_uppercase();
        let is = |verbs: &[&str]| verbs.iter().any(|verb| line.starts_with(verb));
        if is(&["TYPE"]) && ours.codes == "200" {
            self.text = is(&["TYPE A"]);
        } else if is(&["REST"]) && ours.codes == "350" {
            self.restart = if is(&["REST 0"]) { Restart::None } else { Restart::Due };
        } else if is(&["RETR", "STOR"]) && ours.codes == "150 226"
            || is(&["REST", "RETR"]) && ours.codes.starts_with("501")
        {
            self.restart = Restart::None;
        } else if is(&["RETR", "STOR", "APPE", "STOU", "LIST", "NLST", "MLSD"]) && self.restart == Restart::Due {
            self.restart = Restart::Before;
        }
    }
}

/// What is different in what they said.
fn between(line: &str, ours: &Outcome, theirs: &Outcome) -> Option<Difference> {
    let data = |outcome: &Outcome| outcome.data.as_ref().map(|data| rows(line, data)).unwrap_or_default();
    let (what, ours, theirs) = if ours.codes != theirs.codes {
        (What::Replies, ours.codes.clone(), theirs.codes.clone())
    } else if ours.told != theirs.told {
        (What::Words, ours.told.clone(), theirs.told.clone())
    } else {
        (What::Data, data(ours), data(theirs))
    };
    (ours != theirs).then(|| Difference { line: line.to_owned(), what, ours, theirs })
}

/// Data in a shape that can be compared: of listings what all servers say alike, in one order.
fn rows(line: &str, data: &[u8]) -> String {
    let text = String::from_utf8_lossy(data);
    let rows = text.lines();
    let mut rows: Vec<String> = match line.split(' ').next().unwrap_or_default() {
        // Clients differ in what they expect before the last slash, and so do servers.
        "NLST" => rows.map(|name| name.rsplit('/').next().unwrap_or_default().to_owned()).collect(),
        "LIST" => rows
            .filter(|row| !["total", " .", " .."].iter().any(|no| row.starts_with(no) || row.ends_with(no)))
            .map(long)
            .collect(),
        "MLSD" => rows.filter(|row| !row.contains("cdir;") && !row.contains("pdir;")).map(facts).collect(),
        _ => return data.escape_ascii().to_string(),
    };
    rows.sort();
    rows.join("\n")
}

/// Kind, size of files, and name of a row of `ls -l`.
fn long(row: &str) -> String {
    let (mut rest, mut columns) = (row, Vec::new());
    for _ in 0..8 {
        let (column, behind) = rest.trim_start().split_once(' ').unwrap_or((rest, ""));
        columns.push(column);
        rest = behind;
    }
    let kind = row.chars().next().unwrap_or('?');
    format!("{kind} {} {rest}", if kind == '-' { columns[4] } else { "" })
}

/// Kind, size of files, and name of a row of facts.
fn facts(row: &str) -> String {
    let (facts, name) = row.split_once(' ').unwrap_or((row, ""));
    let fact = |wanted: &str| {
        facts
            .split(';')
            .find_map(|fact| fact.to_ascii_lowercase().strip_prefix(wanted).map(str::to_owned))
            .unwrap_or_default()
    };
    let kind = fact("type=");
    format!("{kind} {} {name}", if kind == "file" { fact("size=") } else { String::new() })
}

/// What is different in the folders. A file under a name that the server chose is taken away again.
fn folders(step: &Step, line: String, known: &mut Tree, ours: &Place, theirs: &Place) -> Option<Difference> {
    let (mut one, mut other) = (ours.tree(), theirs.tree());
    if line.starts_with("STOU") && !known.is_empty() {
        for (tree, place) in [(&mut one, ours), (&mut other, theirs)] {
            let new: Vec<_> = tree.keys().filter(|name| !known.contains_key(*name)).cloned().collect();
            if let ([name], Step::Put(_, _, bytes)) = (new.as_slice(), step)
                && (line.contains("TYPE A") || tree.get(name) == Some(&Some(bytes.clone())))
            {
                std::fs::remove_file(place.root.join(name)).unwrap();
                tree.remove(name);
            }
        }
    }
    let difference = (one != other).then(|| {
        let only = |tree: &Tree, than: &Tree| {
            let more: Vec<_> = tree.iter().filter(|(name, bytes)| than.get(*name) != Some(bytes)).collect();
            more.iter()
                .map(|(name, bytes)| format!("{name} ({:?} bytes)", bytes.as_ref().map(Vec::len)))
                .collect::<Vec<_>>()
                .join(", ")
        };
        Difference { line, what: What::Files, ours: only(&one, &other), theirs: only(&other, &one) }
    });
    *known = one;
    difference
}
