//! Who runs this process, as the operating system says.

use std::ffi::OsString;

use async_trait::async_trait;
use nix::unistd::{Uid, User};

use crate::core::admin_log::Actor;
use crate::core::port_error::PortError;
use crate::core::ports::ActorSource;

/// The user of this process, and from whom sudo says that it has taken the command.
pub struct OsUser {
    sudo_user: Option<String>,
}

impl OsUser {
    /// The user of this process. `sudo_user` is what the variable of this name says, which its caller may have set.
    pub fn current(sudo_user: Option<OsString>) -> Self {
        let is_name =
            |name: &String| (1..=LONGEST_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        Self { sudo_user: sudo_user.and_then(|name| name.into_string().ok()).filter(is_name) }
    }
}

#[async_trait]
impl ActorSource for OsUser {
    /// A user without a name, as in some containers, is told by its id.
    async fn actor(&self) -> Result<Actor, PortError> {
        let uid = Uid::effective();
        let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
        Ok(Actor::OsUser { uid: uid.as_raw(), name, sudo_user: self.sudo_user.clone() })
    }
}

/// Longer ones are not names of users.
const LONGEST_NAME: usize = 256;
