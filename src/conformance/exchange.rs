//! Rules on single HTTP answers: types, codings, caches, CORS (rules 1, 43 to 49).
//!
//! In:  an answer and what was asked. Out: judgements. Not here: the playlist or media within.

use super::fetch::Answer;
use super::findings::Page;
use super::rules::{must, practice, should};

const PLAYLIST_TYPES: &[&str] = &[
    "application/vnd.apple.mpegurl",
    "application/x-mpegurl",
    "audio/mpegurl",
    "audio/x-mpegurl",
];
const MEDIA_TYPES: &[&str] = &[
    "video/mp4",
    "audio/mp4",
    "video/iso.segment",
    "audio/iso.segment",
    "application/mp4",
    "video/mp2t",
    "audio/aac",
    "audio/mpeg",
];
/// Playlists below this are not worth packing.
const WORTH_PACKING: usize = 1024;

/// How a playlist was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reload {
    /// By its URL alone.
    Plain,
    /// With `_HLS_msn`.
    Blocking,
}

/// A playlist that came with 200; `target_s` is its target duration, none for a multivariant playlist.
pub(super) fn playlist(
    answer: &Answer,
    reload: Reload,
    target_s: Option<u64>,
    page: &mut Page<'_>,
) {
    let media_type = media_type(answer);
    let is_typed = PLAYLIST_TYPES.contains(&media_type.as_str());
    let path = answer.url.path();
    let is_named = has_extension(path, &["m3u8", "m3u"]);
    let words = || format!("the playlist is served as `{media_type}` at {path}");
    page.check(
        must(1, "playlist-unrecognizable"),
        is_typed || is_named,
        "",
        words,
    );
    page.check(should(1, "playlist-type"), is_typed || !is_named, "", words);

    let coding = coding(answer);
    let is_packed = !coding.is_empty() || answer.body.len() < WORTH_PACKING;
    page.check(must(44, "playlist-not-packed"), is_packed, "", || {
        format!(
            "{} bytes of playlist came unpacked though gzip was accepted",
            answer.body.len()
        )
    });
    if !coding.is_empty() {
        let varies = answer.header("vary").to_ascii_lowercase();
        let holds = varies.contains("accept-encoding") || varies.contains('*');
        page.check(should(44, "no-vary"), holds, "", || {
            "a packed playlist without Vary: Accept-Encoding".to_owned()
        });
    }
    page.check(
        must(46, "no-date"),
        !answer.header("date").is_empty(),
        "",
        || "an answer without Date".to_owned(),
    );
    cors(answer, page);
    if let Some(target_s) = target_s {
        playlist_age(answer, reload, target_s, page);
    }
}

/// Rule 45 for playlists.
fn playlist_age(answer: &Answer, reload: Reload, target_s: u64, page: &mut Page<'_>) {
    let text = answer.header("cache-control");
    let Some(age) = max_age(text) else {
        page.broken(should(45, "no-lifetime"), "", || {
            format!("the playlist has no lifetime: Cache-Control `{text}`")
        });
        return;
    };
    let words = || format!("Cache-Control `{text}`, target duration {target_s} s");
    match reload {
        Reload::Blocking => page.check(should(45, "blocking-uncached"), age >= target_s, "", words),
        Reload::Plain => page.check(should(45, "playlist-stale"), age <= target_s, "", words),
    }
}

/// Media that came with 200 or 206.
pub(super) fn media(answer: &Answer, target_s: u64, page: &mut Page<'_>) {
    let redirect = answer.redirect.as_deref();
    page.check(must(47, "redirected"), redirect.is_none(), "", || {
        format!(
            "{} is redirected to {}",
            answer.url.path(),
            redirect.unwrap_or_default()
        )
    });
    let coding = coding(answer);
    page.check(should(44, "media-packed"), coding.is_empty(), "", || {
        format!("media came with Content-Encoding {coding}")
    });
    let media_type = media_type(answer);
    let is_typed = MEDIA_TYPES.contains(&media_type.as_str());
    page.check(practice(49, "media-type"), is_typed, "", || {
        format!("{} is served as `{media_type}`", answer.url.path())
    });
    let has_length = !answer.header("content-length").is_empty();
    page.check(practice(49, "no-length"), has_length, "", || {
        format!("{} came without Content-Length", answer.url.path())
    });
    let text = answer.header("cache-control");
    let age = max_age(text);
    page.check(
        should(45, "media-uncached"),
        age.is_some_and(|age| age >= target_s),
        "",
        || format!("Cache-Control `{text}` for media, target duration {target_s} s"),
    );
    cors(answer, page);
}

/// A failure: caches must not keep it for long.
pub(super) fn failure(answer: &Answer, target_s: u64, page: &mut Page<'_>) {
    let text = answer.header("cache-control");
    let holds = max_age(text).is_none_or(|age| age <= target_s.saturating_mul(4));
    page.check(should(45, "failure-cached-long"), holds, "", || {
        format!("status {} with Cache-Control `{text}`", answer.status)
    });
}

/// An answer by HTTP/2: rule 43.
pub(super) fn priority(answer: &Answer, page: &mut Page<'_>) {
    let holds = !answer.header("priority").is_empty();
    page.check(should(43, "no-priority"), holds, "", || {
        "a playlist by HTTP/2 without a priority header".to_owned()
    });
}

/// Content-Encoding; `identity` is none.
fn coding(answer: &Answer) -> &str {
    let text = answer.header("content-encoding");
    if text.eq_ignore_ascii_case("identity") {
        return "";
    }
    text
}

fn cors(answer: &Answer, page: &mut Page<'_>) {
    let allowed = answer.header("access-control-allow-origin");
    page.check(practice(48, "no-cors"), !allowed.is_empty(), "", || {
        format!("{} has no Access-Control-Allow-Origin", answer.url.path())
    });
    let has_credentials = answer.header("access-control-allow-credentials") == "true";
    page.check(
        practice(48, "credentials-for-all"),
        !(has_credentials && allowed == "*"),
        "",
        || "Access-Control-Allow-Credentials with origin *".to_owned(),
    );
}

/// Whether a path's last dot is followed by one of these.
pub(super) fn has_extension(path: &str, extensions: &[&str]) -> bool {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    extensions
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
}

fn media_type(answer: &Answer) -> String {
    let text = answer.header("content-type");
    let text = text.split(';').next().unwrap_or(text);
    text.trim().to_ascii_lowercase()
}

/// Seconds for which a shared cache may keep an answer; none if nothing is said.
fn max_age(cache_control: &str) -> Option<u64> {
    let directives = || {
        cache_control
            .split(',')
            .map(|text| text.trim().to_ascii_lowercase())
    };
    if directives().any(|directive| directive == "no-store" || directive == "no-cache") {
        return Some(0);
    }
    let seconds = |name: &str| {
        directives()
            .find_map(|directive| directive.strip_prefix(name)?.trim_matches('"').parse().ok())
    };
    seconds("s-maxage=").or_else(|| seconds("max-age="))
}

#[cfg(test)]
mod tests {
    use super::super::findings::Book;
    use super::*;
    use bytes::Bytes;
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    fn answer(path: &str, headers: &[(&'static str, &'static str)]) -> Answer {
        let pairs = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        Answer {
            status: 200,
            is_http2: false,
            headers: pairs.collect::<HeaderMap>(),
            body: Bytes::from(vec![b'x'; 2000]),
            url: url::Url::parse(&format!("http://127.0.0.1{path}")).unwrap(),
            redirect: None,
            sent_ms: 0,
            head_ms: 0,
            end_ms: 0,
        }
    }

    fn kinds(judge: impl FnOnce(&mut Page<'_>)) -> Vec<&'static str> {
        let mut book = Book::default();
        judge(&mut book.page("", 0));
        book.findings().iter().map(|found| found.kind).collect()
    }

    const GOOD: &[(&str, &str)] = &[
        ("content-type", "application/vnd.apple.mpegurl"),
        ("content-encoding", "gzip"),
        ("vary", "accept-encoding"),
        ("date", "Thu, 01 Oct 2026 10:00:00 GMT"),
        ("cache-control", "public, max-age=1"),
        ("access-control-allow-origin", "*"),
    ];

    #[test]
    fn each_missing_header_breaks_its_rule() {
        let judged = |headers: &[_], reload| {
            kinds(|page| playlist(&answer("/live.m3u8", headers), reload, Some(2), page))
        };
        assert_eq!(judged(GOOD, Reload::Plain), [""; 0]);
        assert_eq!(judged(GOOD, Reload::Blocking), ["blocking-uncached"]);
        let without = [
            "playlist-type",
            "playlist-not-packed",
            "no-vary",
            "no-date",
            "no-lifetime",
            "no-cors",
        ];
        for (index, kind) in without.into_iter().enumerate() {
            let mut headers = GOOD.to_vec();
            headers.remove(index);
            assert_eq!(judged(&headers, Reload::Plain), [kind]);
        }
        let unnamed =
            kinds(|page| playlist(&answer("/live", &GOOD[1..]), Reload::Plain, None, page));
        assert_eq!(unnamed, ["playlist-unrecognizable"]);
    }

    #[test]
    fn media_is_typed_sized_kept_and_not_redirected() {
        let good = [
            ("content-type", "video/mp4"),
            ("content-length", "2000"),
            ("cache-control", "max-age=3600"),
            ("access-control-allow-origin", "*"),
        ];
        assert_eq!(
            kinds(|page| media(&answer("/1.m4s", &good), 2, page)),
            [""; 0]
        );
        let redirected = Answer {
            redirect: Some("/2.m4s".to_owned()),
            ..answer("/1.m4s", &[("content-type", "text/plain")])
        };
        assert_eq!(
            kinds(|page| media(&redirected, 2, page)),
            [
                "media-uncached",
                "redirected",
                "no-cors",
                "media-type",
                "no-length"
            ]
        );
    }

    #[test]
    fn lifetimes() {
        for (text, seconds) in [
            ("", None),
            ("public", None),
            ("no-store", Some(0)),
            ("max-age=7, no-cache", Some(0)),
            ("public, max-age=12", Some(12)),
            ("max-age=1, s-maxage=\"6\"", Some(6)),
        ] {
            assert_eq!(max_age(text), seconds, "{text}");
        }
    }
}
