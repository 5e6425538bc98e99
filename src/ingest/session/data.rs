//! A publisher's data messages: what it says of its stream, and what it says to those who watch.
//!
//! In:  AMF0 payloads. Out: an [`Event`], or nothing: what is unknown, unreadable or too long is ignored.
//! `onMetaData` that describes the stream is the encoder's; any other is the publisher's own, like `onTextData`.

use serde_json::{Map, Number, Value as Json};

use super::Event;
use super::commands::parse;
use crate::ingest::amf0::Value;
use crate::ingest::media_queue::Metadata;

/// Most bytes of a text for viewers, as Amazon IVS has it.
const MAX_TEXT_BYTES: usize = 1024;
/// What an encoder says of its stream; one of these is always among it.
const DESCRIPTIONS: &[&str] = &[
    "width",
    "height",
    "framerate",
    "videocodecid",
    "videodatarate",
    "audiocodecid",
    "audiodatarate",
    "audiosamplerate",
    "encoder",
    "duration",
];

/// Reads a message, with or without `@setDataFrame`.
pub(super) fn read(kind: u8, body: &[u8]) -> Option<Event> {
    let values = parse(kind, body);
    let mut values = values
        .iter()
        .skip_while(|v| v.as_str() == Some("@setDataFrame"));
    let (name, content) = (values.next()?.as_str()?, values.next()?);
    match name {
        "onMetaData" if is_description(content) => Some(Event::Metadata(metadata(content))),
        "onMetaData" | "onTextData" | "onCuePoint" => text(content).map(Event::Text),
        _ => None,
    }
}

fn is_description(content: &Value) -> bool {
    let is_known = |name: &&str| content.property(name).is_some();
    matches!(content, Value::Object(all) if all.is_empty()) || DESCRIPTIONS.iter().any(is_known)
}

fn metadata(content: &Value) -> Metadata {
    let number = |name| {
        let number = content.property(name).and_then(Value::as_number);
        number.filter(|n| n.is_finite() && *n > 0.0)
    };
    Metadata {
        video_data_rate_kbps: number("videodatarate"),
        audio_data_rate_kbps: number("audiodatarate"),
        frame_rate: number("framerate"),
        width: number("width"),
        height: number("height"),
        encoder: content
            .property("encoder")
            .and_then(Value::as_str)
            .map(str::to_owned),
    }
}

/// A text as it is, the property `text` of an object, or else all of it as JSON.
fn text(content: &Value) -> Option<String> {
    let plain = content.property("text").unwrap_or(content).as_str();
    let text = match plain {
        Some(text) => text.to_owned(),
        None => json(content).to_string(),
    };
    (1..=MAX_TEXT_BYTES).contains(&text.len()).then_some(text)
}

/// AMF0's nesting is bounded, so this is.
fn json(value: &Value) -> Json {
    match value {
        Value::Number(number) | Value::Date(number) => whole(*number)
            .or_else(|| Number::from_f64(*number))
            .map_or(Json::Null, Json::Number),
        Value::Boolean(boolean) => Json::Bool(*boolean),
        Value::String(text) => Json::String(text.clone()),
        Value::Object(properties) => {
            let properties = properties.iter();
            Json::Object(
                properties
                    .map(|(name, value)| (name.clone(), json(value)))
                    .collect::<Map<_, _>>(),
            )
        }
        Value::Array(values) => Json::Array(values.iter().map(json).collect()),
        Value::Null => Json::Null,
    }
}

/// AMF0 has no integers; JSON's readers expect them to look like some.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn whole(number: f64) -> Option<Number> {
    let is_whole = number.fract() == 0.0 && number.abs() < 9e15;
    is_whole.then(|| Number::from(number as i64))
}

#[cfg(test)]
mod tests {
    use rml_amf0::Amf0Value;

    use super::super::wire::{object, text};
    use super::*;
    use crate::ingest::chunk::kind;

    fn said(values: &[Amf0Value]) -> Option<String> {
        match read(
            kind::DATA_AMF0,
            &rml_amf0::serialize(&values.to_vec()).unwrap(),
        ) {
            Some(Event::Text(text)) => Some(text),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_publisher_says_to_viewers() {
        let number = Amf0Value::Number;
        let name = |name| vec![text("@setDataFrame"), text(name)];
        let cases = [
            (text("a goal"), "a goal"),
            (
                object([("text", text("a goal")), ("language", text("eng"))]),
                "a goal",
            ),
            (object([("score", number(2.0))]), r#"{"score":2}"#),
            (object([("text", Amf0Value::Null)]), r#"{"text":null}"#),
            (
                Amf0Value::StrictArray(vec![
                    number(0.5),
                    Amf0Value::Boolean(true),
                    number(f64::NAN),
                ]),
                "[0.5,true,null]",
            ),
        ];
        for (content, expected) in cases {
            for event in ["onTextData", "onMetaData", "onCuePoint"] {
                let values = [name(event), vec![content.clone()]].concat();
                assert_eq!(said(&values).as_deref(), Some(expected), "{event}");
                assert_eq!(said(&values[1..]).as_deref(), Some(expected), "{event}");
            }
        }
        for ignored in [
            vec![text("onTextData")],
            vec![text("onTextData"), text("")],
            vec![text("onTextData"), text(&"a".repeat(MAX_TEXT_BYTES + 1))],
            vec![text("onStatus"), text("x")],
            vec![text("@setDataFrame")],
            vec![number(1.0), text("x")],
        ] {
            assert_eq!(said(&ignored), None);
        }
        assert!(read(kind::DATA_AMF0, b"\x02\x00").is_none());
    }

    #[test]
    fn what_an_encoder_says_of_its_stream_is_not_shown() {
        let values = vec![
            text("onMetaData"),
            object([("encoder", text("obs")), ("text", text("x"))]),
        ];
        let body = rml_amf0::serialize(&values).unwrap();
        let event = read(kind::DATA_AMF0, &body);
        assert!(matches!(event, Some(Event::Metadata(m)) if m.encoder.as_deref() == Some("obs")));
    }
}
