//! How much rules may say. Each of a client's rules is looked at in each of its requests, and all of them are in its record.

/// The most rules of one client.
pub const RULES: usize = 50;
/// The most bytes of all of them together, as JSON.
pub const BYTES: usize = 32 * 1024;
/// The longest age that a rule may name: a day.
pub const MAX_AGE: u64 = 24 * 3600;
/// The most claims that a rule may test.
pub const CLAIMS: usize = 32;
/// The most names on the way to a claim.
pub const PATH_NAMES: usize = 8;
/// The longest of them.
pub const PATH_NAME_BYTES: usize = 256;
/// The most texts of one `in`.
pub const TEXTS: usize = 64;
/// The longest text or pattern that a claim is compared with.
pub const TEXT_BYTES: usize = 1024;
/// The most tags that a rule may demand: a role has at most as many.
pub const TAGS: usize = 50;
