//! What AWS charges for a unit of each thing that a request uses: its price list, with a date.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::usage::Architecture;

/// Dollars, without free tiers and discounts for volume. `prices.json` is one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prices {
    pub(super) region: String,
    /// The month in which they were the list's.
    pub(super) as_of: String,
    http_api_request_million: f64,
    lambda_request_million: f64,
    lambda_gb_second_arm64: f64,
    lambda_gb_second_x86_64: f64,
    dynamodb_write_million: f64,
    dynamodb_read_million: f64,
    secrets_manager_call_10_thousand: f64,
    secret_month: f64,
    log_gb: f64,
    transfer_out_gb: f64,
    cognito_token_thousand: f64,
}

/// A price: dollars for so many units of a thing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Price {
    pub(super) dollars: f64,
    pub(super) units: f64,
    /// Those units, in a word.
    pub(super) per: &'static str,
}

/// A member of the list is not a price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a price: a price is 0 to {HIGHEST_PRICE} dollars")]
pub(super) struct NotAPrice(String);

impl Prices {
    /// The prices that this program knows.
    ///
    /// # Errors
    /// None that can happen: a test reads them.
    pub(super) fn built_in() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!("prices.json"))
    }

    /// Refuses what no price can be: a bill of it would be nonsense, or beyond what a number holds.
    ///
    /// # Errors
    /// The first member that is not a price.
    pub(super) fn check(&self) -> Result<(), NotAPrice> {
        let Ok(Value::Object(members)) = serde_json::to_value(self) else { return Ok(()) };
        let is_price = |dollars: f64| !dollars.is_sign_negative() && dollars <= HIGHEST_PRICE;
        match members.iter().find(|(_, value)| value.as_f64().is_some_and(|dollars| !is_price(dollars))) {
            Some((name, _)) => Err(NotAPrice(name.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn http_api(&self) -> Price {
        Price::of_a_million(self.http_api_request_million)
    }

    pub(super) fn lambda_request(&self) -> Price {
        Price::of_a_million(self.lambda_request_million)
    }

    pub(super) fn lambda_time(&self, architecture: Architecture) -> Price {
        let dollars = match architecture {
            Architecture::Arm64 => self.lambda_gb_second_arm64,
            Architecture::X86_64 => self.lambda_gb_second_x86_64,
        };
        Price { dollars, units: 1.0, per: "GB-s" }
    }

    pub(super) fn dynamodb_write(&self) -> Price {
        Price::of_a_million(self.dynamodb_write_million)
    }

    pub(super) fn dynamodb_read(&self) -> Price {
        Price::of_a_million(self.dynamodb_read_million)
    }

    pub(super) fn secrets_manager_call(&self) -> Price {
        Price { dollars: self.secrets_manager_call_10_thousand, units: 10_000.0, per: "10 k" }
    }

    pub(super) fn secret(&self) -> Price {
        Price { dollars: self.secret_month, units: 1.0, per: "secret" }
    }

    pub(super) fn log(&self) -> Price {
        Price { dollars: self.log_gb, units: 1.0, per: "GB" }
    }

    pub(super) fn transfer_out(&self) -> Price {
        Price { dollars: self.transfer_out_gb, units: 1.0, per: "GB" }
    }

    /// What Amazon Cognito charges for a token of a machine, in the first tier.
    pub(super) fn cognito_token(&self) -> Price {
        Price { dollars: self.cognito_token_thousand, units: 1_000.0, per: "k" }
    }
}

impl Price {
    fn of_a_million(dollars: f64) -> Self {
        Self { dollars, units: 1_000_000.0, per: "M" }
    }

    /// Dollars for this many units.
    pub(super) fn of(self, quantity: f64) -> f64 {
        quantity / self.units * self.dollars
    }
}

/// Far above any, and far below where the largest bill would be more than a number holds.
const HIGHEST_PRICE: f64 = 1_000_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_neither_negative_nor_beyond_all_bounds() {
        let with = |price: f64| Prices { log_gb: price, ..Prices::built_in().expect("prices") }.check();
        for price in [0.0, 0.5, HIGHEST_PRICE] {
            assert_eq!(with(price), Ok(()), "{price}");
        }
        for price in [-0.5, -0.0, HIGHEST_PRICE * 1.1, 1e308] {
            assert_eq!(with(price), Err(NotAPrice("log_gb".to_owned())), "{price}");
        }
    }
}
