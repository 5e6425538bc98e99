//! Rules on files as such: length, front page, name, place, migrations, and what documents mention.
//!
//! In:  paths and text. Out: complaints. Below: each rule fails on a seeded violation.

use std::collections::BTreeSet;
use std::path::Path;

use super::{EMPTY_NAMES, FOLDERS, GENERATED, IGNORED_FOLDERS, LONG_FILES, MAX_LINES};

pub(super) fn size_complaint(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    let is_allowed = LONG_FILES
        .iter()
        .any(|(long, reason)| *long == path && !reason.is_empty());
    (lines > MAX_LINES && !is_allowed)
        .then(|| format!("{path}: {lines} lines, more than {MAX_LINES}: split it, or move its tests to `tests.rs` beside it"))
}

/// A `tests.rs` stands on the page of the module that it tests.
pub(super) fn front_page_complaint(path: &str, text: &str) -> Option<String> {
    if path.ends_with("/tests.rs") {
        return None;
    }
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("#!["));
    let has_page = lines
        .next()
        .and_then(|line| line.strip_prefix("//!"))
        .is_some_and(|words| !words.trim().is_empty());
    (!has_page).then(|| {
        format!("{path}: opens without a front page (`//!`: what comes in, goes out, is not here)")
    })
}

pub(super) fn name_complaint(path: &str) -> Option<String> {
    let bad = path
        .split('/')
        .find(|part| EMPTY_NAMES.contains(&stem(part)))?;
    Some(format!(
        "{path}: `{bad}` says nothing about what is inside; name it after that"
    ))
}

pub(super) fn folder_complaint(name: &str) -> Option<String> {
    let is_known =
        FOLDERS.contains(&name) || IGNORED_FOLDERS.contains(&name) || name.starts_with('.');
    (!is_known).then(|| format!("{name}/: not one of the top-level folders {FOLDERS:?}"))
}

pub(super) fn migration_complaints(
    sqlite: &BTreeSet<String>,
    postgres: &BTreeSet<String>,
) -> Vec<String> {
    let mut complaints = Vec::new();
    if sqlite.is_empty() {
        complaints.push("migrations/sqlite/: holds no migration".to_owned());
    }
    for name in sqlite.symmetric_difference(postgres) {
        complaints.push(format!("migrations/: {name} exists for one database only"));
    }
    for name in sqlite.union(postgres) {
        let (time, what) = name.split_once('_').unwrap_or_default();
        if time.len() != 14 || !time.bytes().all(|b| b.is_ascii_digit()) || !what.contains('_') {
            complaints.push(format!(
                "migrations/: {name} is not named YYYYMMDDHHMMSS_verb_noun"
            ));
        }
    }
    complaints
}

pub(super) fn document_complaints(
    path: &str,
    text: &str,
    exists: &dyn Fn(&str) -> bool,
) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut complaints = Vec::new();
    let mut is_code_block = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code_block = !is_code_block;
        } else if !is_code_block {
            let links = link_targets(line)
                .into_iter()
                .map(|target| Path::new(folder).join(target));
            let paths = code_spans(line)
                .into_iter()
                .filter(|span| is_path(span))
                .flat_map(expand_braces);
            let missing = links
                .map(|link| link.to_string_lossy().into_owned())
                .filter(|link| !exists(link))
                .chain(paths.filter(|path| !exists(path) && !exists(&format!("src/{path}"))));
            complaints.extend(missing.map(|file| {
                format!(
                    "{path}:{}: mentions {file}, which does not exist",
                    number + 1
                )
            }));
        }
    }
    complaints
}

/// The files that links of one Markdown line point to.
fn link_targets(line: &str) -> Vec<&str> {
    let targets = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let targets = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    targets
        .map(|target| target.split('#').next().unwrap_or(target))
        .collect()
}

/// The words between backticks in one Markdown line.
fn code_spans(line: &str) -> Vec<&str> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .flat_map(str::split_whitespace)
        .collect()
}

/// `src/ingest/` and `ingest/flv.rs` are paths of ours; `application/json` and `web/dist/` are not.
fn is_path(word: &str) -> bool {
    let (first, _) = word.split_once('/').unwrap_or_default();
    let is_ours = FOLDERS.contains(&first)
        || first == ".ci"
        || (!first.is_empty() && Path::new(word).extension().is_some_and(|e| e == "rs"));
    let is_plain = word
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-./{},".contains(&b));
    is_ours && is_plain && !word.split('/').any(|part| GENERATED.contains(&part))
}

/// `a/{b,c}.rs` gives `a/b.rs` and `a/c.rs`; anything else gives itself.
fn expand_braces(word: &str) -> Vec<String> {
    let Some((before, rest)) = word.split_once('{') else {
        return vec![word.to_owned()];
    };
    let Some((middle, after)) = rest.split_once('}') else {
        return vec![word.to_owned()];
    };
    middle
        .split(',')
        .map(|one| format!("{before}{one}{after}"))
        .collect()
}

pub(super) fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('.').next().unwrap_or(name)
}

#[test]
fn long_nameless_and_pageless_files_are_reported() {
    assert!(size_complaint("src/a.rs", &"\n".repeat(MAX_LINES + 1)).is_some());
    assert!(size_complaint("src/a.rs", &"\n".repeat(MAX_LINES)).is_none());
    assert!(front_page_complaint("src/a.rs", "use std::fmt;\n").is_some());
    assert!(front_page_complaint("src/a.rs", "//!\nuse std::fmt;\n").is_some());
    assert!(front_page_complaint("fuzz/a.rs", "#![no_main]\n//! Fuzzes.\n").is_none());
    assert!(name_complaint("src/a/utils.rs").is_some());
    assert!(name_complaint("tests/common/mod.rs").is_some());
    assert!(name_complaint("src/a/commons.rs").is_none());
    assert!(folder_complaint("scripts").is_some());
    assert!(folder_complaint("fuzz").is_none());
}

#[test]
fn a_lone_or_misnamed_migration_is_reported() {
    let set = |names: &[&str]| {
        names
            .iter()
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>()
    };
    let good = set(&["20260101000000_create_channels"]);
    assert!(migration_complaints(&good, &good).is_empty());
    assert_eq!(migration_complaints(&good, &set(&[])).len(), 1);
    assert_eq!(
        migration_complaints(
            &set(&["0001_create_channels"]),
            &set(&["0001_create_channels"])
        )
        .len(),
        1
    );
    assert_eq!(migration_complaints(&set(&[]), &set(&[])).len(), 1);
}

#[test]
fn a_mention_of_a_missing_file_is_reported() {
    let exists =
        |path: &str| ["src/ingest/flv.rs", "docs/../README.md", "config/weir.toml"].contains(&path);
    let good = "`ingest/flv.rs`, `src/ingest/{flv}.rs`, `web/dist/`, `application/json`, [it](../README.md#a), <https://a.b/c.rs>\n```\nsrc/none.rs\n```";
    assert!(document_complaints("docs/a.md", good, &exists).is_empty());
    for bad in [
        "`src/none.rs`",
        "`ingest/{flv,amf}.rs`",
        "see [it](none.md)",
        "run `.ci/none now`",
    ] {
        assert_eq!(
            document_complaints("docs/a.md", bad, &exists).len(),
            1,
            "{bad}"
        );
    }
}
