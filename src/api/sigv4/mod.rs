//! AWS Signature Version 4: who sent a request, and that nothing of it was changed on the way.
//!
//! In:  a request's head and body, the stored access keys. Out: the caller, or a refusal in AWS's words.
//! The cores (`canonical`, `verify`) work on values; `layer` awaits the database.
//! Not here: what the caller may do (`restjson`).
//! Read: "Create a signed AWS API request" of the IAM user guide.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod canonical;
pub mod verify;
pub(super) mod layer;

use std::fmt::Write as _;

/// Lower-case hexadecimal, as signatures are written.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing to a string does not fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

/// The bytes that hexadecimal digits stand for.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from((digit(high)? << 4) | digit(low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}
