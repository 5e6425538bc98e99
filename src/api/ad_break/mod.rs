//! Ad breaks of live streams.
//!
//! In:  when a break begins and how long it is. Out: the break, handed to the live stream.
//! Not here: the ads themselves, which are a player's or a packager's affair; how a break is listed (`playlist`).

pub(super) mod insert;
