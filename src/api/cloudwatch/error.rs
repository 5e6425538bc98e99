//! What CloudWatch answers to what it cannot answer.
//!
//! In:  a name and words. Out: status, body, and the header for clients that know its older names.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::api::restjson;

/// Why a request is not answered.
#[derive(Debug)]
pub(super) struct Error {
    status: u16,
    /// As the model names it.
    name: &'static str,
    /// As it was named before there was a model.
    query_code: &'static str,
    message: String,
}

impl Error {
    fn bad(name: &'static str, query_code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: 400,
            name,
            query_code,
            message: message.into(),
        }
    }

    /// A member breaks a rule.
    pub(super) fn invalid(words: impl Into<String>) -> Self {
        let name = "InvalidParameterValueException";
        Self::bad(name, "InvalidParameterValue", words)
    }

    /// A member that has to be there is not.
    pub(super) fn missing(words: impl Into<String>) -> Self {
        let name = "MissingRequiredParameterException";
        Self::bad(name, "MissingParameter", words)
    }

    /// What was asked for does not go together, or is not to be had here.
    pub(super) fn validation(words: impl Into<String>) -> Self {
        Self::bad("ValidationError", "ValidationError", words)
    }

    /// Not a token of this listing.
    pub(super) fn token() -> Self {
        let words = "NextToken must be one that this operation returned";
        Self::bad("InvalidNextToken", "InvalidNextToken", words)
    }

    /// The input is not of its shape.
    pub(super) fn malformed(words: &str) -> Self {
        Self::bad("SerializationException", "MalformedInput", words)
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(super) fn body(&self) -> Value {
        json!({"__type": self.name, "message": self.message})
    }

    #[expect(clippy::unnecessary_wraps, reason = "as the header is: there or not")]
    pub(super) fn query_error(&self) -> Option<String> {
        let whose = if self.status < 500 {
            "Sender"
        } else {
            "Receiver"
        };
        Some(format!("{};{whose}", self.query_code))
    }
}

impl From<restjson::Error> for Error {
    fn from(error: restjson::Error) -> Self {
        Self {
            status: error.code.status(),
            name: error.code.name(),
            query_code: error.code.name(),
            message: error.message,
        }
    }
}
