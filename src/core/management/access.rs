//! What may be done by whom: an operator everything, whoever acts for owners what concerns those owners' clients, and nothing else.
//!
//! Functions and the console's process enforce this. In the command line it keeps an owner from a mistake and no more: what a
//! command can do is what the AWS role allows that runs it.

use std::collections::BTreeSet;

use crate::core::admin_log::Actor;
use crate::core::aws_principal::AwsPrincipal;
use crate::core::client::metadata::ClientMetadata;
use crate::core::client::{Client, ClientStatus};
use crate::core::owner::{Owner, OwnerId, OwnerStatus};
use crate::core::ports::AccessDenied;
use crate::core::scope::{INTROSPECT_ALL_TOKENS, INTROSPECT_ALL_TOKENS_ANY_REALM};

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Operator,
    /// What concerns the clients of these owners. None where all that they act for are disabled: then nothing.
    Owners(BTreeSet<OwnerId>),
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// A client is registered.
    Register(&'a Client),
    /// A registration is changed.
    Change {
        /// As it is.
        before: &'a Client,
        /// As it is to be.
        after: &'a Client,
    },
    /// What belongs to a client is changed: a secret is made or ended, or the client is deleted.
    Use(&'a Client),
    /// Anything else: realms, signing keys, owners.
    Operate,
}

impl Access {
    /// What `actor` may do, given all owners there are. Whom a disabled owner names acts for it all the same, and so may do nothing:
    /// it must not become an operator by being disabled.
    pub fn of(actor: &Actor, owners: &[Owner]) -> Self {
        let Actor::AwsCaller { arn } = actor else { return Self::Operator };
        // What is neither a role nor a user, such as an account's root, is named by no owner.
        let Ok(principal) = arn.parse::<AwsPrincipal>() else { return Self::Operator };
        let acted_for: Vec<&Owner> = owners.iter().filter(|owner| owner.is_represented_by(&principal)).collect();
        if acted_for.is_empty() {
            return Self::Operator;
        }
        let active = acted_for.into_iter().filter(|owner| owner.status == OwnerStatus::Active);
        Self::Owners(active.map(|owner| owner.owner.clone()).collect())
    }

    /// The owners that are acted for.
    pub fn acts_for(&self) -> Vec<OwnerId> {
        match self {
            Self::Operator => Vec::new(),
            Self::Owners(owners) => owners.iter().cloned().collect(),
        }
    }

    /// Whether this may be done.
    ///
    /// # Errors
    /// [`AccessDenied`].
    pub fn check(&self, operation: Operation<'_>) -> Result<(), AccessDenied> {
        let Self::Owners(owners) = self else { return Ok(()) };
        match operation {
            Operation::Operate => Err(AccessDenied::OperatorsOnly),
            Operation::Use(client) => require_own(owners, client),
            Operation::Register(client) => {
                let named = &client.metadata.owners;
                if named.is_empty() || !named.is_subset(owners) {
                    return Err(AccessDenied::NotOwnersOwn);
                }
                check_members(&ClientMetadata::new(), &client.metadata)
            }
            Operation::Change { before, after } => {
                require_own(owners, before)?;
                if before.metadata.owners != after.metadata.owners {
                    return Err(AccessDenied::OwnersChange);
                }
                if before.status == ClientStatus::Disabled && after.status == ClientStatus::Active {
                    return Err(AccessDenied::Enabling);
                }
                check_members(&before.metadata, &after.metadata)
            }
        }
    }
}

fn require_own(owners: &BTreeSet<OwnerId>, client: &Client) -> Result<(), AccessDenied> {
    if client.metadata.owners.is_disjoint(owners) { Err(AccessDenied::AnothersClient) } else { Ok(()) }
}

/// What an operator alone decides: where this server fetches keys from, how many tokens there may be, and who reads others' tokens.
fn check_members(before: &ClientMetadata, after: &ClientMetadata) -> Result<(), AccessDenied> {
    if after.jwks_uri.is_some() && after.jwks_uri != before.jwks_uri {
        return Err(AccessDenied::Member("jwks_uri"));
    }
    if after.token_quota != before.token_quota {
        return Err(AccessDenied::Member("token_quota"));
    }
    if after.token_quota_mode != before.token_quota_mode {
        return Err(AccessDenied::Member("token_quota_mode"));
    }
    let introspects = [INTROSPECT_ALL_TOKENS, INTROSPECT_ALL_TOKENS_ANY_REALM];
    let gains = |scope: &&str| after.scope.contains(scope) && !before.scope.contains(scope);
    if introspects.iter().any(gains) { Err(AccessDenied::IntrospectionScope) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::client::id::RegistrationId;
    use crate::core::owner::OwnerDetails;
    use crate::core::realm::{Realm, RealmName};
    use crate::core::time::UnixSeconds;

    fn owner(id: &str, principals: &[&str]) -> Owner {
        let aws_principals = principals.iter().map(|arn| arn.parse().expect("an ARN")).collect();
        let details = OwnerDetails { aws_principals, ..OwnerDetails::default() };
        Owner::new(id.parse().expect("an id"), details, UnixSeconds(7))
    }

    fn client(owners: &[&str]) -> Client {
        let owners = owners.iter().map(|id| id.parse().expect("an id")).collect();
        let metadata = ClientMetadata { owners, ..ClientMetadata::new() };
        let (id, realm) = ("c".parse().expect("an id"), Realm::new(RealmName::root()));
        Client::register(id, &realm, metadata, RegistrationId::from_text("r"), UnixSeconds(7)).expect("valid")
    }

    fn caller(arn: &str) -> Actor {
        Actor::AwsCaller { arn: arn.to_owned() }
    }

    fn access_of(arn: &str, owners: &[Owner]) -> Access {
        Access::of(&caller(arn), owners)
    }

    fn alice() -> Access {
        Access::Owners(["alice".parse().expect("an id")].into())
    }

    const ROLE: &str = "arn:aws:iam::111122223333:role/teams/Orders";
    const SESSION: &str = "arn:aws:sts::111122223333:assumed-role/Orders/anybody";

    #[test]
    fn a_session_of_an_owners_role_acts_for_the_owner_and_everybody_else_is_an_operator() {
        let owners = [owner("alice", &[ROLE]), owner("bob", &["arn:aws:iam::111122223333:user/bob"])];
        assert_eq!(access_of(SESSION, &owners), alice());
        for other in [
            "arn:aws:sts::111122223333:assumed-role/Admin/Orders",
            "arn:aws:sts::444455556666:assumed-role/Orders/anybody",
            "arn:aws:iam::111122223333:root",
        ] {
            assert_eq!(access_of(other, &owners), Access::Operator, "{other}");
        }
        assert_eq!(Access::of(&Actor::OsUser { uid: 0, name: None, sudo_user: None }, &owners), Access::Operator);
        assert_eq!(Access::of(&Actor::Schedule, &owners), Access::Operator);
        let both = [owner("alice", &[ROLE]), owner("bob", &[ROLE])];
        assert_eq!(access_of(SESSION, &both).acts_for().len(), 2);
    }

    #[test]
    fn a_disabled_owner_makes_no_operator_of_its_principals() {
        let disabled = Owner { status: OwnerStatus::Disabled, ..owner("alice", &[ROLE]) };
        let access = access_of(SESSION, &[disabled]);
        assert_eq!(access, Access::Owners(BTreeSet::new()));
        let own = client(&["alice"]);
        for operation in [
            Operation::Use(&own),
            Operation::Register(&own),
            Operation::Change { before: &own, after: &own },
            Operation::Operate,
        ] {
            assert!(access.check(operation).is_err(), "{operation:?}");
            assert_eq!(Access::Operator.check(operation), Ok(()), "{operation:?}");
        }
    }

    #[test]
    fn an_owner_manages_its_own_clients_and_nobody_elses() {
        let (own, shared) = (client(&["alice"]), client(&["alice", "bob"]));
        for mine in [&own, &shared] {
            assert_eq!(alice().check(Operation::Use(mine)), Ok(()));
            assert_eq!(alice().check(Operation::Change { before: mine, after: mine }), Ok(()));
        }
        for anothers in [client(&[]), client(&["bob"]), client(&["Alice"]), client(&["alice2"])] {
            let denied = Err(AccessDenied::AnothersClient);
            assert_eq!(alice().check(Operation::Use(&anothers)), denied);
            // Not even by becoming its owner with the same change.
            assert_eq!(alice().check(Operation::Change { before: &anothers, after: &own }), denied);
        }
        assert_eq!(alice().check(Operation::Register(&own)), Ok(()));
        for others in [client(&[]), client(&["bob"]), shared] {
            assert_eq!(alice().check(Operation::Register(&others)), Err(AccessDenied::NotOwnersOwn));
        }
        assert_eq!(alice().check(Operation::Operate), Err(AccessDenied::OperatorsOnly));
    }

    #[test]
    fn what_reaches_beyond_a_client_is_an_operators_to_decide() {
        let own = client(&["alice"]);
        let changed = |change: &dyn Fn(&mut Client)| {
            let mut after = own.clone();
            change(&mut after);
            (
                alice().check(Operation::Change { before: &own, after: &after }),
                alice().check(Operation::Register(&after)),
            )
        };
        let (change, register) =
            changed(&|client| client.metadata.scope = "read am-introspect-all-tokens".parse().expect("a scope"));
        assert_eq!((change, register), (Err(AccessDenied::IntrospectionScope), Err(AccessDenied::IntrospectionScope)));
        let (change, register) =
            changed(&|client| client.metadata.scope = "am-introspect-all-tokens-any-realm".parse().expect("a scope"));
        assert_eq!((change, register), (Err(AccessDenied::IntrospectionScope), Err(AccessDenied::IntrospectionScope)));
        let (change, register) =
            changed(&|client| client.metadata.token_quota = Some("5/day".parse().expect("a quota")));
        assert_eq!(
            (change, register),
            (Err(AccessDenied::Member("token_quota")), Err(AccessDenied::Member("token_quota")))
        );
        let (change, _) =
            changed(&|client| client.metadata.owners = ["alice", "bob"].map(|id| id.parse().expect("an id")).into());
        assert_eq!(change, Err(AccessDenied::OwnersChange));
        let (change, _) = changed(&|client| client.metadata.owners.clear());
        assert_eq!(change, Err(AccessDenied::OwnersChange), "not even to be rid of it");
        assert_eq!(changed(&|client| client.metadata.scope = "read write".parse().expect("a scope")).0, Ok(()));

        // What it has already, an operator has given it.
        let mut introspecting = own.clone();
        introspecting.metadata.scope = "am-introspect-all-tokens".parse().expect("a scope");
        let narrower = Client { status: ClientStatus::Disabled, ..introspecting.clone() };
        assert_eq!(alice().check(Operation::Change { before: &introspecting, after: &narrower }), Ok(()), "stopped");
        let denied = alice().check(Operation::Change { before: &narrower, after: &introspecting });
        assert_eq!(denied, Err(AccessDenied::Enabling));
    }
}
