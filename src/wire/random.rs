//! Numbers nobody can guess, for nonces and names.

use super::conversation::Trouble;
use exchange_preflight_checks::model::evidence::{Reason, Stage};

/// Random bytes from the system.
pub(super) fn bytes<const N: usize>() -> Result<[u8; N], Trouble> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        let why = format!("the system gives no random numbers ({error}); look at its entropy source");
        Trouble::new(Stage::Connect, Reason::Local(why))
    })?;
    Ok(bytes)
}

/// A number from 1 to 2^31 - 1: the range of a Kerberos nonce that every server takes, and of an LDAP message id.
pub(super) fn positive() -> Result<u32, Trouble> {
    Ok((u32::from_be_bytes(bytes()?) >> 1).max(1))
}
