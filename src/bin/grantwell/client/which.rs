//! The client that a command is about.

use grantwell::core::client::id::ClientId;

use crate::failure::Failure;

/// By position or by `--id`.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct WhichClient {
    /// The client's id
    #[arg(value_name = "ID")]
    positional_id: Option<ClientId>,
    /// The client's id, as an option
    #[arg(long, value_name = "ID")]
    id: Option<ClientId>,
}

impl WhichClient {
    pub(super) fn id(&self) -> Result<&ClientId, Failure> {
        // clap has made sure that one of the two is there.
        self.positional_id.as_ref().or(self.id.as_ref()).ok_or_else(|| Failure::new("name the client: --id ID"))
    }
}
