//! `grantwell cost`: what a month on AWS costs, from the calls that each request makes and AWS's price list.

mod bill;
mod calls;
mod prices;
mod usage;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use grantwell::core::access_token::settings::{AccessTokenFormat, AccessTokenPersistence};

use self::bill::{Bill, LOG_BYTES, LogBytesByEndpoint, Part};
use self::calls::{CountedCalls, REGISTRATION_TTL, SECRET_TTL};
use self::prices::{Price, Prices};
use self::usage::{KeptSecrets, Usage};
use crate::failure::Failure;
use crate::output::{self, OutputArguments};

/// Computes what a month on AWS costs, from the calls that each request makes and AWS's list prices
///
/// Nothing is asked of AWS and nothing is measured: the numbers are the options', the calls those that the tests count.
/// Quantities are the most that the options allow; free tiers and discounts are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  grantwell cost --tokens 10M --introspections 0 --clients 50 \\
      --format jwt --persistence stateless
  grantwell cost --clients 5000 --secret-storage digest
  grantwell cost --memory 512 --duration-ms 8 --architecture x86_64

docs/cost.md explains each number.")]
pub(crate) struct Arguments {
    #[command(flatten)]
    usage: Usage,
    /// The region whose prices apply: us-east-1, or the region of --prices
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    region: String,
    /// A file with other prices, in the form of src/bin/grantwell/cost/prices.json
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArguments,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Cost<'a> {
    usage: &'a Usage,
    prices: &'a Prices,
    calls: CountedCalls,
    log_bytes: LogBytesByEndpoint,
    lines: Vec<LineView>,
    dollars_per_month: PerMonth,
    /// With the requests' own lines only, and none where there is no such request.
    dollars_per_million: PerMillion,
    /// The same tokens at Amazon Cognito's list price.
    cognito: PerMonth,
    assumptions: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LineView {
    part: Part,
    item: &'static str,
    quantity: f64,
    dollars: f64,
    #[serde(skip)]
    price: Price,
}

#[derive(Debug, Serialize)]
struct PerMonth {
    tokens: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    introspections: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<f64>,
    total: f64,
}

#[derive(Debug, Serialize)]
struct PerMillion {
    tokens: Option<f64>,
    introspections: Option<f64>,
    cognito_tokens: f64,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { usage, region, prices, output } = arguments;
    if usage.persistence == AccessTokenPersistence::Stateless && usage.format == AccessTokenFormat::Opaque {
        return Err(Failure::new("an opaque token is always stored; for stateless ones add --format jwt"));
    }
    let (prices, file) = match prices {
        Some(file) => (read_prices(&file)?, Some(file)),
        None => (Prices::built_in().map_err(|error| Failure::new(format!("the built-in prices: {error}")))?, None),
    };
    if prices.region != region {
        let of = &prices.region;
        return Err(Failure::new(match file {
            Some(file) => {
                format!("the prices in {} are those of {of}, not of {region}; add --region {of}", file.display())
            }
            None => format!("the built-in prices are those of {of}; give those of {region} in a file with --prices"),
        }));
    }
    output.print(&Cost::of(&usage, &prices), Cost::table)
}

fn read_prices(file: &Path) -> Result<Prices, Failure> {
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::new(format!("the prices in {} cannot be read: {error}", file.display())))?;
    let prices: Prices = serde_json::from_str(&text).map_err(|error| {
        Failure::new(format!(
            "{} is not a list of prices in the form of src/bin/grantwell/cost/prices.json: {error}",
            file.display()
        ))
    })?;
    prices
        .check()
        .map_err(|error| Failure::new(format!("the prices in {} cannot be used: {error}", file.display())))?;
    Ok(prices)
}

impl<'a> Cost<'a> {
    fn of(usage: &'a Usage, prices: &'a Prices) -> Self {
        const MILLION: f64 = 1_000_000.0;

        let bill = Bill::of(usage, prices);
        let per_million =
            |part, requests: u32| (requests > 0).then(|| rounded(bill.dollars(part) / f64::from(requests) * MILLION));
        let cognito = rounded(prices.cognito_token().of(f64::from(usage.tokens)));
        Self {
            usage,
            prices,
            calls: CountedCalls::of(usage.format, usage.persistence, usage.token_quota, usage.secret_storage),
            log_bytes: LOG_BYTES,
            lines: bill
                .lines
                .iter()
                .map(|line| LineView {
                    part: line.part,
                    item: line.item,
                    quantity: rounded(line.quantity),
                    dollars: rounded(line.dollars()),
                    price: line.price,
                })
                .collect(),
            dollars_per_month: PerMonth {
                tokens: rounded(bill.dollars(Part::Tokens)),
                introspections: Some(rounded(bill.dollars(Part::Introspections))),
                standing: Some(rounded(bill.dollars(Part::Standing))),
                total: rounded(bill.total()),
            },
            dollars_per_million: PerMillion {
                tokens: per_million(Part::Tokens, usage.tokens),
                introspections: per_million(Part::Introspections, usage.introspections),
                cognito_tokens: rounded(prices.cognito_token().of(MILLION)),
            },
            cognito: PerMonth { tokens: cognito, introspections: None, standing: None, total: cognito },
            assumptions: assumptions(usage, prices),
        }
    }

    fn table(&self) -> String {
        const LONGEST_ITEM: usize = 28;

        let mut rows: Vec<_> = self
            .lines
            .iter()
            .filter(|line| line.quantity > 0.0)
            .map(|line| {
                let item = match line.part {
                    Part::Tokens => format!("tokens: {}", line.item),
                    Part::Introspections => format!("introspections: {}", line.item),
                    Part::Standing => line.item.to_owned(),
                };
                let price = format!("{} per {}", price(line.price.dollars), line.price.per);
                vec![item, quantity(line.quantity), price, dollars(line.dollars)]
            })
            .collect();
        let mut sum =
            |name: &str, amount: f64| rows.push(vec![name.into(), String::new(), String::new(), dollars(amount)]);
        sum("a month", self.dollars_per_month.total);
        if let Some(amount) = self.dollars_per_million.tokens {
            sum("a million tokens", amount);
        }
        if let Some(amount) = self.dollars_per_million.introspections {
            sum("a million introspections", amount);
        }
        sum("these tokens at Cognito", self.cognito.total);
        let table = output::table(&["a month", "quantity", "price", "dollars"], LONGEST_ITEM, &rows);
        let assumptions = self.assumptions.iter().map(|assumption| format!("\n- {assumption}"));
        format!("{table}\n{}", assumptions.collect::<String>())
    }
}

/// What the figures stand on, a line each.
fn assumptions(usage: &Usage, prices: &Prices) -> Vec<String> {
    let format = match (usage.format, usage.persistence) {
        (AccessTokenFormat::Opaque, _) => "opaque tokens",
        (AccessTokenFormat::Jwt, AccessTokenPersistence::Stored) => "stored JWTs",
        (AccessTokenFormat::Jwt, AccessTokenPersistence::Stateless) => "stateless JWTs",
    };
    let quota = if usage.token_quota { ", counted for a quota" } else { "" };
    let recorded = if usage.record_use { ", the day of their use recorded" } else { "" };
    let secrets = match usage.secret_storage {
        KeptSecrets::SecretsManager => "secrets in Secrets Manager",
        KeptSecrets::Digest => "secrets kept as digests",
        KeptSecrets::None => "keys in place of secrets",
        KeptSecrets::Iam => "roles of AWS in place of secrets, at a function URL",
    };
    let Prices { region, as_of, .. } = prices;
    let Usage { clients, resource_servers, memory_mb, duration_ms, sandboxes, cold_starts, init_ms, .. } = usage;
    vec![
        format!("{region}, list prices of {as_of}; no free tier, no discount for volume, no tax"),
        format!("{format}{quota}; {secrets}; clients: {clients}{recorded}, resource servers: {resource_servers}"),
        format!(
            "{memory_mb} MB, {duration_ms} ms billed a request; {cold_starts} starts of each function, {init_ms} ms each"
        ),
        format!(
            "processes of each function at a time: {sandboxes}; what they remember is read again after its time, {} s for a \
             registration, {} s for a secret, as often as that allows at most",
            REGISTRATION_TTL.as_secs(),
            SECRET_TTL.as_secs()
        ),
        "left out: the tables, their backup and kept logs (cents each); what is refused, throttled or tried again"
            .to_owned(),
        "Cognito: the first tier's price of a token, without that of an app client".to_owned(),
    ]
}

/// To a millionth: what floating point adds beyond is not worth printing.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

/// To a cent, half of one upwards.
fn dollars(amount: f64) -> String {
    grouped(&format!("{:.2}", (amount * 100.0).round() / 100.0))
}

/// As the price list has it, with two places at least.
fn price(dollars: f64) -> String {
    let (exact, cents) = (format!("{dollars}"), format!("{dollars:.2}"));
    if exact.len() > cents.len() { exact } else { cents }
}

/// Whole, or with two places where it is small.
fn quantity(number: f64) -> String {
    if number < 100.0 && number.fract() > 0.0 { format!("{number:.2}") } else { grouped(&format!("{number:.0}")) }
}

/// With a comma before every three digits of the whole part.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.find('.').map_or((number, ""), |point| number.split_at(point));
    let mut grouped = String::new();
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_people_write_them() {
        for (number, expected) in [(0.0, "0"), (0.7, "0.70"), (2_525.0, "2,525"), (1_268_800.4, "1,268,800")] {
            assert_eq!(quantity(number), expected);
        }
        for (amount, expected) in [(0.0, "0.00"), (0.625, "0.63"), (999.994, "999.99"), (22_500.0, "22,500.00")] {
            assert_eq!(dollars(amount), expected);
        }
        for (amount, expected) in [(1.0, "1.00"), (0.2, "0.20"), (0.625, "0.625"), (0.000_013_333_4, "0.0000133334")] {
            assert_eq!(price(amount), expected);
        }
    }
}
