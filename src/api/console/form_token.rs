//! Form tokens: what every form carries that changes something, so that a form of another site is refused even where
//! the browser does not say which site it was on.
//!
//! A token is derived from the session. Each page has it under another mask, because pages are compressed and contain
//! what visitors wrote: a secret that is always the same could be guessed from their lengths. At the door there is no
//! session; tokens there are good for some hours.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::access::Access;
use domain::Timestamp;

const PURPOSE: &str = "console form";
/// How long a form of the door is good, and how long at most: twice as long.
const DOOR_SECONDS: i64 = 12 * 60 * 60;

/// What a token is good for.
#[derive(Clone, Debug)]
pub(super) enum Holder {
    /// A session, by its id.
    Session(String),
    /// Whoever stands at the door now.
    Door(Timestamp),
}

impl Holder {
    /// The names under which tokens are good, the present one first.
    fn names(&self) -> Vec<String> {
        match self {
            Self::Session(id) => vec![format!("session {id}")],
            Self::Door(now) => {
                let period = now.0.div_euclid(Timestamp::PER_SECOND).div_euclid(DOOR_SECONDS);
                vec![format!("door {period}"), format!("door {}", period - 1)]
            }
        }
    }
}

/// A token under a mask of random bytes.
pub(super) fn token(access: &Access, holder: &Holder, mask: [u8; 32]) -> String {
    let name = holder.names().into_iter().next().unwrap_or_default();
    masked(access.secret_for(PURPOSE, &name), mask)
}

/// Whether a token is one of the holder's.
pub(super) fn is_good(access: &Access, holder: &Holder, token: &str) -> bool {
    let Some(secret) = unmasked(token) else { return false };
    let names = holder.names();
    let mut known = names.iter().flat_map(|name| access.secrets_for(PURPOSE, name));
    known.any(|known| {
        // All bytes are looked at, so that the time says nothing about how many were right.
        known.iter().zip(secret).fold(0, |differing, (one, other)| differing | (one ^ other)) == 0
    })
}

fn masked(secret: [u8; 32], mask: [u8; 32]) -> String {
    let hidden = mask.iter().zip(secret).map(|(mask, byte)| mask ^ byte);
    let bytes: Vec<u8> = mask.iter().copied().chain(hidden).collect();
    URL_SAFE_NO_PAD.encode(bytes)
}

fn unmasked(token: &str) -> Option<[u8; 32]> {
    let bytes: [u8; 64] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
    let (mask, hidden) = bytes.split_at(32);
    let mut secret = [0; 32];
    for (byte, (mask, hidden)) in secret.iter_mut().zip(mask.iter().zip(hidden)) {
        *byte = mask ^ hidden;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_hides_the_secret_and_gives_it_back() {
        let secret = [7; 32];
        let (one, other) = (masked(secret, [1; 32]), masked(secret, [2; 32]));
        assert_ne!(one, other);
        assert_eq!((unmasked(&one), unmasked(&other)), (Some(secret), Some(secret)));
        for wrong in ["", "x", &one[1..], &format!("{one}A")] {
            assert_eq!(unmasked(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn forms_of_the_door_are_good_for_some_hours() {
        let at =
            |hours: i64| Holder::Door(Timestamp(hours * 3_600 * Timestamp::PER_SECOND)).names();
        assert_eq!(at(0)[0], at(23)[1]);
        assert!(!at(24).contains(&at(0)[0]));
    }
}
