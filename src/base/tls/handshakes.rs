//! Clients that have not shaken hands yet: so many at once, and who holds the most gives way.
//!
//! In:  a client's address. Out: its place, and the word that it is given up for a newcomer.
//! Nobody is turned away: a client that shakes hands as quickly as it can needs its place for a moment only, and one that
//! takes many at once loses its own oldest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::base::accept::counted_address;

/// All places.
#[derive(Debug)]
pub(super) struct Handshakes {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// Of the next place.
    number: u64,
    taken: usize,
    /// The oldest first; no address without a place.
    by_address: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
}

/// A client's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    all: Arc<Handshakes>,
    number: u64,
    address: IpAddr,
    given_up: CancellationToken,
}

impl Handshakes {
    /// So many places.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let open = Mutex::default();
        Arc::new(Self { most, open })
    }

    /// A place for a client; if there is none, the oldest of the address that holds the most is given up.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Place {
        let mut open = self.open();
        if open.taken >= self.most {
            open.give_up_one();
        }
        let number = open.number;
        open.number += 1;
        let place = Place {
            all: Arc::clone(self),
            number,
            address: counted_address(address),
            given_up: CancellationToken::new(),
        };
        open.put(place.address, number, place.given_up.clone());
        place
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn put(&mut self, address: IpAddr, number: u64, given_up: CancellationToken) {
        self.taken += 1;
        let places = self.by_address.entry(address).or_default();
        places.insert(number, given_up);
    }

    fn take(&mut self, address: IpAddr, number: u64) -> Option<CancellationToken> {
        let places = self.by_address.get_mut(&address)?;
        let taken = places.remove(&number)?;
        self.taken -= 1;
        if places.is_empty() {
            self.by_address.remove(&address);
        }
        Some(taken)
    }

    fn give_up_one(&mut self) {
        let oldest = self.by_address.iter().filter_map(|(address, places)| {
            let (number, _) = places.first_key_value()?;
            Some((places.len(), Reverse(*number), *address))
        });
        let crowded = oldest.max();
        let given_up = crowded.and_then(|(_, Reverse(number), address)| self.take(address, number));
        if let Some(given_up) = given_up {
            given_up.cancel();
        }
    }
}

impl Place {
    /// It turns out to be another client's than it seemed.
    pub(super) fn belongs_to(&mut self, address: IpAddr) {
        let address = counted_address(address);
        let mut open = self.all.open();
        if let Some(given_up) = open.take(self.address, self.number) {
            open.put(address, self.number, given_up);
            drop(open);
            self.address = address;
        }
    }

    /// Cancelled when the place is given up.
    pub(super) fn given_up(&self) -> CancellationToken {
        self.given_up.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.open().take(self.address, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given_up(places: &[&Place]) -> Vec<bool> {
        let is = |place: &&Place| place.given_up.is_cancelled();
        places.iter().map(is).collect()
    }

    #[test]
    fn who_holds_the_most_gives_way() {
        let all = Handshakes::new(3);
        let enter = |address: &str| all.enter(address.parse().unwrap());
        let (good, first, second) = (enter("10.0.0.1"), enter("10.0.0.2"), enter("10.0.0.2"));
        let third = enter("10.0.0.2");
        assert_eq!(given_up(&[&good, &first, &second]), [false, true, false]);
        let other = enter("10.0.0.3");
        assert_eq!(given_up(&[&good, &second, &third]), [false, true, false]);
        // All hold one: the oldest.
        let _newest = enter("10.0.0.4");
        assert_eq!(given_up(&[&good, &third, &other]), [true, false, false]);
    }

    #[test]
    fn places_are_given_back_and_can_turn_out_to_be_anothers() {
        let all = Handshakes::new(2);
        let proxy: IpAddr = "10.0.0.1".parse().unwrap();
        let (mut first, mut second) = (all.enter(proxy), all.enter(proxy));
        first.belongs_to("2001:db8::1".parse().unwrap());
        second.belongs_to("2001:db8::2".parse().unwrap());
        assert_eq!(all.open().by_address.len(), 1, "one customer");
        let third = all.enter(proxy);
        assert_eq!(given_up(&[&first, &second]), [true, false]);
        // Moving what was given up moves nothing.
        first.belongs_to(proxy);
        drop((first, third));
        assert_eq!(all.open().taken, 1);
        drop(second);
        assert!(all.open().by_address.is_empty());
    }
}
