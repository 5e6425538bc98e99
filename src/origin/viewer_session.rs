//! Viewer sessions of protected channels: what was allowed at the start, sealed into every URL.
//!
//! In:  the server's secret, a channel, what a viewer may. Out: a path component that nobody else can make; and from
//! such a component again what the viewer may, without a table: it outlives the process. Pure.
//! Not here: sessions of channels that everybody may watch, which are random and mean nothing.
//! Read: RFC 2104 (HMAC). The seal is 128 bits of HMAC-SHA256 over the contents and the channel.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac::{self, HMAC_SHA256};
use subtle::ConstantTimeEq as _;

use super::playback_token::MaximumResolution;
use crate::base::clock::WallTime;

/// How long a session lasts: as long as the longest stream.
pub const LIFETIME_S: u32 = 48 * 3600;
const ID_BYTES: usize = 9;
const CONTENT_BYTES: usize = ID_BYTES + 1 + 4 + 8 + 8 + 8;
const SEAL_BYTES: usize = 16;
const BYTES: usize = CONTENT_BYTES + SEAL_BYTES;
/// Characters of a sealed session.
pub const CHARS: usize = BYTES / 3 * 4;

const HAS_TOKEN: u8 = 1;
const HAS_VIEWER: u8 = 2;
const HAS_ORIGIN: u8 = 4;
/// Above the flags: a maximum resolution, or 0.
const RESOLUTION_SHIFT: u8 = 3;

/// A text of which a session holds only this: equal texts have equal ones, and nobody can find others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(u64);

/// Whom a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The channel and the viewer's name.
    pub tag: Tag,
    /// Which of that viewer's tokens.
    pub version: i64,
}

/// What was allowed at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewerSession {
    /// Makes sessions differ that are alike.
    pub id: [u8; 9],
    /// When it began, in seconds since 1970.
    pub begun_s: u32,
    /// Whether it began with a playback token.
    pub has_token: bool,
    /// Whom that named.
    pub viewer: Option<Viewer>,
    /// Where all requests must come from.
    pub origin: Option<Tag>,
    /// The largest pictures.
    pub maximum_resolution: Option<MaximumResolution>,
}

impl ViewerSession {
    /// Whether it is over.
    pub fn is_over(&self, now: WallTime) -> bool {
        seconds(now).saturating_sub(self.begun_s) > LIFETIME_S
    }

    fn contents(&self) -> [u8; CONTENT_BYTES] {
        let flag = |is_set, flag: u8| if is_set { flag } else { 0 };
        let resolution = match self.maximum_resolution {
            None => 0,
            Some(MaximumResolution::Sd) => 1,
            Some(MaximumResolution::Hd) => 2,
            Some(MaximumResolution::FullHd) => 3_u8,
        };
        let flags = flag(self.has_token, HAS_TOKEN)
            | flag(self.viewer.is_some(), HAS_VIEWER)
            | flag(self.origin.is_some(), HAS_ORIGIN)
            | resolution << RESOLUTION_SHIFT;
        let viewer = self.viewer.map_or((0, 0), |it| (it.tag.0, it.version));
        let mut contents = [0; CONTENT_BYTES];
        let fields: [&[u8]; 6] = [
            &self.id,
            &[flags],
            &self.begun_s.to_be_bytes(),
            &viewer.0.to_be_bytes(),
            &viewer.1.to_be_bytes(),
            &self.origin.map_or(0, |tag| tag.0).to_be_bytes(),
        ];
        let mut rest = &mut contents[..];
        for field in fields {
            let (place, behind) = rest.split_at_mut(field.len());
            place.copy_from_slice(field);
            rest = behind;
        }
        contents
    }

    fn read(contents: &[u8; CONTENT_BYTES]) -> Option<Self> {
        let (id, rest) = contents.split_first_chunk()?;
        let ([flags], rest) = rest.split_first_chunk()?;
        let (begun_s, rest) = rest.split_first_chunk()?;
        let (viewer, rest) = rest.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (origin, _) = rest.split_first_chunk()?;
        let viewer = Viewer {
            tag: Tag(u64::from_be_bytes(*viewer)),
            version: i64::from_be_bytes(*version),
        };
        Some(Self {
            id: *id,
            begun_s: u32::from_be_bytes(*begun_s),
            has_token: flags & HAS_TOKEN != 0,
            viewer: (flags & HAS_VIEWER != 0).then_some(viewer),
            origin: (flags & HAS_ORIGIN != 0).then(|| Tag(u64::from_be_bytes(*origin))),
            maximum_resolution: match flags >> RESOLUTION_SHIFT {
                0 => None,
                1 => Some(MaximumResolution::Sd),
                2 => Some(MaximumResolution::Hd),
                _ => Some(MaximumResolution::FullHd),
            },
        })
    }
}

/// Seconds since 1970, for a session.
pub fn seconds(now: WallTime) -> u32 {
    u32::try_from(now.0.div_euclid(1000)).unwrap_or_default()
}

/// Seals sessions and opens them.
#[derive(Clone)]
pub struct Sealer {
    seals: hmac::Key,
    tags: hmac::Key,
}

impl Sealer {
    /// A sealer under `secret`, which is expected to be random and at least 32 bytes long.
    pub fn new(secret: &str) -> Self {
        let secret = hmac::Key::new(HMAC_SHA256, secret.as_bytes());
        let derived = |purpose: &str| {
            let key = hmac::sign(&secret, purpose.as_bytes());
            hmac::Key::new(HMAC_SHA256, key.as_ref())
        };
        Self {
            seals: derived("weir viewer sessions 1"),
            tags: derived("weir viewer tags 1"),
        }
    }

    /// The path component of a session on a channel.
    pub fn seal(&self, channel_id: &str, session: &ViewerSession) -> String {
        let contents = session.contents();
        let seal = self.seal_of(channel_id, &contents);
        URL_SAFE_NO_PAD.encode([&contents[..], &seal].concat())
    }

    /// The session of a path component, if it was sealed here for this channel.
    pub fn open(&self, channel_id: &str, text: &str) -> Option<ViewerSession> {
        let mut bytes = [0; BYTES];
        let is_whole = text.len() == CHARS;
        let length = is_whole.then(|| URL_SAFE_NO_PAD.decode_slice(text, &mut bytes));
        length?.ok().filter(|length| *length == BYTES)?;
        let (contents, seal) = bytes.split_first_chunk::<CONTENT_BYTES>()?;
        let expected = self.seal_of(channel_id, contents);
        bool::from(expected.ct_eq(seal)).then(|| ViewerSession::read(contents))?
    }

    /// The tag of a viewer of a channel.
    pub fn viewer(&self, channel_id: &str, name: &str) -> Tag {
        self.tag(&[b"viewer/", channel_id.as_bytes(), b"/", name.as_bytes()])
    }

    /// The tag of a web origin.
    pub fn origin(&self, origin: &str) -> Tag {
        self.tag(&[b"origin/", origin.as_bytes()])
    }

    fn tag(&self, parts: &[&[u8]]) -> Tag {
        let digest = digest(&self.tags, parts);
        let first = digest.as_ref().first_chunk();
        Tag(first.map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }

    fn seal_of(&self, channel_id: &str, contents: &[u8; CONTENT_BYTES]) -> [u8; SEAL_BYTES] {
        let digest = digest(&self.seals, &[contents, channel_id.as_bytes()]);
        let first = digest.as_ref().first_chunk();
        first.copied().unwrap_or_default()
    }
}

fn digest(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(masked)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: &str = "abcdABCDefgh";

    fn sealer() -> Sealer {
        Sealer::new("0123456789abcdef0123456789abcdef")
    }

    fn sessions() -> Vec<ViewerSession> {
        use MaximumResolution::{FullHd, Hd, Sd};
        let sealer = sealer();
        let plain = ViewerSession {
            id: [7; ID_BYTES],
            begun_s: 1_790_848_800,
            has_token: false,
            viewer: None,
            origin: None,
            maximum_resolution: None,
        };
        let viewer = |version| Viewer {
            tag: sealer.viewer(CHANNEL, "ann"),
            version,
        };
        let of_token = ViewerSession {
            has_token: true,
            ..plain
        };
        let mut all = vec![plain, of_token];
        all.extend([0, 1, -1, i64::MAX, i64::MIN].map(|version| ViewerSession {
            viewer: Some(viewer(version)),
            ..of_token
        }));
        all.extend([Sd, Hd, FullHd].map(|most| ViewerSession {
            maximum_resolution: Some(most),
            origin: Some(sealer.origin("https://a.example")),
            ..of_token
        }));
        all
    }

    #[test]
    fn what_was_sealed_is_opened() {
        for session in sessions() {
            let text = sealer().seal(CHANNEL, &session);
            assert_eq!(text.len(), CHARS);
            assert!(
                text.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            );
            assert_eq!(sealer().open(CHANNEL, &text), Some(session));
        }
    }

    #[test]
    fn whatever_is_changed_does_not_open() {
        let sealer = sealer();
        let text = sealer.seal(CHANNEL, &sessions()[2]);
        assert_eq!(sealer.open("abcdABCDefgi", &text), None);
        assert_eq!(Sealer::new("another secret").open(CHANNEL, &text), None);
        for at in 0..text.len() {
            for other in ["A", "B", "_", "=", "é"] {
                let mut bent = text.clone();
                bent.replace_range(at..=at, other);
                if bent != text {
                    assert_eq!(sealer.open(CHANNEL, &bent), None, "{bent}");
                }
            }
            assert_eq!(sealer.open(CHANNEL, &text[..at]), None);
        }
        assert_eq!(sealer.open(CHANNEL, &format!("{text}A")), None);
    }

    #[test]
    fn tags_tell_channels_viewers_and_origins_apart() {
        let sealer = sealer();
        let ann = sealer.viewer(CHANNEL, "ann");
        assert_eq!(ann, sealer.viewer(CHANNEL, "ann"));
        assert_ne!(ann, sealer.viewer(CHANNEL, "bob"));
        assert_ne!(ann, sealer.viewer("abcdABCDefgi", "ann"));
        assert_ne!(ann, Sealer::new("another secret").viewer(CHANNEL, "ann"));
        assert_ne!(sealer.origin("a"), sealer.origin("b"));
    }

    #[test]
    fn it_lasts_as_long_as_a_stream() {
        let session = sessions()[0];
        let at = |s: u32| WallTime(1000 * i64::from(session.begun_s + s));
        assert!(!session.is_over(at(0)));
        assert!(!session.is_over(at(LIFETIME_S)));
        assert!(session.is_over(at(LIFETIME_S + 1)));
        assert!(!session.is_over(WallTime(0)), "a clock that was set back");
    }
}
