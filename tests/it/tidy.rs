//! The dependency law and the other rules of DESIGN §2 and §9, held as data: a new edge is a visible change here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Which crate may name which of ours.
const EDGES: [(&str, &[&str]); 16] = [
    ("events", &[]),
    ("journal", &["events"]),
    ("store", &["events", "journal"]),
    ("raft", &["events", "journal", "store"]),
    ("dialects", &["events"]),
    ("guards", &["events"]),
    ("cluster-config", &["events", "dialects", "guards"]),
    ("actors", &["events", "journal", "dialects", "cluster-config"]),
    ("projections", &["events", "journal", "store"]),
    ("backup", &[]),
    ("ingress", &["events", "journal", "actors", "dialects", "cluster-config", "projections", "backup"]),
    ("egress", &["actors", "events"]),
    ("provider-sim", &["dialects", "events"]),
    (
        "node",
        &[
            "events",
            "journal",
            "store",
            "raft",
            "actors",
            "dialects",
            "guards",
            "cluster-config",
            "projections",
            "backup",
            "ingress",
            "egress",
            "provider-sim",
        ],
    ),
    ("tests", &[]),
    ("bench", &[]),
];

/// One home for each heavy dependency.
const HOMES: [(&str, &[&str]); 11] = [
    ("age", &["backup"]),
    ("ractor", &["actors"]),
    ("axum", &["ingress"]),
    ("utoipa", &["ingress"]),
    ("openraft", &["raft"]),
    ("redb", &["store"]),
    ("rustls", &["egress"]),
    ("opentelemetry", &["node"]),
    ("opentelemetry-http", &["node"]),
    ("opentelemetry-otlp", &["node"]),
    ("opentelemetry_sdk", &["node"]),
];

/// Crates without a clock, environment, file, chance or runtime.
const PURE: [&str; 5] = ["events", "journal", "cluster-config", "dialects", "guards"];
const NOT_IN_PURE: [&str; 12] =
    ["tokio", "ractor", "axum", "hyper", "hyper-util", "openraft", "redb", "getrandom", "rand", "dashmap", "parking_lot", "tracing"];
const NOT_SAID_IN_PURE: [&str; 8] = ["SystemTime", "Instant::now", "std::env", "std::fs", "HashMap", "HashSet", "thread::", "TcpStream"];

const TOP: [&str; 24] = [
    ".ci",
    ".git",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "actors",
    "clippy.toml",
    "cluster-config",
    "deploy",
    "events",
    "node",
    "projections",
    "rustfmt.toml",
    "simulations",
    "target",
    "tests",
    "tollgate-data",
    ".pytest_cache",
    "proptest-regressions",
];

const FILE_LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

struct Package {
    name: String,
    folder: PathBuf,
    normal: BTreeSet<String>,
    versions: Vec<String>,
}

fn packages() -> BTreeMap<String, Package> {
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let members = manifest["workspace"]["members"].as_array().unwrap();
    members.iter().map(|member| package(root().join(member.as_str().unwrap()))).map(|package| (package.name.clone(), package)).collect()
}

fn package(folder: PathBuf) -> Package {
    let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
    let name =
        manifest["package"]["name"].as_str().unwrap().strip_prefix("tollgate-").expect("packages are called tollgate-<folder>").to_owned();
    assert_eq!(folder.file_name().unwrap().to_str().unwrap(), name, "a package is called like its folder");
    let table = |key: &str| manifest.get(key).and_then(|table| table.as_table()).cloned().unwrap_or_default();
    let (normal, dev) = (table("dependencies"), table("dev-dependencies"));
    let own = |entry: &toml::Value| entry.get("workspace").and_then(toml::Value::as_bool) != Some(true);
    let versions = normal.iter().chain(dev.iter()).filter(|(_, entry)| own(entry)).map(|(name, _)| name.clone()).collect();
    Package { name, folder, normal: normal.keys().cloned().collect(), versions }
}

/// Rust files of a crate, without those of its satellites.
fn sources(package: &Package) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![package.folder.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

/// What stands before the tests of a file; nothing of a file of tests.
fn product(path: &Path, text: &str) -> String {
    let name = path.to_str().unwrap();
    if name.ends_with("tests.rs") || name.contains("/tests/") || name.contains("_tests/") {
        return String::new();
    }
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

#[test]
fn crates_name_only_what_they_may() {
    let packages = packages();
    let edges: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    assert_eq!(
        packages.keys().map(String::as_str).collect::<Vec<_>>(),
        edges.keys().copied().collect::<Vec<_>>(),
        "every crate has its line in EDGES"
    );
    for package in packages.values() {
        let ours = package.normal.iter().filter(|name| packages.contains_key(*name));
        for other in ours {
            assert!(edges[package.name.as_str()].contains(&other.as_str()), "{} may not name {other}", package.name);
        }
        assert!(package.versions.is_empty(), "{}: versions stand in the root's Cargo.toml: {:?}", package.name, package.versions);
    }
}

#[test]
fn heavy_dependencies_have_one_home() {
    for package in packages().values().filter(|package| package.name != "bench") {
        for (heavy, homes) in HOMES {
            assert!(!package.normal.contains(heavy) || homes.contains(&package.name.as_str()), "{} names {heavy}", package.name);
        }
    }
}

#[test]
fn pure_crates_are_pure() {
    for package in packages().values().filter(|package| PURE.contains(&package.name.as_str())) {
        for name in NOT_IN_PURE {
            assert!(!package.normal.contains(name), "{} names {name}", package.name);
        }
        for (path, text) in sources(package) {
            for line in product(&path, &text).lines().filter(|line| !line.trim_start().starts_with("//")) {
                for word in NOT_SAID_IN_PURE {
                    assert!(!line.contains(word), "{}: `{word}` in a pure crate: {line}", path.display());
                }
            }
        }
    }
}

#[test]
fn code_does_not_unwrap_nor_leave_safety() {
    for package in packages().values().filter(|package| !["bench", "tests"].contains(&package.name.as_str())) {
        for (path, text) in sources(package) {
            let code = product(&path, &text);
            for word in [".unwrap()", "unsafe {", "todo!(", "unimplemented!(", "dbg!("] {
                assert!(!code.contains(word), "{}: `{word}`", path.display());
            }
            assert!(text.lines().count() <= FILE_LINES_MAX, "{} has more than {FILE_LINES_MAX} lines", path.display());
        }
    }
}

#[test]
fn the_top_level_holds_nothing_else() {
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(TOP.contains(&name.as_str()), "{name} does not belong at the top level");
    }
}
