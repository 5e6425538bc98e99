//! Rules on source: who imports whom, third-party doors, unwraps.
//!
//! In:  path and text of a file under `src/`. Out: complaints. Below: each rule fails on a seeded violation.

use std::collections::{BTreeMap, BTreeSet};

use super::tokens::{Token, follows, production_tokens, test_modules};
use super::{ASSEMBLY, DOORS, ROOMS, table};

pub(super) type Graph = BTreeMap<String, BTreeSet<String>>;

/// One place where a file names another room (or a name at the crate's root that is none).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) room: String,
    pub(super) line: usize,
}

pub(super) fn import_complaints(path: &str, text: &str) -> Vec<String> {
    let room = room_of(path);
    if ASSEMBLY.contains(&room) {
        return Vec::new();
    }
    let Some((_, may)) = table(ROOMS).find(|(name, _)| *name == room) else {
        return vec![format!(
            "{path}: `{room}` is not a room of the map (ROOMS in tests/tidy.rs)"
        )];
    };
    imports(path, text)
        .into_iter()
        .filter(|import| !may.contains(&import.room.as_str()))
        .map(|Import { room: used, line }| {
            format!("{path}:{line}: `{room}` imports `{used}` but may import only {may:?}; where a lower room needs an upper one it declares a trait")
        })
        .collect()
}

/// The other rooms that the production code of a file names, by `crate::` or by enough `super::`.
pub(super) fn imports(path: &str, text: &str) -> Vec<Import> {
    let tokens = production_tokens(text);
    let mut found = Vec::new();
    let mut braces = 0_usize;
    let mut inline_modules = Vec::new(); // the brace depth at which each opened
    let mut at = 0;
    while let Some(&(line, token)) = tokens.get(at) {
        at += 1;
        match token {
            "{" => braces += 1,
            "}" => {
                braces = braces.saturating_sub(1);
                inline_modules.pop_if(|opened| *opened == braces);
            }
            "mod" if tokens.get(at + 1).is_some_and(|(_, next)| *next == "{") => {
                inline_modules.push(braces);
            }
            "crate" | "super" => {
                let depth = module_depth(path) + inline_modules.len();
                let mut climbed = if token == "crate" { depth } else { 1 };
                while token == "super" && follows(&tokens[at..], &["::", "super"]) {
                    climbed += 1;
                    at += 2;
                }
                if climbed == depth && follows(&tokens[at..], &["::"]) {
                    let rooms = path_heads(&tokens[at + 1..]);
                    found.extend(rooms.into_iter().map(|room| Import { room, line }));
                }
            }
            _ => {}
        }
    }
    found.retain(|import| import.room != room_of(path));
    found
}

/// `media::Sample` gives `media`; `{base::{ids, tasks}, media}` gives `base` and `media`.
pub(super) fn path_heads(tokens: &[Token<'_>]) -> Vec<String> {
    if !follows(tokens, &["{"]) {
        return tokens
            .first()
            .map(|(_, head)| (*head).to_owned())
            .into_iter()
            .collect();
    }
    let mut heads = Vec::new();
    let mut depth = 0_usize;
    for pair in tokens.windows(2) {
        match pair[0].1 {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(pair[0].1, "{" | ",") && pair[1].1 != "}" {
            heads.push(pair[1].1.to_owned());
        }
    }
    heads
}

pub(super) fn find_cycle(graph: &Graph) -> Option<String> {
    fn visit<'a>(
        graph: &'a Graph,
        room: &'a str,
        trail: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> bool {
        let closes = trail.contains(&room);
        trail.push(room);
        if closes {
            return true;
        }
        if !done.contains(room)
            && graph
                .get(room)
                .is_some_and(|used| used.iter().any(|next| visit(graph, next, trail, done)))
        {
            return true;
        }
        trail.pop();
        done.insert(room);
        false
    }
    let (mut trail, mut done) = (Vec::new(), BTreeSet::new());
    graph
        .keys()
        .any(|room| visit(graph, room, &mut trail, &mut done))
        .then(|| {
            format!(
                "rooms import each other in a circle: {}",
                trail.join(" -> ")
            )
        })
}

pub(super) fn door_complaints(path: &str, text: &str) -> Vec<String> {
    let tokens = production_tokens(text);
    let mut complaints = Vec::new();
    for (name, doors) in table(DOORS) {
        if doors.iter().any(|door| path.starts_with(door)) {
            continue;
        }
        if let Some((line, _)) = tokens.iter().find(|(_, token)| *token == name) {
            complaints.push(format!(
                "{path}:{line}: names `{name}`, which enters only by {doors:?}"
            ));
        }
    }
    complaints
}

pub(super) fn unwrap_complaints(path: &str, text: &str) -> Vec<String> {
    let tokens = production_tokens(text);
    let unwraps = tokens
        .windows(3)
        .filter(|w| w[0].1 == "." && w[1].1 == "unwrap" && w[2].1 == "(");
    unwraps
        .map(|w| {
            format!(
                "{path}:{}: unwrap(); return the error, or expect(\"why it cannot fail\")",
                w[0].0
            )
        })
        .collect()
}

/// `src/ingest/flv.rs` stands in `ingest`, `src/app.rs` in `app`.
pub(super) fn room_of(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside
        .split('/')
        .next()
        .unwrap_or(inside)
        .trim_end_matches(".rs")
}

/// The files, by path prefix, of the modules that a file declares for tests only.
pub(super) fn test_files(path: &str, text: &str) -> Vec<String> {
    let folder = match path
        .strip_suffix("/mod.rs")
        .or(path.strip_suffix("/lib.rs"))
    {
        Some(folder) => folder,
        None => path.trim_end_matches(".rs"),
    };
    let modules = test_modules(text);
    modules
        .iter()
        .flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/")])
        .collect()
}

/// How many modules deep a file stands: `src/lib.rs` 0, `src/ingest/mod.rs` 1, `src/ingest/flv.rs` 2.
pub(super) fn module_depth(path: &str) -> usize {
    match path {
        "src/lib.rs" | "src/main.rs" => 0,
        _ => path.split('/').count() - 1 - usize::from(path.ends_with("/mod.rs")),
    }
}

fn imported(path: &str, text: &str) -> Vec<String> {
    imports(path, text)
        .into_iter()
        .map(|import| import.room)
        .collect()
}

#[test]
fn imports_are_found_in_every_spelling() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("src/ingest/flv.rs", "use crate::media::Sample;", &["media"]),
        (
            "src/ingest/flv.rs",
            "use crate::{base::{ids, tasks},\n media};",
            &["base", "media"],
        ),
        (
            "src/ingest/flv.rs",
            "fn f(x: crate::live::Feed) {}",
            &["live"],
        ),
        (
            "src/ingest/flv.rs",
            "use super::super::live::Feed;",
            &["live"],
        ),
        ("src/ingest/flv.rs", "use super::live::Feed;", &[]),
        (
            "src/ingest/mod.rs",
            "use super::{live, media};",
            &["live", "media"],
        ),
        (
            "src/ingest/mod.rs",
            "mod inner { use super::super::live; }\nuse super::base;",
            &["live", "base"],
        ),
        (
            "src/ingest/a/b.rs",
            "use super::super::super::db::Db;",
            &["db"],
        ),
        (
            "src/ingest/flv.rs",
            "use crate::ingest::Gate; pub(crate) fn f() {}",
            &[],
        ),
        (
            "src/ingest/flv.rs",
            "//! [`crate::live`]\n/* crate::live */ const S: &str = \"crate::live\";",
            &[],
        ),
        (
            "src/ingest/flv.rs",
            "const R: &str = r#\"\" crate::live\"#; const C: char = '\"'; use crate::db;",
            &["db"],
        ),
        (
            "src/ingest/flv.rs",
            "fn f<'a>(x: &'a str) { g('\\'', \"\\\"\") } use crate::db;",
            &["db"],
        ),
        (
            "src/ingest/flv.rs",
            "#[cfg(test)]\nmod tests { use crate::live::Feed; fn f() {} }\nuse crate::db;",
            &["db"],
        ),
    ];
    for (path, text, expected) in cases {
        assert_eq!(imported(path, text), *expected, "{path}: {text}");
    }
}

#[test]
fn a_forbidden_import_is_reported_with_its_line() {
    let complaints = import_complaints(
        "src/packaging/cut.rs",
        "//! Cuts.\n\nuse crate::playlist::Window;\n",
    );
    assert_eq!(complaints.len(), 1);
    assert!(
        complaints[0].starts_with("src/packaging/cut.rs:3: `packaging` imports `playlist`"),
        "{complaints:?}"
    );
    assert!(import_complaints("src/playlist/window.rs", "use crate::packaging::Part;").is_empty());
    assert!(import_complaints("src/app.rs", "use crate::playlist::Window;").is_empty());
    assert_eq!(
        import_complaints("src/live/feed.rs", "use crate::config::Config;").len(),
        1
    );
    assert_eq!(import_complaints("src/kitchen/mod.rs", "").len(), 1);
}

#[test]
fn files_of_test_modules_are_known() {
    let text =
        "#[cfg(test)]\npub(crate) mod fixtures;\nmod cut;\n#[cfg(test)]\nmod tests { mod a; }";
    assert_eq!(
        test_files("src/playlist/mod.rs", text),
        ["src/playlist/fixtures.rs", "src/playlist/fixtures/"]
    );
    assert_eq!(
        test_files("src/a/cut.rs", "#[cfg(test)] mod tests;"),
        ["src/a/cut/tests.rs", "src/a/cut/tests/"]
    );
}

#[test]
fn a_circle_is_found() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph
                .entry((*from).to_owned())
                .or_default()
                .insert((*to).to_owned());
        }
        graph
    };
    assert_eq!(
        find_cycle(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])),
        None
    );
    let circle = find_cycle(&graph(&[("a", "b"), ("b", "c"), ("c", "b")])).expect("b and c");
    assert!(circle.ends_with("b -> c -> b"), "{circle}");
}

#[test]
fn a_third_party_through_the_wall_is_reported() {
    assert_eq!(
        door_complaints("src/live/mod.rs", "fn f(pool: sqlx::SqlitePool) {}").len(),
        1
    );
    assert_eq!(
        door_complaints("src/origin_copy.rs", "use axum::Router;").len(),
        1
    );
    assert!(door_complaints("src/db/channel.rs", "use sqlx::query;").is_empty());
    assert!(door_complaints("src/base/http.rs", "use axum::Router;").is_empty());
    assert!(
        door_complaints(
            "src/ingest/connection.rs",
            "#[cfg(test)]\nuse rml_rtmp::chunk_io;"
        )
        .is_empty()
    );
}

#[test]
fn an_unwrap_is_reported() {
    assert_eq!(
        unwrap_complaints("src/a/b.rs", "fn f() {\n    g()\n        .unwrap();\n}"),
        ["src/a/b.rs:3: unwrap(); return the error, or expect(\"why it cannot fail\")"]
    );
    assert!(unwrap_complaints("src/a/b.rs", "g().unwrap_or(1); // .unwrap()").is_empty());
    assert!(
        unwrap_complaints(
            "src/a/b.rs",
            "#[cfg(test)]\nmod tests { fn f() { g().unwrap() } }"
        )
        .is_empty()
    );
}
