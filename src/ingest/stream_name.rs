//! Where encoders hide the stream key and its parameters: application, `tcUrl`, stream name.
//!
//! In:  the three strings as sent. Out: application, stream key, query; percent-decoded once.
//! Not here: what the parameters mean.

use percent_encoding::percent_decode_str;

/// Most query parameters that are kept.
const MAX_PARAMETERS: usize = 32;

/// The parts of a publish request's address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StreamName {
    pub(super) app: String,
    pub(super) stream_key: String,
    pub(super) query: Vec<(String, String)>,
}

/// Takes the three strings apart. A parameter that stands in two of them, as `tcUrl` repeats the
/// application, is given once.
pub(super) fn parse(app: &str, tc_url: &str, name: &str) -> StreamName {
    let (stream_key, name_query) = split_query(name);
    let (app, app_query) = split_query(app);
    let (_, url_query) = split_query(tc_url);
    let mut query: Vec<(String, String)> = Vec::new();
    for pair in [name_query, app_query, url_query]
        .iter()
        .flat_map(|q| q.split('&'))
    {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let pair = (decode(key), decode(value));
        if !pair.0.is_empty() && query.len() < MAX_PARAMETERS && !query.contains(&pair) {
            query.push(pair);
        }
    }
    StreamName {
        app: decode(app.trim_end_matches('/')),
        stream_key: decode(stream_key),
        query,
    }
}

fn split_query(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_parameters_wherever_encoders_put_them() {
        // application, tcUrl, stream name: application, stream key, query.
        let cases = [
            ("live", "rtmp://h/live", "key", "live key"),
            (
                "live",
                "rtmp://h/live",
                "key?token=a%2Bb+c&x",
                "live key token=a+b+c x=",
            ),
            ("live?t=1", "rtmp://h/live?t=1", "key", "live key t=1"),
            ("live", "rtmp://h/live?t=1", "key?t=2", "live key t=2 t=1"),
            ("live/", "", "k%65y%253F?&&=v", "live key%3F"),
            ("app/inst?a=b=c", "", "%ff", "app/inst \u{fffd} a=b=c"),
        ];
        for (app, tc_url, name, expected) in cases {
            let parsed = parse(app, tc_url, name);
            let mut words = vec![parsed.app, parsed.stream_key];
            words.extend(
                parsed
                    .query
                    .iter()
                    .map(|(key, value)| format!("{key}={value}")),
            );
            assert_eq!(words.join(" "), expected);
        }
    }

    #[test]
    fn keeps_a_bounded_number_of_parameters() {
        let name = (0..1000).fold(String::new(), |name, i| format!("{name}&p{i}="));
        assert_eq!(
            parse("", "", &format!("k?{name}")).query.len(),
            MAX_PARAMETERS
        );
    }
}
