//! Who may watch what, as it is known now.
//!
//! In:  protected channels, their policies, public keys, revocations (`load`). Out: for each request whether it is let
//! in, at the price of two look-ups and no allocation. Pure. A channel that is not here may be watched by everybody.
//! Not here: reading tokens (`playback_token`), opening sessions (`viewer_session`).

use std::collections::HashMap;
use std::sync::Arc;

use super::countries::Country;
use super::origins::{Origins, is_let_in};
use crate::base::clock::WallTime;
use crate::model::playback::PlaybackRestrictionPolicy;
use crate::origin::playback_token::{self, VerifyingKey};
use crate::origin::viewer_session::{Sealer, Tag, Viewer, ViewerSession};

/// Most revocations that are remembered, the newest; a few megabytes.
const MOST_REVOCATIONS: usize = 1 << 18;

/// Why somebody may not watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A private channel, and no token.
    #[error("the channel is private: its playback URL needs a playback token")]
    NoToken,
    /// A token that is not good.
    #[error(transparent)]
    Token(#[from] playback_token::Invalid),
    /// A token for one use, again.
    #[error("the playback token was used already")]
    Used,
    /// The viewer's sessions were revoked.
    #[error("the viewer's sessions were revoked")]
    Revoked,
    /// The page may not play, or the request does not say which page it is.
    #[error("playback is not allowed from this origin")]
    Origin,
    /// The client's country is not among those allowed.
    #[error("playback is not allowed from this country")]
    Country,
    /// A URL of no viewer session.
    #[error("the URL belongs to no viewer session of this channel; begin with its playback URL")]
    Session,
    /// The token allows no rendition, or not this one.
    #[error("the playback token does not allow pictures of this size")]
    Resolution,
    /// Too many tokens to remember, or too many bad ones from the client's address.
    #[error("too many playback tokens; try again")]
    Busy,
}

impl Refusal {
    /// The word of it, for which the player of Amazon IVS has numbers of its own.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoToken | Self::Token(_) => "invalid_playback_auth_token",
            Self::Used | Self::Revoked | Self::Session => "playback_auth_error",
            Self::Origin | Self::Resolution => "unauthorized_entitlements",
            Self::Country => "content_geoblocked",
            Self::Busy => "busy",
        }
    }
}

/// A restriction policy as it is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// None: all.
    countries: Vec<Country>,
    /// None: all.
    origins: Option<Origins>,
    is_strict: bool,
}

impl From<&PlaybackRestrictionPolicy> for Policy {
    fn from(policy: &PlaybackRestrictionPolicy) -> Self {
        let codes = policy.allowed_countries.iter();
        let origins = policy.allowed_origins.iter().map(String::as_str);
        let has_origins = !policy.allowed_origins.is_empty();
        Self {
            countries: codes
                .filter_map(|code| code.as_bytes().try_into().ok())
                .collect(),
            origins: has_origins.then(|| Origins::new(origins)),
            is_strict: policy.enable_strict_origin_enforcement,
        }
    }
}

/// What holds for a protected channel.
#[derive(Clone, Debug, Default)]
pub struct ChannelRule {
    /// Whether a token is needed.
    pub is_private: bool,
    /// Its restriction policy.
    pub policy: Option<Arc<Policy>>,
}

impl ChannelRule {
    /// Whether a client of that country and origin may begin to watch.
    pub fn admit(&self, country: Option<Country>, origin: Option<&str>) -> Result<(), Refusal> {
        let Some(policy) = &self.policy else {
            return Ok(());
        };
        let is_abroad = |country| !policy.countries.contains(&country);
        if !policy.countries.is_empty() && country.is_some_and(is_abroad) {
            return Err(Refusal::Country);
        }
        if !is_let_in(policy.origins.as_ref(), policy.is_strict, origin) {
            return Err(Refusal::Origin);
        }
        Ok(())
    }

    /// Whether pages are told apart at the start, and with each request.
    pub fn restricts_origins(&self) -> (bool, bool) {
        let policy = self.policy.as_deref();
        let is_strict = policy.is_some_and(|policy| policy.is_strict);
        let origins = policy.and_then(|policy| policy.origins.as_ref());
        (
            is_strict || origins.is_some_and(|origins| !origins.is_any()),
            is_strict,
        )
    }
}

/// Up to which version a viewer's tokens are good no more, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// This version, and lower ones.
    pub version: i64,
    /// Since when.
    pub at: WallTime,
}

/// Revocations by viewer: the newest of them.
#[derive(Clone, Debug, Default)]
pub struct Revocations(HashMap<Tag, Revoked>);

impl Revocations {
    /// Adds one.
    pub fn add(&mut self, viewer: Tag, revoked: Revoked) {
        self.0.insert(viewer, revoked);
        if self.0.len() > MOST_REVOCATIONS + MOST_REVOCATIONS / 8 {
            let mut times: Vec<_> = self.0.values().map(|revoked| revoked.at).collect();
            let (_, oldest, _) = times.select_nth_unstable(MOST_REVOCATIONS / 8);
            let oldest = *oldest;
            self.0.retain(|_, revoked| revoked.at >= oldest);
        }
    }

    /// What is known of a viewer.
    pub fn get(&self, viewer: Tag) -> Option<Revoked> {
        self.0.get(&viewer).copied()
    }

    /// Whether the viewer's tokens of that version are good no more.
    pub fn holds(&self, viewer: &Viewer) -> bool {
        let revoked = self.get(viewer.tag);
        revoked.is_some_and(|revoked| viewer.version <= revoked.version)
    }
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The protected channels by their resource ids.
    pub channels: HashMap<String, ChannelRule>,
    /// What tokens are signed against.
    pub keys: Vec<VerifyingKey>,
    /// Who is to watch no more; shared, for it is large and seldom changes.
    pub revocations: Arc<Revocations>,
}

impl Rules {
    /// Whether a media request is let in: nothing if everybody is, else the session that it belongs to.
    pub fn admit(
        &self,
        sealer: &Sealer,
        (channel_id, session): (&str, &str),
        origin: Option<&str>,
        now: WallTime,
    ) -> Result<Option<ViewerSession>, Refusal> {
        let Some(rule) = self.channels.get(channel_id) else {
            return Ok(None);
        };
        let session = sealer.open(channel_id, session).ok_or(Refusal::Session)?;
        if session.is_over(now) || (rule.is_private && !session.has_token) {
            return Err(Refusal::Session);
        }
        self.judge(&session)?;
        let is_own = |tag| origin.is_some_and(|origin| sealer.origin(origin) == tag);
        if !session.origin.is_none_or(is_own) {
            return Err(Refusal::Origin);
        }
        match &rule.policy {
            Some(policy) if policy.is_strict => {
                let is_let_in = is_let_in(policy.origins.as_ref(), true, origin);
                is_let_in.then_some(Some(session)).ok_or(Refusal::Origin)
            }
            _ => Ok(Some(session)),
        }
    }

    /// Whether a session that was let in may go on.
    pub fn judge(&self, session: &ViewerSession) -> Result<(), Refusal> {
        let is_revoked = |viewer| self.revocations.holds(viewer);
        if session.viewer.as_ref().is_some_and(is_revoked) {
            return Err(Refusal::Revoked);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: &str = "abcdABCDefgh";
    const NOW: WallTime = WallTime(1_790_848_800_000);

    fn policy(countries: &[&str], origins: &[&str], is_strict: bool) -> Policy {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Policy::from(&PlaybackRestrictionPolicy {
            name: String::new(),
            allowed_countries: own(countries),
            allowed_origins: own(origins),
            enable_strict_origin_enforcement: is_strict,
        })
    }

    fn rule(is_private: bool, policy: Option<Policy>) -> ChannelRule {
        ChannelRule {
            is_private,
            policy: policy.map(Arc::new),
        }
    }

    #[test]
    fn a_policy_names_countries_and_origins() {
        let (kr, us) = (Some(*b"KR"), Some(*b"US"));
        let (a, b) = (Some("https://a.example"), Some("https://b.example"));
        let geo = policy(&["KR", "JP"], &[], false);
        let pages = policy(&[], &["https://a.example"], false);
        let strict = policy(&["KR"], &["https://a.example"], true);
        for (policy, country, origin, expected) in [
            (None, us, b, Ok(())),
            (Some(&geo), kr, b, Ok(())),
            (Some(&geo), us, b, Err(Refusal::Country)),
            // Nobody knows where.
            (Some(&geo), None, None, Ok(())),
            (Some(&pages), us, a, Ok(())),
            (Some(&pages), us, b, Err(Refusal::Origin)),
            (Some(&pages), us, None, Ok(())),
            (Some(&strict), kr, a, Ok(())),
            (Some(&strict), kr, None, Err(Refusal::Origin)),
            (Some(&strict), us, None, Err(Refusal::Country)),
        ] {
            let rule = rule(false, policy.cloned());
            assert_eq!(
                rule.admit(country, origin),
                expected,
                "{policy:?} {country:?} {origin:?}"
            );
        }
    }

    fn session(has_token: bool) -> ViewerSession {
        ViewerSession {
            id: [1; 9],
            begun_s: 1_790_848_800,
            has_token,
            viewer: None,
            origin: None,
            maximum_resolution: None,
        }
    }

    struct Stage {
        sealer: Sealer,
        rules: Rules,
    }

    impl Stage {
        fn new(rule: Option<ChannelRule>) -> Self {
            let channels = rule
                .map(|rule| (CHANNEL.to_owned(), rule))
                .into_iter()
                .collect();
            let rules = Rules {
                channels,
                ..Rules::default()
            };
            let sealer = Sealer::new("secret");
            Self { sealer, rules }
        }

        fn revoke(&mut self, name: &str, version: i64) {
            let viewer = self.sealer.viewer(CHANNEL, name);
            let revoked = Revoked { version, at: NOW };
            Arc::make_mut(&mut self.rules.revocations).add(viewer, revoked);
        }

        fn of(&self, name: &str, version: i64) -> ViewerSession {
            let tag = self.sealer.viewer(CHANNEL, name);
            ViewerSession {
                viewer: Some(Viewer { tag, version }),
                ..session(true)
            }
        }

        fn asks(&self, session: &ViewerSession, origin: Option<&str>) -> Result<(), Refusal> {
            let text = self.sealer.seal(CHANNEL, session);
            let admitted = self
                .rules
                .admit(&self.sealer, (CHANNEL, &text), origin, NOW);
            admitted.map(|admitted| {
                let is_open = self.rules.channels.is_empty();
                assert_eq!(admitted, (!is_open).then_some(*session));
            })
        }
    }

    #[test]
    fn a_protected_channel_takes_only_sessions_that_began_as_it_asks() {
        let public = Stage::new(None);
        assert_eq!(public.asks(&session(false), None), Ok(()));
        let anything = public
            .rules
            .admit(&public.sealer, (CHANNEL, "anything"), None, NOW);
        assert_eq!(anything, Ok(None));

        let private = Stage::new(Some(rule(true, None)));
        assert_eq!(private.asks(&session(true), None), Ok(()));
        assert_eq!(private.asks(&session(false), None), Err(Refusal::Session));
        let made_up = private
            .rules
            .admit(&private.sealer, (CHANNEL, "anything"), None, NOW);
        assert_eq!(made_up, Err(Refusal::Session));
        let late = WallTime(NOW.0 + 49 * 3_600_000);
        let text = private.sealer.seal(CHANNEL, &session(true));
        let over = private
            .rules
            .admit(&private.sealer, (CHANNEL, &text), None, late);
        assert_eq!(over, Err(Refusal::Session));

        let restricted = Stage::new(Some(rule(false, Some(policy(&["KR"], &[], false)))));
        assert_eq!(restricted.asks(&session(false), None), Ok(()));
    }

    #[test]
    fn who_enforces_origins_strictly_does_with_each_request() {
        let (a, b) = (Some("https://a.example"), Some("https://b.example"));
        let lax = Stage::new(Some(rule(
            false,
            Some(policy(&[], &["https://a.example"], false)),
        )));
        assert_eq!(
            lax.asks(&session(false), b),
            Ok(()),
            "judged at the start only"
        );
        let strict = Stage::new(Some(rule(
            false,
            Some(policy(&[], &["https://a.example"], true)),
        )));
        assert_eq!(strict.asks(&session(false), a), Ok(()));
        for origin in [b, None] {
            assert_eq!(strict.asks(&session(false), origin), Err(Refusal::Origin));
        }
        let private = Stage::new(Some(rule(true, None)));
        let bound = ViewerSession {
            origin: Some(private.sealer.origin("https://a.example")),
            ..session(true)
        };
        assert_eq!(private.asks(&bound, a), Ok(()));
        for origin in [b, None] {
            assert_eq!(private.asks(&bound, origin), Err(Refusal::Origin));
        }
    }

    #[test]
    fn a_revocation_holds_for_a_viewer_up_to_a_version() {
        let mut stage = Stage::new(Some(rule(true, None)));
        let (ann, newer, bob) = (stage.of("ann", 3), stage.of("ann", 4), stage.of("bob", 0));
        assert_eq!(stage.asks(&ann, None), Ok(()));
        stage.revoke("ann", 3);
        assert_eq!(stage.asks(&ann, None), Err(Refusal::Revoked));
        assert_eq!(
            stage.asks(&stage.of("ann", -1), None),
            Err(Refusal::Revoked)
        );
        for session in [newer, bob, session(true)] {
            assert_eq!(stage.asks(&session, None), Ok(()));
        }
    }

    #[test]
    fn the_oldest_revocations_make_room() {
        let sealer = Sealer::new("secret");
        let mut revocations = Revocations::default();
        let viewer = |n: i64| sealer.viewer(CHANNEL, &n.to_string());
        let most = i64::try_from(MOST_REVOCATIONS + MOST_REVOCATIONS / 8).unwrap();
        for n in 0..=most {
            let revoked = Revoked {
                version: 0,
                at: WallTime(n),
            };
            revocations.add(viewer(n), revoked);
        }
        let holds = |n| {
            revocations.holds(&Viewer {
                tag: viewer(n),
                version: 0,
            })
        };
        assert!((MOST_REVOCATIONS..=MOST_REVOCATIONS + 1).contains(&revocations.0.len()));
        assert!(holds(most) && !holds(0));
    }

    #[test]
    fn a_request_allocates_nothing() {
        let mut stage = Stage::new(Some(rule(true, Some(policy(&["KR"], &["*"], true)))));
        stage.revoke("ann", 3);
        let session = ViewerSession {
            origin: Some(stage.sealer.origin("https://a.example")),
            ..stage.of("bob", 0)
        };
        let text = stage.sealer.seal(CHANNEL, &session);
        for path in [
            (CHANNEL, &*text),
            (CHANNEL, "anything"),
            ("abcdABCDefgi", "anything"),
        ] {
            let ask = || {
                stage
                    .rules
                    .admit(&stage.sealer, path, Some("https://a.example"), NOW)
            };
            let mut outcome = None;
            let made = allocation_counter::measure(|| outcome = Some(ask()));
            assert_eq!(made.count_total, 0, "{path:?}: {outcome:?}");
        }
    }
}
