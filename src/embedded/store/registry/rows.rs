//! Registrations, realms, secrets and keys, as rows of the registry's tables.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::fault::Fault;
use crate::core::admin_log::AdminLogLine;
use crate::core::client::Client;
use crate::core::client::id::ClientId;
use crate::core::client::secret::{Beside, ClientSecrets, PreviousSecretDates, SecretDates, SecretDigest};
use crate::core::owner::{Owner, OwnerId};
use crate::core::ports::RegistrarError;
use crate::core::realm::{Realm, RealmName};
use crate::core::time::UnixSeconds;

pub(super) fn insert_client(
    transaction: &Transaction<'_>,
    client: &Client,
    digest: Option<&SecretDigest>,
) -> Result<(), Fault> {
    let inserted = transaction.execute(
        "INSERT INTO clients (realm, client_id, registration, revision) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![client.realm.as_str(), client.client_id.as_str(), to_json(client)?, revision(client.revision)?],
    )?;
    if inserted == 0 {
        return Err(RegistrarError::AlreadyExists.into());
    }
    let (made_at, beside) = (client.client_id_issued_at, Beside::Current(UnixSeconds(0)));
    digest.map_or(Ok(()), |digest| write_secret(transaction, client, digest, made_at, beside))
}

/// Makes this the client's secret, and one of those that it had the previous one.
pub(super) fn write_secret(
    transaction: &Transaction<'_>,
    client: &Client,
    digest: &SecretDigest,
    made_at: UnixSeconds,
    beside: Beside,
) -> Result<(), Fault> {
    let (kept, expires_at) = match beside {
        Beside::Current(expires_at) => {
            let kept = "previous_sha256 = current_sha256, previous_revision = current_revision, previous_made_at = current_made_at,";
            (kept, Some(expires_at))
        }
        Beside::Previous(expires_at) => ("", expires_at),
    };
    let statement = format!(
        "INSERT INTO client_secrets (realm, client_id, registration_id, current_revision, current_sha256, current_made_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (realm, client_id) DO UPDATE SET {kept}
             previous_expires_at = coalesce(?7, previous_expires_at),
             current_sha256 = excluded.current_sha256, current_revision = excluded.current_revision,
             current_made_at = excluded.current_made_at"
    );
    transaction.execute(
        &statement,
        params![
            client.realm.as_str(),
            client.client_id.as_str(),
            client.registration_id.as_str(),
            revision(client.revision)?,
            digest.as_bytes(),
            time(made_at)?,
            expires_at.map(time).transpose()?,
        ],
    )?;
    Ok(())
}

/// What is known of this registration's secrets; `None` where it has none.
pub(super) fn select_secret_dates(connection: &Connection, client: &Client) -> Result<Option<SecretDates>, Fault> {
    let seconds = |time: i64| UnixSeconds(time.unsigned_abs());
    let dates = connection
        .prepare_cached(
            "SELECT current_made_at, previous_sha256 IS NOT NULL, previous_made_at, previous_expires_at FROM client_secrets
             WHERE realm = ?1 AND client_id = ?2 AND registration_id = ?3",
        )?
        .query_row(params![client.realm.as_str(), client.client_id.as_str(), client.registration_id.as_str()], |row| {
            let (has_previous, previous_made_at): (bool, Option<i64>) = (row.get(1)?, row.get(2)?);
            let expires_at = seconds(row.get(3)?);
            let previous = PreviousSecretDates { made_at: previous_made_at.map(seconds), expires_at };
            let made_at: Option<i64> = row.get(0)?;
            Ok(SecretDates { made_at: made_at.map(seconds), previous: has_previous.then_some(previous) })
        });
    Ok(dates.optional()?)
}

pub(super) fn write_realm(transaction: &Transaction<'_>, realm: &Realm) -> Result<(), Fault> {
    let json = to_json(realm)?;
    let written = if realm.revision == 1 {
        transaction.execute(
            "INSERT INTO realms (name, settings, revision) VALUES (?1, ?2, 1) ON CONFLICT DO NOTHING",
            params![realm.name.as_str(), json],
        )?
    } else {
        transaction.execute(
            "UPDATE realms SET settings = ?2, revision = ?3 WHERE name = ?1 AND revision = ?3 - 1",
            params![realm.name.as_str(), json, revision(realm.revision)?],
        )?
    };
    if written == 1 { Ok(()) } else { Err(RegistrarError::Conflict.into()) }
}

pub(super) fn insert_line(transaction: &Transaction<'_>, line: &AdminLogLine) -> Result<(), Fault> {
    transaction.execute(
        "INSERT INTO admin_log (id, line, expires_at) VALUES (?1, ?2, ?3)",
        params![line.id.as_str(), to_json(line)?, time(line.expires_at)?],
    )?;
    Ok(())
}

pub(super) fn write_owner(transaction: &Transaction<'_>, owner: &Owner) -> Result<(), Fault> {
    let json = to_json(owner)?;
    let written = if owner.revision == 1 {
        transaction.execute(
            "INSERT INTO owners (owner, record, revision) VALUES (?1, ?2, 1) ON CONFLICT DO NOTHING",
            params![owner.owner.as_str(), json],
        )?
    } else {
        transaction.execute(
            "UPDATE owners SET record = ?2, revision = ?3 WHERE owner = ?1 AND revision = ?3 - 1",
            params![owner.owner.as_str(), json, revision(owner.revision)?],
        )?
    };
    if written == 1 { Ok(()) } else { Err(RegistrarError::Conflict.into()) }
}

pub(super) fn delete_owner(transaction: &Transaction<'_>, owner: &Owner) -> Result<(), Fault> {
    let deleted = transaction.execute(
        "DELETE FROM owners WHERE owner = ?1 AND revision = ?2",
        params![owner.owner.as_str(), revision(owner.revision)?],
    )?;
    if deleted == 1 {
        return Ok(());
    }
    Err(match select_owner(transaction, &owner.owner)? {
        Some(_) => RegistrarError::Conflict.into(),
        None => RegistrarError::NotFound.into(),
    })
}

pub(super) fn select_owner(connection: &Connection, id: &OwnerId) -> Result<Option<Owner>, Fault> {
    connection
        .prepare_cached("SELECT record FROM owners WHERE owner = ?1")?
        .query_row(params![id.as_str()], |row| row.get::<_, String>(0))
        .optional()?
        .map(|json| from_json(&json, "an owner"))
        .transpose()
}

pub(super) fn select_owners(connection: &Connection) -> Result<Vec<Owner>, Fault> {
    let mut statement = connection.prepare_cached("SELECT record FROM owners ORDER BY owner")?;
    let mut owners = Vec::new();
    for json in statement.query_map([], |row| row.get::<_, String>(0))? {
        owners.push(from_json::<Owner>(&json?, "an owner")?);
    }
    Ok(owners)
}

pub(super) fn select_client(
    connection: &Connection,
    realm: &RealmName,
    client_id: &ClientId,
) -> Result<Option<Client>, Fault> {
    connection
        .prepare_cached("SELECT registration FROM clients WHERE realm = ?1 AND client_id = ?2")?
        .query_row(params![realm.as_str(), client_id.as_str()], |row| row.get::<_, String>(0))
        .optional()?
        .map(|json| from_json(&json, "a registration"))
        .transpose()
}

/// The secrets of this registration that were made for it as it is in `client`, or before: a right may have been withdrawn
/// from it before another was made, and whoever has that one must not get what went before.
pub(super) fn select_secrets(connection: &Connection, client: &Client) -> Result<Option<ClientSecrets>, Fault> {
    let row = connection
        .prepare_cached(
            "SELECT current_sha256, current_revision, previous_sha256, previous_revision, previous_expires_at FROM client_secrets
             WHERE realm = ?1 AND client_id = ?2 AND registration_id = ?3",
        )?
        .query_row(params![client.realm.as_str(), client.client_id.as_str(), client.registration_id.as_str()], |row| {
            let current: ([u8; 32], i64) = (row.get(0)?, row.get(1)?);
            let previous: Option<[u8; 32]> = row.get(2)?;
            Ok((current, previous.zip(row.get::<_, Option<i64>>(3)?), row.get::<_, i64>(4)?))
        })
        .optional()?;
    let Some((current, previous, expires_at)) = row else { return Ok(None) };
    let expires_at = UnixSeconds(expires_at.unsigned_abs());
    let known = revision(client.revision)?;
    let digest = |(digest, revision)| (revision <= known).then(|| SecretDigest::from_bytes(digest));
    Ok(match (digest(current), previous.and_then(digest)) {
        (Some(current), previous) => Some(ClientSecrets::read(current, previous).with_previous_until(expires_at)),
        (None, Some(previous)) if expires_at == UnixSeconds(0) => Some(ClientSecrets::read(previous, None)),
        // What would be given out as the current one has no end of its own: whoever has the secret is looked for anew.
        (None, _) => None,
    })
}

pub(super) fn select_realm(connection: &Connection, name: &RealmName) -> Result<Option<Realm>, Fault> {
    connection
        .prepare_cached("SELECT settings FROM realms WHERE name = ?1")?
        .query_row(params![name.as_str()], |row| row.get::<_, String>(0))
        .optional()?
        .map(|json| from_json(&json, "a realm"))
        .transpose()
}

/// One of the two texts in which a realm's keys are stored. Wiped on drop, because one of them is private.
pub(super) fn select_keys(
    connection: &Connection,
    realm: &RealmName,
    column: &'static str,
) -> Result<Option<Zeroizing<String>>, Fault> {
    let keys = connection
        .prepare_cached(&format!("SELECT {column} FROM signing_keys WHERE realm = ?1"))?
        .query_row([realm.as_str()], |row| row.get::<_, String>(0))
        .optional()?;
    Ok(keys.map(Zeroizing::new))
}

pub(super) fn found(rows: usize) -> Result<(), Fault> {
    if rows == 0 { Err(RegistrarError::NotFound.into()) } else { Ok(()) }
}

pub(super) fn to_json(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Corrupt(error.to_string()))
}

pub(super) fn from_json<T: DeserializeOwned>(json: &str, what: &str) -> Result<T, Fault> {
    serde_json::from_str(json).map_err(|_| Fault::Corrupt(what.to_owned()))
}

pub(super) fn time(time: UnixSeconds) -> Result<i64, Fault> {
    i64::try_from(time.0).map_err(|_| Fault::Corrupt("a time".to_owned()))
}

pub(super) fn revision(revision: u64) -> Result<i64, Fault> {
    i64::try_from(revision).map_err(|_| Fault::Corrupt("a revision".to_owned()))
}
