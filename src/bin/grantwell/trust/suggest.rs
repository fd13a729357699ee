//! `grantwell trust suggest`.

use grantwell::core::trust::suggestion;

use super::caller::CallerArguments;
use crate::failure::Failure;
use crate::output;
use crate::store::Place;

#[derive(Debug, clap::Args)]
pub(super) struct Suggest {
    #[command(flatten)]
    caller: CallerArguments,
}

impl Suggest {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let realm = store.management().realm(&place.realm).await?;
        let caller = self.caller.read(&realm, None).await?;
        let rule = suggestion::rule_for(caller.facts.identity()).ok_or_else(|| {
            Failure::new(
                "no rule could be for this caller: it is not a role of AWS, or its token does not say who it is",
            )
        })?;
        if let Some(why) = &caller.no_keys {
            output::warn(&format!(
                "the token's signature was not checked: {why}. Anybody can write a token that says this"
            ));
        } else if caller.is_refused() {
            output::warn(
                "the server would refuse this token before it looks at any rule; `grantwell trust explain` says why",
            );
        }
        output::json(&rule)
    }
}
