//! What a receiver can check: that a post is ours, of this time, and unchanged. Pure.
//!
//! In:  the receiver's secret, an event's id and body, the time. Out: the value of `webhook-signature`.
//! Standard: Standard Webhooks 1.0, "Signature scheme", symmetric.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// `v1,` and the signature; none if the secret is not `whsec_` and Base64.
pub(super) fn sign(secret: &str, id: &str, timestamp_s: i64, body: &str) -> Option<String> {
    let key = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signature = hmac::sign(&key, format!("{id}.{timestamp_s}.{body}").as_bytes());
    Some(format!("v1,{}", STANDARD.encode(signature)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the standard's libraries test with.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let signature = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature.as_deref(), Some(expected));
        for secret in ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%", ""] {
            assert_eq!(sign(secret, "id", 0, ""), None, "{secret}");
        }
    }
}
