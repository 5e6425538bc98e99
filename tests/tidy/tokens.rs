//! Rust source as tokens, without what only tests compile: enough to see who names whom.
//!
//! In:  the text of a file. Out: its words and punctuation, each with its line.
//! Not here: grammar; comments, strings and characters, which are left out.

/// A line number and what stands there.
pub(super) type Token<'a> = (usize, &'a str);

/// The tokens of a file, each with its line, without comments, literals and what only tests compile.
pub(super) fn production_tokens(text: &str) -> Vec<Token<'_>> {
    split_tests(text).0
}

/// The names of modules in other files that only tests compile: `#[cfg(test)] mod fixtures;`.
pub(super) fn test_modules(text: &str) -> Vec<&str> {
    let items = split_tests(text).1;
    let names = items.iter().filter_map(|item| match item.as_slice() {
        [.., (_, "mod"), (_, name), (_, ";")] => Some(*name),
        _ => None,
    });
    names.collect()
}

/// What is always compiled, and each item that only tests compile.
fn split_tests(text: &str) -> (Vec<Token<'_>>, Vec<Vec<Token<'_>>>) {
    let all = tokens(text);
    let (mut kept, mut items) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < all.len() {
        if follows(&all[at..], &["#", "[", "cfg", "(", "test", ")", "]"]) {
            let end = at + 7 + item_length(&all[at + 7..]);
            items.push(all[at..end].to_vec());
            at = end;
        } else {
            kept.push(all[at]);
            at += 1;
        }
    }
    (kept, items)
}

/// An item ends with its first `;`, or with the brace that closes its first `{`.
fn item_length(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0_usize;
    for (at, (_, token)) in tokens.iter().enumerate() {
        match *token {
            "{" | "(" | "[" => depth += 1,
            "}" if depth <= 1 => return at + 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

pub(super) fn follows(tokens: &[Token<'_>], expected: &[&str]) -> bool {
    tokens.len() >= expected.len()
        && tokens
            .iter()
            .zip(expected)
            .all(|((_, token), want)| token == want)
}

/// Words, `::` and single punctuation characters of Rust source; comments, strings and characters are left out.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let length = if let Some(length) = unspoken_length(rest) {
            length
        } else if word > 0 {
            found.push((line, &rest[..word]));
            word
        } else {
            let length = if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            if !first.is_whitespace() {
                found.push((line, &rest[..length]));
            }
            length
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// The length of the comment, string, character or lifetime tick that `text` starts with.
fn unspoken_length(text: &str) -> Option<usize> {
    let up_to = |end: &str, from: usize| {
        text[from..]
            .find(end)
            .map_or(text.len(), |at| from + at + end.len())
    };
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(up_to("*/", 2));
    }
    let hashes = text
        .trim_start_matches(['b', 'c'])
        .strip_prefix('r')
        .map(|raw| raw.len() - raw.trim_start_matches('#').len());
    if let Some(hashes) = hashes {
        let quote = text.find('r')? + 1 + hashes;
        if text[quote..].starts_with('"') {
            return Some(up_to(&format!("\"{}", "#".repeat(hashes)), quote + 1));
        }
    }
    if text.starts_with('"') {
        let mut escaped = false;
        let end = text.char_indices().skip(1).find(|(_, c)| {
            let closes = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            closes
        });
        return Some(end.map_or(text.len(), |(at, _)| at + 1));
    }
    let character = text.strip_prefix('\'')?;
    if character.starts_with('\\') {
        return Some(up_to("'", 3));
    }
    let length = character.chars().next().map_or(0, char::len_utf8);
    Some(if character[length..].starts_with('\'') {
        length + 2
    } else {
        1
    })
}
