//! What a request cannot have, in AWS's words.
//!
//! In:  a code and a message. Out: the status, the header and the body that every SDK reads.
//! Clients of IVS look for the text in `exceptionMessage`, those of the chat service in `message`.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::model;
use crate::model::repository;

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Defines the codes, each with its name and status.
macro_rules! codes {
    ($( $(#[$meta:meta])* $code:ident = $name:literal, $status:literal; )+) => {
        /// An error code of AWS.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $( $(#[$meta])* $code, )+ }

        impl Code {
            /// As it stands in the answer.
            pub fn name(self) -> &'static str {
                match self { $( Self::$code => $name, )+ }
            }

            /// The status of the answer.
            pub(in crate::api) fn status(self) -> u16 {
                match self { $( Self::$code => $status, )+ }
            }
        }
    };
}

codes! {
    /// A member of the request breaks a rule.
    Validation = "ValidationException", 400;
    /// Not HTTP as it should be.
    MalformedHttpRequest = "MalformedHttpRequestException", 400;
    /// As many as may be are there.
    ServiceQuotaExceeded = "ServiceQuotaExceededException", 402;
    /// The key may not.
    AccessDenied = "AccessDeniedException", 403;
    /// Not signed.
    MissingAuthenticationToken = "MissingAuthenticationTokenException", 403;
    /// Signed in part.
    IncompleteSignature = "IncompleteSignature", 403;
    /// Signed by nobody known.
    UnrecognizedClient = "UnrecognizedClientException", 403;
    /// Signed otherwise.
    InvalidSignature = "InvalidSignatureException", 403;
    /// Signed in a session that is over.
    ExpiredToken = "ExpiredTokenException", 403;
    /// Something that is named does not exist.
    ResourceNotFound = "ResourceNotFoundException", 404;
    /// The channel has no stream.
    ChannelNotBroadcasting = "ChannelNotBroadcasting", 404;
    /// No such operation.
    UnknownOperation = "UnknownOperationException", 404;
    /// The body came too slowly.
    RequestTimeout = "RequestTimeoutException", 408;
    /// What is there does not allow it.
    Conflict = "ConflictException", 409;
    /// The body is too large.
    RequestEntityTooLarge = "RequestEntityTooLargeException", 413;
    /// Too often.
    Throttling = "ThrottlingException", 429;
    /// A fault of this server.
    InternalServer = "InternalServerException", 500;
    /// The database does not answer.
    ServiceUnavailable = "ServiceUnavailable", 503;
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
}

impl Error {
    /// An error with these words.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }

    /// A member breaks a rule that the model does not state.
    pub fn invalid(member: &str, rule: impl std::fmt::Display) -> Self {
        Self::new(
            Code::Validation,
            format!(
                "1 validation error detected: Value at '{member}' failed to satisfy constraint: {rule}"
            ),
        )
    }

    /// `what` does not exist.
    pub fn not_found(what: &str) -> Self {
        Self::new(
            Code::ResourceNotFound,
            format!("Resource: {what} not found"),
        )
    }
}

impl From<repository::Error> for Error {
    fn from(error: repository::Error) -> Self {
        use repository::Error as E;
        let code = match &error {
            E::NotFound(_) => Code::ResourceNotFound,
            E::Exists | E::InUse => Code::Conflict,
            E::Full(_) => Code::ServiceQuotaExceeded,
            E::Tags(_) => Code::Validation,
            E::Database(_) => {
                tracing::error!(%error, "the database failed a request");
                return Self::new(Code::ServiceUnavailable, "the database failed; try again");
            }
            _ => {
                tracing::error!(%error, "a request met what is stored");
                return Self::new(Code::InternalServer, "what is stored cannot be read");
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<model::channel::Invalid> for Error {
    fn from(invalid: model::channel::Invalid) -> Self {
        Self::new(Code::Validation, invalid.to_string())
    }
}

impl From<model::tags::Invalid> for Error {
    fn from(invalid: model::tags::Invalid) -> Self {
        Self::invalid("tags", invalid)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let body = json!({
            "__type": self.code.name(),
            "message": self.message,
            "exceptionMessage": self.message,
        });
        let mut response = body.to_string().into_response();
        *response.status_mut() =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(ERROR_TYPE, HeaderValue::from_static(self.code.name()));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
