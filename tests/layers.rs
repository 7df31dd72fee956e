//! The house's walls, as a test: which room may open which door, and what every file must look like.
//!
//! The allow-list below is stricter than the order of layers: a door *could* reach the users by layer, but may not. It
//! holds for dev-dependencies too, since a test that reaches through a wall is the first hole in it. A forbidden edge
//! is printed with the sentence that forbids it. Nothing here compiles the rooms; it reads manifests and sources.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// One room: its package, what it may import of ours, and why no more.
struct Room {
    package: &'static str,
    may_import: &'static [&'static str],
    because: &'static str,
}

const ROOMS: &[Room] = &[
    Room { package: "lockgate-model", may_import: &[], because: "the plain words every room shares stand on nothing" },
    Room {
        package: "lockgate-events",
        may_import: &["lockgate-model"],
        because: "events tell what happened and decide nothing",
    },
    Room {
        package: "lockgate-config",
        may_import: &["lockgate-model"],
        because: "prefs.xml stands beside the house: rooms have settings of their own, made from it by the daemon",
    },
    Room {
        package: "lockgate-users",
        may_import: &["lockgate-events", "lockgate-model"],
        because: "the directory answers with a record or with none, and never judges a login",
    },
    Room {
        package: "lockgate-vfs",
        may_import: &["lockgate-events", "lockgate-model"],
        because: "files do not know which protocol asked, nor who let it in",
    },
    Room {
        package: "lockgate-unftp",
        may_import: &["lockgate-vfs", "lockgate-model"],
        because: "a store knows the port it serves and nothing above; no room links it, so that the program has no back-end in it",
    },
    Room {
        package: "lockgate-net",
        may_import: &["lockgate-events", "lockgate-model"],
        because: "sockets come before anyone is known: no names, no protocols, no gate",
    },
    Room {
        package: "lockgate-access",
        may_import: &["lockgate-users", "lockgate-vfs", "lockgate-net", "lockgate-events", "lockgate-model"],
        because: "the gate decides; it words no reply, and plugins are factors to it",
    },
    Room {
        package: "lockgate-admin",
        may_import: &[
            "lockgate-config",
            "lockgate-access",
            "lockgate-users",
            "lockgate-vfs",
            "lockgate-net",
            "lockgate-events",
            "lockgate-model",
        ],
        because: "operations on the running house know no door and render nothing",
    },
    Room {
        package: "lockgate-dmz",
        may_import: &["lockgate-access", "lockgate-net", "lockgate-events", "lockgate-model"],
        because: "the outpost keeps no users, factors or files",
    },
    Room { package: "lockgate-ftp", may_import: DOOR, because: A_DOOR_TRANSLATES },
    Room { package: "lockgate-sftp", may_import: DOOR, because: A_DOOR_TRANSLATES },
    Room {
        package: "lockgate-http-semantics",
        // The events are the testing feature's: its tree has a bus that nobody listens to.
        may_import: &["lockgate-access", "lockgate-vfs", "lockgate-events", "lockgate-model"],
        because: "what two doors read alike knows neither of them, and no socket",
    },
    Room { package: "lockgate-webdav", may_import: HTTP_DOOR, because: A_DOOR_TRANSLATES },
    Room {
        package: "lockgate-http",
        may_import: &[
            "lockgate-http-semantics",
            "lockgate-admin",
            "lockgate-access",
            "lockgate-vfs",
            "lockgate-net",
            "lockgate-events",
            "lockgate-model",
        ],
        because: A_DOOR_TRANSLATES,
    },
    Room {
        package: "lockgate-plugin",
        may_import: &[],
        because: "authors use the sdk alone, so nothing of the house may come with it",
    },
    Room {
        package: "lockgate-plugins",
        // The example is built by the host's tests, which load it like any other plugin.
        may_import: &[
            "lockgate-plugin",
            "lockgate-access",
            "lockgate-events",
            "lockgate-model",
            "lockgate-factor-webhook",
        ],
        because: "the host loads plugins and makes factors of them; it knows no users and no doors",
    },
    Room { package: "lockgate-totp", may_import: PLUGIN, because: A_PLUGIN_IS_A_LEAF },
    Room { package: "lockgate-sms", may_import: PLUGIN, because: A_PLUGIN_IS_A_LEAF },
    Room { package: "lockgate-email", may_import: PLUGIN, because: A_PLUGIN_IS_A_LEAF },
    Room { package: "lockgate-factor-webhook", may_import: PLUGIN, because: A_PLUGIN_IS_A_LEAF },
    Room {
        package: "lockgate-tests",
        may_import: &[],
        because: "the rules are checked from outside, with the program and real clients",
    },
    Room {
        package: "lockgate",
        may_import: EVERYTHING,
        because: "the daemon wires every room, and no room wires the daemon",
    },
];

const DOOR: &[&str] = &["lockgate-access", "lockgate-vfs", "lockgate-net", "lockgate-events", "lockgate-model"];
const HTTP_DOOR: &[&str] = &[
    "lockgate-http-semantics",
    "lockgate-access",
    "lockgate-vfs",
    "lockgate-net",
    "lockgate-events",
    "lockgate-model",
];
const A_DOOR_TRANSLATES: &str =
    "a door only translates: it looks up no user, holds no rule, reads no preferences and knows no other door";
const PLUGIN: &[&str] = &["lockgate-plugin"];
const A_PLUGIN_IS_A_LEAF: &str = "a plugin knows what a call hands it and nothing of the house";
const EVERYTHING: &[&str] = &[
    "lockgate-admin",
    "lockgate-access",
    "lockgate-config",
    "lockgate-dmz",
    "lockgate-events",
    "lockgate-ftp",
    "lockgate-http",
    "lockgate-http-semantics",
    "lockgate-model",
    "lockgate-net",
    "lockgate-plugins",
    "lockgate-sftp",
    "lockgate-users",
    "lockgate-vfs",
    "lockgate-webdav",
];

/// What the tests of a room may import beyond the room itself, as a dev-dependency, and why.
const TESTS_MAY_IMPORT: &[(&str, &str, &str)] = &[
    (
        "lockgate-plugins",
        "lockgate-factor-webhook",
        "the example of the author's guide is built and loaded by the host's tests",
    ),
    ("lockgate-unftp", "lockgate-events", "a tree, which the tests open over the store, announces what happens in it"),
];

/// Providers and stacks that must not come into the program, with the reason.
const FOREIGN_CRYPTOGRAPHY: &[(&str, &str)] = &[
    ("ring", "one cryptographic provider, aws-lc-rs: with two, rustls panics unless one was chosen"),
    ("openssl-sys", "no C library of the host: what is linked is what was tested"),
    ("native-tls", "one TLS stack for every connection"),
];

/// Folders whose packages hold the plugin border, and with it hand-written `unsafe`.
const MAY_HOLD_UNSAFE: [&str; 2] = ["plugins", "examples"];

#[test]
fn every_room_opens_only_the_doors_it_may() {
    let mut wrong = Vec::new();
    for (package, imports) in arrows() {
        let Some(room) = ROOMS.iter().find(|room| room.package == package) else {
            wrong.push(format!(
                "{package} is not on the list of rooms: say in tests/layers.rs what it may import, and why no more"
            ));
            continue;
        };
        for Arrow { import, purpose } in imports {
            let for_tests = purpose == "dev"
                && TESTS_MAY_IMPORT.iter().any(|(room, named, _)| (*room, *named) == (&package, &import));
            if !for_tests && !room.may_import.contains(&import.as_str()) {
                wrong.push(format!("{package} -> {import}: {}", room.because));
            }
        }
    }
    assert!(wrong.is_empty(), "forbidden arrows:\n  {}", wrong.join("\n  "));
}

#[test]
fn every_allowed_arrow_points_down() {
    let below: BTreeMap<_, _> = ROOMS.iter().map(|room| (room.package, room.may_import)).collect();
    for room in ROOMS {
        let (mut seen, mut open) = (BTreeSet::new(), room.may_import.to_vec());
        while let Some(package) = open.pop() {
            assert_ne!(package, room.package, "the allow-list lets {} reach itself", room.package);
            if seen.insert(package) {
                open.extend(below.get(package).copied().unwrap_or_default());
            }
        }
    }
}

#[test]
fn every_source_file_says_what_it_owns() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(
        silent.is_empty(),
        "these files do not begin with a //! header: what it owns, why here, what it never does\n  {silent:#?}"
    );
}

#[test]
fn a_file_over_600_lines_says_why_it_is_one_file() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| text.lines().count() > 600)
        .filter(|(_, text)| {
            let header: Vec<_> = text.lines().take_while(|line| line.starts_with("//!")).collect();
            !header.join(" ").to_lowercase().contains("one file")
        })
        .map(|(path, text)| format!("{path}: {} lines", text.lines().count()))
        .collect();
    assert!(long.is_empty(), "split these, or say in their header why they are one file\n  {}", long.join("\n  "));
}

#[test]
fn every_crate_takes_the_lints_of_the_house_unless_it_holds_the_plugin_border() {
    let root = root();
    let loose: Vec<_> = members()
        .into_iter()
        .filter(|folder| !MAY_HOLD_UNSAFE.iter().any(|exempt| folder.starts_with(root.join(exempt))))
        .filter(|folder| !fs::read_to_string(folder.join("Cargo.toml")).unwrap().contains("[lints]\nworkspace = true"))
        .collect();
    assert!(loose.is_empty(), "these crates do not take the workspace's lints (which forbid unsafe code): {loose:#?}");
}

#[test]
fn one_cryptographic_provider_is_in_the_tree() {
    // Cargo.lock names packages that no feature switches on, so the tree is asked instead.
    let tree = cargo(&["tree", "--workspace", "--prefix", "none", "--format", "{p}", "--edges", "normal,build,dev"]);
    let present: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(present.contains("rustls"), "the tree could not be read:\n{tree}");
    for (package, reason) in FOREIGN_CRYPTOGRAPHY {
        assert!(
            !present.contains(package),
            "{package} came into the tree ({reason}); find the way with: cargo tree -i {package}"
        );
    }
}

/// One package of the house that another one's manifest names, and for what: `dev`, `build`, or nothing in particular.
struct Arrow {
    import: String,
    purpose: String,
}

/// For each package of the house, what of the house its manifest names.
fn arrows() -> Vec<(String, Vec<Arrow>)> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    packages
        .iter()
        .map(|package| {
            let name = package["name"].as_str().unwrap();
            let imports = package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .map(|dependency| {
                    (dependency["name"].as_str().unwrap(), dependency["kind"].as_str().unwrap_or_default())
                })
                .filter(|(import, _)| ours.contains(import) && *import != name)
                .map(|(import, purpose)| Arrow { import: import.to_owned(), purpose: purpose.to_owned() });
            (name.to_owned(), imports.collect())
        })
        .collect()
}

/// The folder of each package of the house.
fn members() -> Vec<PathBuf> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned())
        .collect()
}

fn metadata() -> Value {
    serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps"])).unwrap()
}

/// What cargo prints. Offline, since whoever runs this has built the tree just before.
fn cargo(arguments: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output =
        Command::new(program).args(arguments).args(["--offline", "--locked"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every Rust file of the house with its text, by path from the root.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap_or_default());
            if name.starts_with('.') || name == "target" {
                continue;
            }
            // A link is not followed: what it names is found at its own place.
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().display().to_string(), text));
            }
        }
    }
    found.sort();
    assert!(found.len() > 20, "the sources were not found below {}", root.display());
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
