//! `weir check-stream URL`: the rules of low-latency HLS, on any server's stream.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use url::Url;

use super::to_json;
use crate::base::output::print;
use crate::conformance::{self, Options};

/// What `--help` says behind the options.
const MORE: &str = "\
Follows every rendition by blocking reload as a player does, fetches hinted and listed parts, segments and
initialization sections, sends odd requests at the side, and goes by 64 numbered rules from RFC 8216bis and Apple's
authoring specification; the report says which were judged. Plain HLS, ended streams and VOD are judged by what applies.

A finding has a rule's number, a level (must: the specification demands it; should: it advises it; practice: players
are known to stumble over it), a stable kind, the rendition, the place (MSN.part, MSN or line), the evidence of its
first time, and a count. Parts are due one PART-TARGET after each other and segments 1.5 target durations, plus the
slack and the delay of this program's own timers; later than another PART-TARGET is a must. An outage up to
--outage-seconds, a 503 for a reload, and a stream that goes on behind a discontinuity or a gap are notes; a hole before
those is a should beyond what players hold back, a must beyond three target durations. A live playlist that is gone for
good without ENDLIST is a must. What has left a playlist is asked for again as long as the check lasts: a longer one sees more.

Exit code: 0 no must is broken, 1 one is, or nothing could be checked, 2 wrong usage.

JSON: url, lasted_ms, slack_ms, own_delay_ms, renditions [{rendition, url, segments, parts}],
findings [{rule, level, kind, rendition, place, text, first_seen_ms, count}],
notes [{rendition, text, first_seen_ms, count}], rules [{rule, title, outcome: held | broken | not-applicable |
unjudged, why}], summary {must, should, practice}.";

#[derive(Debug, Args)]
#[command(after_help = MORE)]
pub(super) struct Arguments {
    /// Multivariant or media playlist.
    #[arg(value_parser = http_url)]
    url: Url,
    /// How long a live stream is followed.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// What network and scheduling may add to a delay before it counts.
    #[arg(long, value_name = "MS", default_value_t = 150, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    slack_ms: u64,
    /// How long the server may be unreachable before that breaks a rule; also how long a stream is waited for.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    outage_seconds: u64,
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
}

fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(format!("{other} is neither http nor https")),
    }
}

/// Checks and prints; code 1 if a must is broken.
pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let report = conformance::check(Options {
        url: arguments.url,
        duration: Duration::from_secs(arguments.seconds),
        slack: Duration::from_millis(arguments.slack_ms),
        outage: Duration::from_secs(arguments.outage_seconds),
    })
    .await?;
    print(&if arguments.json {
        to_json(&report)?
    } else {
        report.to_string()
    })?;
    Ok(if report.is_conformant() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
