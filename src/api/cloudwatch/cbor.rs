//! CBOR (RFC 8949), as the values that JSON has and points in time.
//!
//! In:  bytes. Out: the same as JSON, and back. A point in time is a number of seconds with tag 1; in an output
//! the members with these names are such.

use ciborium::Value as Cbor;
use serde_json::{Map, Number, Value};

/// The tag of a number of seconds since 1970.
const TIME: u64 = 1;
/// How deep an input may be.
const MAX_DEPTH: usize = 32;

/// The value that `bytes` hold; none if it is not one that JSON has, too.
pub(super) fn read(bytes: &[u8]) -> Option<Value> {
    if bytes.is_empty() {
        return Some(Value::Object(Map::new()));
    }
    let value = ciborium::de::from_reader_with_recursion_limit(bytes, MAX_DEPTH).ok()?;
    to_json(value)
}

fn to_json(value: Cbor) -> Option<Value> {
    Some(match value {
        Cbor::Null => Value::Null,
        Cbor::Bool(is) => Value::Bool(is),
        Cbor::Integer(n) => Value::from(i64::try_from(n).ok()?),
        Cbor::Float(x) => Value::Number(Number::from_f64(x)?),
        Cbor::Text(text) => Value::String(text),
        Cbor::Tag(TIME, seconds) => to_json(*seconds)?,
        Cbor::Array(items) => items.into_iter().map(to_json).collect::<Option<_>>()?,
        Cbor::Map(members) => {
            let member =
                |(name, value): (Cbor, Cbor)| Some((name.into_text().ok()?, to_json(value)?));
            members.into_iter().map(member).collect::<Option<_>>()?
        }
        _ => return None,
    })
}

/// An output as bytes.
pub(super) fn write(value: Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    ciborium::into_writer(&from_json(value, false), &mut bytes).ok();
    bytes
}

fn from_json(value: Value, is_time: bool) -> Cbor {
    match value {
        Value::Null => Cbor::Null,
        Value::Bool(is) => Cbor::Bool(is),
        Value::Number(n) if is_time => {
            Cbor::Tag(TIME, Box::new(Cbor::Float(n.as_f64().unwrap_or_default())))
        }
        Value::Number(n) => n
            .as_i64()
            .map_or_else(|| Cbor::Float(n.as_f64().unwrap_or_default()), Cbor::from),
        Value::String(text) => Cbor::Text(text),
        Value::Array(items) => {
            let items = items.into_iter().map(|item| from_json(item, is_time));
            Cbor::Array(items.collect())
        }
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| {
                let is_time = matches!(&*name, "Timestamp" | "Timestamps");
                (Cbor::Text(name), from_json(value, is_time))
            });
            Cbor::Map(members.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_output_is_what_a_client_sends_back() {
        let value = json!({"Timestamps": [60, 120], "Values": [1.5, 2.0], "Label": "é", "More": {"Is": true}});
        let bytes = write(value.clone());
        let expected = json!({"Timestamps": [60.0, 120.0], "Values": [1.5, 2.0], "Label": "é", "More": {"Is": true}});
        assert_eq!(read(&bytes), Some(expected));
        // Tag 1, a float as short as it can be: RFC 8949, 3.4.2.
        let time = [0xc1, 0xf9, 0x53, 0x80];
        assert!(bytes.windows(time.len()).any(|it| it == time), "{bytes:x?}");
    }

    #[test]
    fn what_json_has_not_is_refused() {
        assert_eq!(read(&[]), Some(json!({})));
        let deep = [0x81; 10_000];
        for bytes in [
            &[0x41, 0][..],
            &[0xa1, 1, 1],
            &[0xf9, 0x7e, 0],
            &[0x82, 1],
            &deep,
        ] {
            assert_eq!(read(bytes), None, "{bytes:x?}");
        }
    }
}
