//! Tidy: the rules of the house that no compiler checks, on the text of the repository.
//!
//! In:  every file that is ours. Out: one failing test per broken rule, naming file, line and remedy.
//! Not here: style that rustfmt and clippy see; whether `config/weir.toml` is complete (`src/config.rs`).
//!
//! Here stand the tables and the tests that apply the rules to the repository. The rules are functions from
//! text to complaints, in `tidy/`, each beside a test that it fails on a seeded violation.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tokens.rs"]
mod tokens;

use std::collections::BTreeSet;

use files::{
    document_complaints, folder_complaint, front_page_complaint, migration_complaints,
    name_complaint, size_complaint, stem,
};
use source::{
    Graph, door_complaints, find_cycle, import_complaints, imports, room_of, test_files,
    unwrap_complaints,
};

/// Who may import whom: a room, then what it may import. A room that is not listed does not exist.
const ROOMS: &str = "
    base
    media
    storage    base
    model      base
    ingest     base media
    transcode  base media
    packaging  base media
    playlist   base media packaging
    events     base model
    origin     base model playlist storage
    recording  base media packaging playlist storage model events transcode
    library    base model events storage transcode packaging recording
    db         base model events
    chat       base model events
    live       base media ingest transcode packaging playlist recording model events
    api        base model events live chat recording library
    console    base model live
    conformance base media
";

/// Files at the top of `src/` that assemble: they import anything, and no room imports them.
const ASSEMBLY: &[&str] = &["config", "app", "cli", "main", "lib"];

/// Third-party crates, and the files and folders that alone may name them; tests may hold the other end of a wire.
const DOORS: &str = "
    rml_rtmp           src/ingest/session.rs src/ingest/session/
    rml_amf0           src/ingest/session.rs src/ingest/session/
    ffmpeg_next        src/transcode/
    sqlx               src/db/
    object_store       src/storage/
    rustls             src/base/tls/ src/conformance/fetch src/storage/store src/events/webhook/delivery
    tokio_rustls       src/base/tls/ src/base/stream
    rustls_acme        src/base/tls/acme
    rcgen              src/base/tls/dev
    proxy_header       src/base/proxy
    ipnet              src/base/proxy src/events/webhook/target
    maxminddb          src/origin/protection/countries
    axum               src/base/http src/origin/ src/api/ src/chat/ src/console/ src/app
    tokio_tungstenite  src/chat/
    ciborium           src/api/cloudwatch/cbor
";

/// Lines, tests included, at which a file asks to be split.
const MAX_LINES: usize = 600;

/// Files that may be longer, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

const FOLDERS: &[&str] = &[
    "src",
    "config",
    "migrations",
    "benches",
    "tests",
    "web",
    "docs",
    "fuzz",
];

/// Folders at the top level that are git-ignored: the build's, and the default data directory.
const IGNORED_FOLDERS: &[&str] = &["target", "data"];

/// Names of git-ignored folders further down, which hold nothing of ours.
const GENERATED: &[&str] = &["target", "node_modules", "dist", "corpus", "artifacts"];

#[test]
fn rooms_import_only_downwards() {
    let mut complaints = Vec::new();
    let mut graph = Graph::new();
    for (path, text) in production_files() {
        complaints.extend(import_complaints(&path, &text));
        if !ASSEMBLY.contains(&room_of(&path)) {
            let used = imports(&path, &text).into_iter().map(|import| import.room);
            graph
                .entry(room_of(&path).to_owned())
                .or_default()
                .extend(used);
        }
    }
    complaints.extend(find_cycle(&graph));
    report(complaints);
}

#[test]
fn the_table_of_rooms_has_no_cycle() {
    let own = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    let graph = table(ROOMS)
        .map(|(room, may)| (room.to_owned(), own(may)))
        .collect();
    report(find_cycle(&graph));
}

#[test]
fn third_parties_come_in_by_their_doors() {
    let files = production_files();
    report(
        files
            .iter()
            .flat_map(|(path, text)| door_complaints(path, text)),
    );
}

#[test]
fn files_are_short_named_and_have_a_front_page() {
    let mut complaints = Vec::new();
    for (path, text) in files_with(&["src", "tests", "benches", "fuzz"], "rs") {
        complaints.extend(size_complaint(&path, &text));
        complaints.extend(front_page_complaint(&path, &text));
        complaints.extend(name_complaint(&path));
    }
    for (path, text) in files_with(&["web"], "ts") {
        complaints.extend(size_complaint(&path, &text));
        complaints.extend(name_complaint(&path));
    }
    report(complaints);
}

#[test]
fn nothing_unwraps_outside_tests() {
    let files = production_files();
    report(
        files
            .iter()
            .flat_map(|(path, text)| unwrap_complaints(path, text)),
    );
}

#[test]
fn the_top_level_holds_only_known_folders() {
    let entries = fs::read_dir(root()).expect("the repository is readable");
    let folders = entries
        .map(|entry| entry.expect("an entry is readable"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    report(folders.filter_map(|name| folder_complaint(&name)));
}

#[test]
fn each_migration_exists_for_both_databases() {
    let names = |kind: &str| -> BTreeSet<String> {
        let folder = format!("migrations/{kind}");
        files_with(&[&folder], "sql")
            .iter()
            .map(|(path, _)| stem(path).to_owned())
            .collect()
    };
    report(migration_complaints(&names("sqlite"), &names("postgres")));
}

#[test]
fn documents_mention_only_files_that_exist() {
    let mut documents = files_with(&["docs"], "md");
    documents.push(("README.md".to_owned(), read("README.md")));
    let exists = |path: &str| root().join(path).exists();
    report(
        documents
            .iter()
            .flat_map(|(path, text)| document_complaints(path, text, &exists)),
    );
}

/// The lines of [`ROOMS`] or [`DOORS`]: a name, and what belongs to it.
fn table(text: &'static str) -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let lines = text.lines().map(str::split_whitespace);
    lines.filter_map(|mut words| Some((words.next()?, words.collect())))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The files under `src/` that are compiled outside tests.
fn production_files() -> Vec<(String, String)> {
    let mut files = files_with(&["src"], "rs");
    assert!(!files.is_empty(), "no source below {}", root().display());
    let for_tests: Vec<_> = files
        .iter()
        .flat_map(|(path, text)| test_files(path, text))
        .collect();
    files.retain(|(path, _)| !for_tests.iter().any(|prefix| path.starts_with(prefix)));
    files
}

/// Path (from the root, with slashes) and text of every file of ours with this extension, in order.
fn files_with(folders: &[&str], extension: &str) -> Vec<(String, String)> {
    let mut waiting: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut found = Vec::new();
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("an entry is readable").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !name.starts_with('.') && !GENERATED.contains(&&*name) {
                waiting.push(path);
            } else if path.is_file() && path.extension().is_some_and(|e| e == extension) {
                let relative = path
                    .strip_prefix(root())
                    .expect("the walk stays below the root");
                let relative = relative.to_string_lossy().into_owned();
                let text = read(&relative);
                found.push((relative, text));
            }
        }
    }
    found.sort();
    found
}

fn report(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<_> = complaints.into_iter().collect();
    assert!(
        complaints.is_empty(),
        "{} untidy:\n  {}\n",
        complaints.len(),
        complaints.join("\n  ")
    );
}
