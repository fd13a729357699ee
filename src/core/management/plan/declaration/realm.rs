//! A realm as a file declares it.

use super::entry::{Entry, InvalidDeclaration, Written, check_member, missing, require_known, take};
use crate::core::members::names_of;
use crate::core::realm::{RealmName, RealmSettings};

/// What an entry may say, in the order in which it is shown.
pub fn members() -> Vec<&'static str> {
    ["realm"].into_iter().chain(settings()).collect()
}

/// The members of a realm's record that a file sets.
pub(in super::super) fn settings() -> impl Iterator<Item = &'static str> {
    names_of::<RealmSettings>().iter().copied().filter(|name| !NO_SETTINGS.contains(name))
}

pub(super) fn read(Written { place, mut members }: Written) -> Result<(RealmName, Entry), InvalidDeclaration> {
    require_known(&place, &members, &self::members())?;
    let realm: RealmName = take(&mut members, "realm", &place)?.ok_or_else(|| missing(&place, "realm"))?;
    for (name, value) in &members {
        check_member(&place, name, value, &RealmSettings::default())?;
    }
    Ok((realm, Entry { place, members: members.into_iter().collect(), status: None, generate: true }))
}

/// Members of a realm's record that no file sets. Its issuers are entries of their own.
const NO_SETTINGS: [&str; 3] = ["tokens_valid_after", "longer_tokens_until", "trusted_issuers"];
