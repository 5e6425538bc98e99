//! Pages of a listing, and the tokens that lead from one to the next.
//!
//! In:  `nextToken` and `maxResults`. Out: from which row on, and the next token where rows are left.
//! A token names the last row that was seen: what is added or removed meanwhile makes no row come twice or be
//! left out. It belongs to the listing that gave it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::{Code, Error};
use crate::base::clock::WallTime;
use crate::model::repository::Page;

/// The members that every listing takes.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(in crate::api) struct Asked {
    next_token: Option<String>,
    max_results: Option<u32>,
}

impl Asked {
    /// The rows to ask for: one more than are wanted, so that it is known whether any are left.
    pub(in crate::api) fn page(&self, listing: &str, usual: u32) -> Result<Page, Error> {
        // An empty token is that of a client's first page.
        let token = self.next_token.as_ref().filter(|token| !token.is_empty());
        let wanted = self.max_results.unwrap_or(usual);
        Ok(Page {
            after: token.map(|token| read(listing, token)).transpose()?,
            limit: wanted.saturating_add(1),
        })
    }
}

/// Leaves of the rows those that were wanted; the token for the next ones if there are any.
pub(in crate::api) fn cut<T>(
    listing: &str,
    page: &Page,
    rows: &mut Vec<T>,
    place: impl Fn(&T) -> (WallTime, String),
) -> Option<String> {
    let wanted = usize::try_from(page.limit)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    if rows.len() <= wanted {
        return None;
    }
    rows.truncate(wanted);
    let (at, id) = place(rows.last()?);
    Some(URL_SAFE_NO_PAD.encode(format!("{listing} {} {id}", at.0)))
}

fn read(listing: &str, token: &str) -> Result<(WallTime, String), Error> {
    let place = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (at, id) = text
            .strip_prefix(listing)?
            .strip_prefix(' ')?
            .split_once(' ')?;
        Some((WallTime(at.parse().ok()?), id.to_owned()))
    };
    let words = "1 validation error detected: Value at 'nextToken' failed to satisfy constraint: \
                 Member must be a token that this listing returned";
    place().ok_or_else(|| Error::new(Code::Validation, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(next_token: Option<&str>, max_results: u32) -> Asked {
        Asked {
            next_token: next_token.map(str::to_owned),
            max_results: Some(max_results),
        }
    }

    #[test]
    fn a_token_leads_on_and_there_is_none_after_the_last_row() {
        let page = asked(None, 2).page("channels", 100).unwrap();
        assert_eq!((page.after.clone(), page.limit), (None, 3));
        let place = |n: &i64| (WallTime(*n), format!("id {n}"));
        let mut exact = vec![1, 2];
        assert_eq!(cut("channels", &page, &mut exact, place), None);
        let mut rows = vec![1, 2, 3];
        let token = cut("channels", &page, &mut rows, place).unwrap();
        assert_eq!(rows, [1, 2]);
        let next = asked(Some(&token), 2).page("channels", 100).unwrap();
        assert_eq!(next.after, Some(place(&2)));
        for (listing, token) in [("streams", &*token), ("channels", "x"), ("channels", "!")] {
            assert!(asked(Some(token), 2).page(listing, 1).is_err(), "{token}");
        }
        assert_eq!(asked(Some(""), 2).page("channels", 1).unwrap().after, None);
    }
}
