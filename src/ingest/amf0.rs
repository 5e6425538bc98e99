//! AMF0 values: reading what encoders put into commands and metadata.
//!
//! In:  a message's payload. Out: its values, or an error, after which the message is ignored.
//! Not here: writing (`rml_amf0` in `session`); AMF3.
//! Read: Adobe AMF0 specification (2007).
//!
//! Bounds: nesting of 16, 1024 values, strings of 64 KiB. Reading is recursive, which the nesting
//! limit makes safe.

use bytes::Buf;

/// Deepest nesting of objects and arrays.
pub const MAX_DEPTH: usize = 16;
/// Most values in one message, nested ones counted.
pub const MAX_VALUES: usize = 1024;
/// Longest string.
pub const MAX_STRING_BYTES: usize = 64 * 1024;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A double; RTMP has no other number.
    Number(f64),
    /// A boolean.
    Boolean(bool),
    /// A string, long string or XML document; invalid UTF-8 is replaced.
    String(String),
    /// An object, typed object or ECMA array, in the order sent.
    Object(Vec<(String, Self)>),
    /// A strict array.
    Array(Vec<Self>),
    /// Milliseconds since 1970; the time zone field is reserved.
    Date(f64),
    /// Null, undefined, "unsupported", or a reference to an earlier value.
    Null,
}

impl Value {
    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The named property of an object.
    pub fn property(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(properties) => properties
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }
}

/// Why a payload could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The payload ends inside a value.
    #[error("AMF0 value is cut short")]
    Truncated,
    /// A type that AMF0 does not have, or that only players of the past had.
    #[error("AMF0 type {0:#04x} is unknown")]
    UnknownType(u8),
    /// The rest is AMF3.
    #[error("payload switches to AMF3")]
    Amf3,
    /// Nested deeper than any encoder does.
    #[error("AMF0 nesting is deeper than {MAX_DEPTH}")]
    TooDeep,
    /// More values than any encoder sends.
    #[error("more than {MAX_VALUES} AMF0 values")]
    TooManyValues,
    /// A string too long.
    #[error("AMF0 string is longer than {MAX_STRING_BYTES} bytes")]
    StringTooLong,
}

/// Reads all values of a payload.
pub fn parse(payload: &[u8]) -> Result<Vec<Value>, Error> {
    let mut reader = Reader {
        rest: payload,
        values_left: MAX_VALUES,
    };
    let mut values = Vec::new();
    while !reader.rest.is_empty() {
        values.push(reader.value(0)?);
    }
    Ok(values)
}

struct Reader<'a> {
    rest: &'a [u8],
    values_left: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        self.values_left = self
            .values_left
            .checked_sub(1)
            .ok_or(Error::TooManyValues)?;
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        Ok(match self.u8()? {
            0x00 => Value::Number(self.number()?),
            0x01 => Value::Boolean(self.u8()? != 0),
            0x02 => Value::String(self.short_string()?),
            0x03 => self.object(depth)?,
            0x05 | 0x06 | 0x0D => Value::Null,
            0x07 => {
                self.u16()?;
                Value::Null
            }
            0x08 => {
                // The count of an ECMA array is a hint; the end marker counts.
                self.u32()?;
                self.object(depth)?
            }
            0x0A => self.array(depth)?,
            0x0B => {
                let millis = self.number()?;
                self.u16()?;
                Value::Date(millis)
            }
            0x0C | 0x0F => Value::String(self.long_string()?),
            0x10 => {
                self.short_string()?;
                self.object(depth)?
            }
            0x11 => return Err(Error::Amf3),
            unknown => return Err(Error::UnknownType(unknown)),
        })
    }

    /// Properties up to the end marker, or to the end of the payload: some encoders forget it.
    fn object(&mut self, depth: usize) -> Result<Value, Error> {
        let mut properties = Vec::new();
        while !self.rest.is_empty() {
            if let Some(after) = self.rest.strip_prefix(&[0, 0, 9]) {
                self.rest = after;
                break;
            }
            let key = self.short_string()?;
            properties.push((key, self.value(depth.saturating_add(1))?));
        }
        Ok(Value::Object(properties))
    }

    fn array(&mut self, depth: usize) -> Result<Value, Error> {
        let mut values = Vec::new();
        for _ in 0..self.u32()? {
            values.push(self.value(depth.saturating_add(1))?);
        }
        Ok(Value::Array(values))
    }

    fn short_string(&mut self) -> Result<String, Error> {
        let len = self.u16()?;
        self.string(usize::from(len))
    }

    fn long_string(&mut self) -> Result<String, Error> {
        let len = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        self.string(len)
    }

    fn string(&mut self, len: usize) -> Result<String, Error> {
        if len > MAX_STRING_BYTES {
            return Err(Error::StringTooLong);
        }
        let (text, rest) = self.rest.split_at_checked(len).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn u8(&mut self) -> Result<u8, Error> {
        self.rest.try_get_u8().map_err(|_| Error::Truncated)
    }

    fn u16(&mut self) -> Result<u16, Error> {
        self.rest.try_get_u16().map_err(|_| Error::Truncated)
    }

    fn u32(&mut self) -> Result<u32, Error> {
        self.rest.try_get_u32().map_err(|_| Error::Truncated)
    }

    fn number(&mut self) -> Result<f64, Error> {
        self.rest.try_get_f64().map_err(|_| Error::Truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Value {
        Value::String(value.to_owned())
    }

    #[test]
    fn reads_every_type() {
        let object = Value::Object(vec![("a".to_owned(), Value::Boolean(true))]);
        let cases: [(&[u8], Value); 14] = [
            (
                &[0, 0x40, 0x09, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18],
                Value::Number(std::f64::consts::PI),
            ),
            (&[1, 7], Value::Boolean(true)),
            (b"\x02\x00\x04live", text("live")),
            (b"\x02\x00\x01\xff", text("\u{fffd}")),
            (b"\x03\x00\x01a\x01\x01\x00\x00\x09", object.clone()),
            (b"\x03\x00\x01a\x01\x01", object.clone()),
            (&[5], Value::Null),
            (&[6], Value::Null),
            (&[7, 0, 1], Value::Null),
            (
                b"\x08\x00\x00\x00\x63\x00\x01a\x01\x01\x00\x00\x09",
                object.clone(),
            ),
            (
                &[0x0A, 0, 0, 0, 2, 5, 1, 0],
                Value::Array(vec![Value::Null, Value::Boolean(false)]),
            ),
            (&[0x0B, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Value::Date(0.0)),
            (b"\x0C\x00\x00\x00\x02hi", text("hi")),
            (b"\x10\x00\x01T\x00\x01a\x01\x01\x00\x00\x09", object),
        ];
        for (bytes, value) in cases {
            assert_eq!(parse(bytes), Ok(vec![value]), "{bytes:x?}");
        }
        assert_eq!(parse(&[]), Ok(vec![]));
    }

    #[test]
    fn refuses_what_it_cannot_bound_or_know() {
        let nested_objects = b"\x03\x00\x01a".repeat(4000);
        let nested_arrays = [0x0A, 0, 0, 0, 1].repeat(10_000);
        let nulls = [5; MAX_VALUES + 1];
        let huge_array = [&[0x0A, 0xff, 0xff, 0xff, 0xff][..], &[5; 2000]].concat();
        let cases: [(&[u8], Error); 9] = [
            (&nested_objects, Error::TooDeep),
            (&nested_arrays, Error::TooDeep),
            (&nulls, Error::TooManyValues),
            (&huge_array, Error::TooManyValues),
            (&[0x0C, 0, 1, 0, 1], Error::StringTooLong),
            (&[0x11, 0], Error::Amf3),
            (&[0x42], Error::UnknownType(0x42)),
            (&[0, 1, 2], Error::Truncated),
            (b"\x02\x00\x05live", Error::Truncated),
        ];
        for (bytes, error) in cases {
            assert_eq!(parse(bytes), Err(error), "{:x?}", bytes.get(..8));
        }
    }

    #[test]
    fn nesting_up_to_the_limit_is_fine() {
        let arrays = |n: usize| [&[0x0A, 0, 0, 0, 1].repeat(n)[..], &[5]].concat();
        assert!(parse(&arrays(MAX_DEPTH)).is_ok());
        assert_eq!(parse(&arrays(MAX_DEPTH + 1)), Err(Error::TooDeep));
    }

    proptest::proptest! {
        #[test]
        fn survives_any_bytes(bytes in proptest::collection::vec(0u8..0x14, 0..500)) {
            drop(parse(&bytes));
        }
    }
}
