//! The files of the built site, and what is said where they are missing.
//!
//! In:  a path below `web/dist`. Out: its bytes and entity tag.
//! Not here: HTTP headers (`mod.rs`).

use std::borrow::Cow;
use std::fmt::Write as _;

use rust_embed::RustEmbed;

/// One file of the site.
pub(super) struct File {
    pub(super) bytes: Cow<'static, [u8]>,
    /// Quoted, strong.
    pub(super) etag: String,
}

/// Looks a file up by its path below `web/dist`.
pub(super) type Files = fn(&str) -> Option<File>;

#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Dist;

/// The files of this build.
pub(super) fn embedded(path: &str) -> Option<File> {
    let file = Dist::get(path)?;
    let hash = file.metadata.sha256_hash();
    Some(File {
        bytes: file.data,
        etag: etag(&hash),
    })
}

fn etag(hash: &[u8]) -> String {
    let mut tag = String::from("\"");
    for byte in hash.iter().take(8) {
        // Writing into a String cannot fail.
        write!(tag, "{byte:02x}").unwrap_or_default();
    }
    tag.push('"');
    tag
}

/// Served for a page that was not built; `channel_id` is HTML.
pub(super) fn placeholder(channel_id: &str) -> Vec<u8> {
    format!(
        "<!doctype html>\n<html lang=\"en\" data-state=\"not-built\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"dark light\">\n<title>Weir</title>\n\
         <h1>Weir is running</h1>\n\
         <p>The watch page was not built: run <code>make web</code>, then build the server again.</p>\n\
         <p>Any HLS player plays a live channel from\n\
         <code>/api/video/v1/&lt;region&gt;.&lt;account&gt;.channel.{channel_id}.m3u8</code> on this \
         server;\n<a href=\"/v1/live\">/v1/live</a> lists the channels that are live, each with its \
         <code>playbackUrl</code>.</p>\n</html>\n"
    )
    .into_bytes()
}

/// Served for unknown paths where the site was not built.
pub(super) const NOT_FOUND: &[u8] =
    b"<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
<meta name=\"color-scheme\" content=\"dark light\">\n<title>Not found</title>\n\
<h1>There is nothing here</h1>\n<p><a href=\"/\">See who is live</a> instead.</p>\n</html>\n";
