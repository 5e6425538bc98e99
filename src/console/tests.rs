use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use tower_service::Service as _;

use super::*;

fn not_built(_path: &str) -> Option<File> {
    None
}

fn built(path: &str) -> Option<File> {
    let text: &'static [u8] = match path {
        "index.html" => b"the front page",
        "watch.html" => b"the watch page",
        "404.html" => b"the lost page",
        "assets/watch-1a2b.js" => b"plain script",
        "assets/watch-1a2b.js.gz" => b"packed script",
        "assets/style-3c4d.css" => b"style",
        _ => return None,
    };
    Some(File {
        bytes: Cow::Borrowed(text),
        etag: format!("\"{}\"", text.len()),
    })
}

async fn get_from(files: Files, path: &str, headers: &[(&str, &str)]) -> (Response<()>, String) {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = router_over(files).call(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    (Response::from_parts(parts, ()), text)
}

fn header<'a>(response: &'a Response<()>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn built_pages_are_served_with_their_status_type_and_caching() {
    const HTML: &str = "text/html; charset=utf-8";
    const IMMUTABLE: &str = "public, max-age=31536000, immutable";
    let browser = [("accept", "text/html,*/*")];
    for (path, status, content_type, caching, body) in [
        ("/", 200, HTML, "no-cache", "the front page"),
        (
            "/watch/AbCdEf123456",
            200,
            HTML,
            "no-cache",
            "the watch page",
        ),
        (
            "/watch/AbCdEf123456?x=1",
            200,
            HTML,
            "no-cache",
            "the watch page",
        ),
        ("/watch/tooshort", 404, HTML, "no-cache", "the lost page"),
        (
            "/watch/%3Cscript%3E1234",
            404,
            HTML,
            "no-cache",
            "the lost page",
        ),
        (
            "/watch/AbCdEf123456/more",
            404,
            HTML,
            "no-cache",
            "the lost page",
        ),
        ("/nothing", 404, HTML, "no-cache", "the lost page"),
        ("/assets/none.js", 404, HTML, "no-cache", "the lost page"),
        (
            "/assets/watch-1a2b.js",
            200,
            "text/javascript",
            IMMUTABLE,
            "plain script",
        ),
        (
            "/assets/style-3c4d.css",
            200,
            "text/css",
            IMMUTABLE,
            "style",
        ),
    ] {
        let (response, text) = get_from(built, path, &browser).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(header(&response, "content-type"), content_type, "{path}");
        assert_eq!(header(&response, "cache-control"), caching, "{path}");
        assert_eq!(
            header(&response, "x-content-type-options"),
            "nosniff",
            "{path}"
        );
        let policy = header(&response, "content-security-policy");
        assert!(
            policy.contains("media-src 'self' blob:"),
            "{path}: {policy}"
        );
        assert_eq!(text, body, "{path}");
    }
}

#[tokio::test]
async fn a_page_that_the_browser_has_is_not_sent_again() {
    let (first, _) = get_from(built, "/", &[]).await;
    let etag = header(&first, "etag").to_owned();
    assert!(etag.starts_with('"'));
    for (known, status) in [
        (etag.clone(), 304),
        (format!("\"other\", {etag}"), 304),
        ("\"other\"".to_owned(), 200),
    ] {
        let (response, _) = get_from(built, "/", &[("if-none-match", &known)]).await;
        assert_eq!(response.status(), status, "{known}");
        assert_eq!(header(&response, "etag"), etag);
    }
}

#[tokio::test]
async fn assets_are_sent_packed_to_those_who_unpack() {
    for (accept, coding, body) in [
        ("br, gzip", "gzip", "packed script"),
        ("gzip;q=0.5", "gzip", "packed script"),
        ("gzip;q=0", "", "plain script"),
        ("br", "", "plain script"),
    ] {
        let headers = [("accept-encoding", accept)];
        let (response, text) = get_from(built, "/assets/watch-1a2b.js", &headers).await;
        assert_eq!(header(&response, "content-encoding"), coding, "{accept}");
        assert_eq!(
            header(&response, "content-type"),
            "text/javascript",
            "{accept}"
        );
        assert_eq!(header(&response, "vary"), "accept-encoding", "{accept}");
        assert_eq!(text, body, "{accept}");
    }
    let (response, text) = get_from(
        built,
        "/assets/style-3c4d.css",
        &[("accept-encoding", "gzip")],
    )
    .await;
    assert_eq!(
        header(&response, "content-encoding"),
        "",
        "there is no packed style"
    );
    assert_eq!(text, "style");
}

#[tokio::test]
async fn without_the_site_a_placeholder_says_what_to_do() {
    for (path, channel) in [
        ("/", "channel.&lt;channel id&gt;.m3u8"),
        ("/watch/AbCdEf123456", "channel.AbCdEf123456.m3u8"),
    ] {
        let (response, text) = get_from(not_built, path, &[]).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "cache-control"), "no-cache", "{path}");
        assert!(text.contains("make web"), "{path}: {text}");
        assert!(text.contains(channel), "{path}: {text}");
    }
    let (response, text) = get_from(not_built, "/nothing", &[("accept", "text/html")]).await;
    assert_eq!(response.status(), 404);
    assert!(text.contains("There is nothing here"), "{text}");
}

#[tokio::test]
async fn programs_get_a_short_404() {
    let (response, text) = get_from(built, "/nothing", &[("accept", "application/json")]).await;
    assert_eq!(response.status(), 404);
    assert_eq!(
        header(&response, "content-type"),
        "text/plain; charset=utf-8"
    );
    assert_eq!(text, "not found\n");
}

#[test]
fn this_build_has_both_pages_or_none() {
    let pages = ["index.html", "watch.html", "404.html"].map(|name| site::embedded(name).is_some());
    assert!(
        pages.iter().all(|is_there| *is_there == pages[0]),
        "web/dist is incomplete: {pages:?}"
    );
}

#[test]
fn files_outside_the_site_are_not_served() {
    for path in [
        "../package.json",
        "assets/../../package.json",
        "/etc/passwd",
    ] {
        assert!(site::embedded(path).is_none(), "{path}");
    }
}
