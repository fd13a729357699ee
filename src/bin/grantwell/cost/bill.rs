//! The bill of a month: what its requests use, at its prices.

use serde::Serialize;

use grantwell::core::access_token::settings::{AccessTokenFormat, AccessTokenPersistence};

use super::calls::{
    Calls, CountedCalls, Forgetting, KEY_TTL, KNOWN_SECRET_TTL, REGISTRATION_TTL, REGISTRY_TTL, SECRET_TTL,
    USE_MARK_TTL,
};
use super::prices::{Price, Prices};
use super::usage::{KeptSecrets, LogLevel, Usage};

/// A bill.
#[derive(Debug)]
pub(super) struct Bill {
    pub(super) lines: Vec<Line>,
}

/// One thing on it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) part: Part,
    pub(super) item: &'static str,
    pub(super) quantity: f64,
    pub(super) price: Price,
}

/// What a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Part {
    /// Requests of the token endpoint.
    Tokens,
    /// Requests of the introspection endpoint.
    Introspections,
    /// What costs without a request.
    Standing,
}

/// Bytes that one request writes into CloudWatch's logs.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct LogBytes {
    /// This server's own line, at level info. Of Lambda's own lines the template keeps those that tell of a failure.
    audit: u32,
    /// The API's, where it writes an access log.
    access: u32,
}

/// The log of one request, by endpoint.
#[derive(Debug, Serialize)]
pub(super) struct LogBytesByEndpoint {
    token: LogBytes,
    introspection: LogBytes,
}

/// A kind of request: how many of them, and what each needs.
struct Requests {
    part: Part,
    number: f64,
    calls: Calls,
    /// What is loaded where it is not remembered, and how often at most.
    loads: Vec<(Calls, f64)>,
    log_bytes: f64,
    answer_bytes: f64,
}

/// CloudWatch bills each log event as so much longer than it is.
const LOG_EVENT_BYTES: u32 = 26;
pub(super) const LOG_BYTES: LogBytesByEndpoint = LogBytesByEndpoint {
    token: LogBytes { audit: 370, access: 380 },
    introspection: LogBytes { audit: 330, access: 380 },
};
/// An answer with its headers, as it leaves AWS.
const OPAQUE_ANSWER_BYTES: f64 = 700.0;
const JWT_ANSWER_BYTES: f64 = 1_300.0;
const INTROSPECTION_ANSWER_BYTES: f64 = 1_000.0;
const BYTES_OF_A_GB: f64 = 1e9;

impl Bill {
    /// What a month of `usage` costs.
    pub(super) fn of(usage: &Usage, prices: &Prices) -> Self {
        let calls = CountedCalls::of(usage.format, usage.persistence, usage.token_quota, usage.secret_storage);
        let mut lines = Vec::new();
        for requests in [tokens(usage, &calls), introspections(usage, &calls)] {
            requests.bill(usage, prices, &mut lines);
        }
        lines.push(Line {
            part: Part::Standing,
            item: "secrets kept",
            quantity: usage.secrets_of_clients() + f64::from(u8::from(usage.signs())),
            price: prices.secret(),
        });
        Self { lines }
    }

    /// Dollars for one part of it.
    pub(super) fn dollars(&self, part: Part) -> f64 {
        self.lines.iter().filter(|line| line.part == part).map(Line::dollars).sum()
    }

    /// Dollars for all of it.
    pub(super) fn total(&self) -> f64 {
        self.lines.iter().map(Line::dollars).sum()
    }
}

impl Line {
    /// What it comes to.
    pub(super) fn dollars(&self) -> f64 {
        self.price.of(self.quantity)
    }
}

impl Requests {
    fn bill(&self, usage: &Usage, prices: &Prices, lines: &mut Vec<Line>) {
        let cold_starts = if self.number > 0.0 { f64::from(usage.cold_starts) } else { 0.0 };
        let seconds = (self.number * f64::from(usage.duration_ms) + cold_starts * f64::from(usage.init_ms)) / 1_000.0;
        let units = |units_of: fn(Calls) -> f64| {
            let loads = self.loads.iter().map(|(calls, times)| units_of(*calls) * times);
            units_of(self.calls) * self.number + loads.sum::<f64>()
        };
        let gigabytes = |bytes: f64| self.number * bytes / BYTES_OF_A_GB;
        for (item, quantity, price) in [
            ("API requests", usage.api_requests(self.number), prices.http_api()),
            ("invocations", self.number, prices.lambda_request()),
            ("GB-seconds", seconds * f64::from(usage.memory_mb) / 1_024.0, prices.lambda_time(usage.architecture)),
            ("table writes", units(Calls::write_units), prices.dynamodb_write()),
            ("table reads", units(Calls::read_units), prices.dynamodb_read()),
            ("secret reads", units(Calls::secrets_manager_calls), prices.secrets_manager_call()),
            ("GB of log", gigabytes(self.log_bytes), prices.log()),
            ("GB sent", gigabytes(self.answer_bytes), prices.transfer_out()),
        ] {
            lines.push(Line { part: self.part, item, quantity, price });
        }
    }
}

impl LogBytes {
    fn of(self, usage: &Usage) -> f64 {
        let audit = if usage.log_level == LogLevel::Info { self.audit + LOG_EVENT_BYTES } else { 0 };
        let access = if usage.access_log { self.access + LOG_EVENT_BYTES } else { 0 };
        f64::from(audit + access)
    }
}

fn tokens(usage: &Usage, calls: &CountedCalls) -> Requests {
    let (number, forgetting) = (f64::from(usage.tokens), usage.forgetting());
    let mut loads = vec![
        (calls.load.realm, forgetting.loads(number, 1, REGISTRATION_TTL)),
        (calls.load.client, forgetting.loads(number, usage.clients, REGISTRATION_TTL)),
        (calls.load.client_secret, forgetting.loads(number, usage.clients, SECRET_TTL)),
        (calls.load.new_secret, forgetting.loads(number, usage.clients, KNOWN_SECRET_TTL)),
    ];
    if usage.signs() {
        loads.push((calls.load.signing_keys, forgetting.loads(number, 1, KEY_TTL)));
        loads.push((calls.load.registry, forgetting.loads(number, 1, REGISTRY_TTL)));
    }
    if usage.is_stateless() {
        loads.push((calls.load.whole_since, forgetting.loads(number, 1, REGISTRATION_TTL)));
    }
    if usage.record_use {
        loads.push((calls.load.use_mark, forgetting.loads(number, usage.clients, USE_MARK_TTL)));
    }
    let answer_bytes = if usage.signs() { JWT_ANSWER_BYTES } else { OPAQUE_ANSWER_BYTES };
    let log_bytes = LOG_BYTES.token.of(usage);
    Requests { part: Part::Tokens, number, calls: calls.token, loads, log_bytes, answer_bytes }
}

fn introspections(usage: &Usage, calls: &CountedCalls) -> Requests {
    let (number, forgetting) = (f64::from(usage.introspections), usage.forgetting());
    let mut loads = vec![
        (calls.load.realm, forgetting.loads(number, 1, REGISTRATION_TTL)),
        (calls.load.client, forgetting.loads(number, usage.resource_servers, REGISTRATION_TTL)),
        (calls.load.client_secret, forgetting.loads(number, usage.resource_servers, SECRET_TTL)),
        (calls.load.new_secret, forgetting.loads(number, usage.resource_servers, KNOWN_SECRET_TTL)),
        // The client that the token was issued to.
        (calls.load.client, forgetting.loads(number, usage.clients, REGISTRATION_TTL)),
    ];
    if usage.signs() {
        loads.push((calls.load.public_keys, forgetting.loads(number, 1, KEY_TTL)));
    }
    if usage.is_stateless() {
        loads.push((calls.load.whole_since, forgetting.loads(number, 1, REGISTRATION_TTL)));
    }
    if usage.record_use {
        loads.push((calls.load.use_mark, forgetting.loads(number, usage.resource_servers, USE_MARK_TTL)));
    }
    Requests {
        part: Part::Introspections,
        number,
        calls: calls.introspection,
        loads,
        log_bytes: LOG_BYTES.introspection.of(usage),
        answer_bytes: INTROSPECTION_ANSWER_BYTES,
    }
}

impl Usage {
    fn signs(&self) -> bool {
        self.format == AccessTokenFormat::Jwt
    }

    /// Of so many requests, those that come through the API. A function URL has no price of its own.
    fn api_requests(&self, number: f64) -> f64 {
        if self.secret_storage == KeptSecrets::Iam { 0.0 } else { number }
    }

    /// Secrets in Secrets Manager, but for keys that sign.
    fn secrets_of_clients(&self) -> f64 {
        match self.secret_storage {
            KeptSecrets::SecretsManager => f64::from(self.clients) + f64::from(self.resource_servers),
            KeptSecrets::Digest | KeptSecrets::None | KeptSecrets::Iam => 0.0,
        }
    }

    fn is_stateless(&self) -> bool {
        self.signs() && self.persistence == AccessTokenPersistence::Stateless
    }

    fn forgetting(&self) -> Forgetting {
        Forgetting { sandboxes: self.sandboxes, cold_starts: self.cold_starts }
    }
}

#[cfg(test)]
mod tests {
    use super::super::usage::Architecture;
    use super::*;

    /// A million tokens of one client, by one process that never ends.
    const USAGE: Usage = Usage {
        tokens: 1_000_000,
        introspections: 0,
        clients: 1,
        resource_servers: 1,
        format: AccessTokenFormat::Opaque,
        persistence: AccessTokenPersistence::Stored,
        token_quota: false,
        record_use: false,
        secret_storage: KeptSecrets::SecretsManager,
        memory_mb: 256,
        duration_ms: 10,
        architecture: Architecture::Arm64,
        log_level: LogLevel::Info,
        access_log: false,
        sandboxes: 1,
        cold_starts: 0,
        init_ms: 100,
    };

    fn bill(usage: Usage) -> Bill {
        Bill::of(&usage, &Prices::built_in().expect("they are well formed"))
    }

    /// Quantity and dollars of an item.
    fn line(usage: Usage, part: Part, item: &str) -> (f64, f64) {
        let bill = bill(usage);
        let line = bill.lines.iter().find(|line| line.part == part && line.item == item).expect("the item is billed");
        (line.quantity, line.dollars())
    }

    fn token_line(usage: Usage, item: &str) -> (f64, f64) {
        line(usage, Part::Tokens, item)
    }

    fn introspection_line(usage: Usage, item: &str) -> (f64, f64) {
        line(usage, Part::Introspections, item)
    }

    #[track_caller]
    fn is((quantity, dollars): (f64, f64), expected_quantity: f64, expected_dollars: f64) {
        assert!((quantity - expected_quantity).abs() < 1e-6, "{quantity} is not {expected_quantity}");
        assert!((dollars - expected_dollars).abs() < 1e-9, "{dollars} is not {expected_dollars}");
    }

    #[test]
    fn a_token_is_a_request_an_invocation_and_a_write() {
        is(token_line(USAGE, "API requests"), 1e6, 1.00);
        is(token_line(USAGE, "invocations"), 1e6, 0.20);
        is(token_line(USAGE, "table writes"), 1e6, 0.625);
    }

    #[test]
    fn a_stateless_token_writes_nothing() {
        let stateless =
            Usage { format: AccessTokenFormat::Jwt, persistence: AccessTokenPersistence::Stateless, ..USAGE };
        is(token_line(stateless, "table writes"), 0.0, 0.0);
        let stored = Usage { persistence: AccessTokenPersistence::Stored, ..stateless };
        is(token_line(stored, "table writes"), 1e6, 0.625);
    }

    #[test]
    fn a_token_of_a_client_with_a_quota_is_one_write_more() {
        let counted = Usage { token_quota: true, ..USAGE };
        is(token_line(counted, "table writes"), 2e6, 1.25);
        let stateless = AccessTokenPersistence::Stateless;
        let counted = Usage { format: AccessTokenFormat::Jwt, persistence: stateless, ..counted };
        is(token_line(counted, "table writes"), 1e6, 0.625);
    }

    #[test]
    fn the_use_of_clients_is_recorded_by_a_write_a_day_for_each_process() {
        // A month of 730 hours has 30.4 days.
        let recorded = Usage { record_use: true, clients: 3, sandboxes: 2, cold_starts: 10, ..USAGE };
        let days = 730.0 / 24.0;
        let marks = 3.0 * (2.0 * days + 10.0);
        is(token_line(recorded, "table writes"), 1e6 + marks, 0.625 + marks * 0.000_000_625);
        let introspected = Usage { introspections: 1_000_000, ..recorded };
        let marks = 2.0 * days + 10.0;
        is(introspection_line(introspected, "table writes"), marks, marks * 0.000_000_625);
        // No more than there are requests.
        is(token_line(Usage { tokens: 5, ..recorded }, "table writes"), 10.0, 0.000_006_25);
    }

    #[test]
    fn time_is_billed_by_memory_and_processor_and_starts_too() {
        // 1 M x 0.01 s x 0.25 GB
        is(token_line(USAGE, "GB-seconds"), 2_500.0, 0.033_333_5);
        let larger = Usage { memory_mb: 1_024, duration_ms: 4, architecture: Architecture::X86_64, ..USAGE };
        is(token_line(larger, "GB-seconds"), 4_000.0, 0.066_666_8);
        // And 1,000 x 0.1 s x 0.25 GB
        is(token_line(Usage { cold_starts: 1_000, ..USAGE }, "GB-seconds"), 2_525.0, 0.033_666_835);
    }

    #[test]
    fn what_is_remembered_is_read_again_when_its_time_is_over() {
        // 730 h have 8,760 times 5 minutes: as many secrets, two calls each.
        is(token_line(USAGE, "secret reads"), 17_520.0, 0.0876);
        // And 43,800 minutes: the realm and the client, half a unit each; and 730 hours: the client once more, a unit each.
        is(token_line(USAGE, "table reads"), 44_530.0, 0.005_566_25);
        // Twice the processes and three clients.
        let more = Usage { clients: 3, sandboxes: 2, ..USAGE };
        is(token_line(more, "secret reads"), 105_120.0, 0.5256);
        // (2 x 43,800 for the realm + 3 x 2 x 43,800) / 2 + 3 x 2 x 730
        is(token_line(more, "table reads"), 179_580.0, 0.022_447_5);
    }

    #[test]
    fn nothing_is_read_more_often_than_it_is_asked_for() {
        // Clients that fetch one token an hour find their secret forgotten each time.
        let hourly = Usage { clients: 10_000, ..USAGE };
        is(token_line(hourly, "secret reads"), 2e6, 10.0);
        // (43,800 for the realm + 1 M) / 2 + 1 M
        is(token_line(hourly, "table reads"), 1_521_900.0, 0.190_237_5);
        let none = Usage { tokens: 0, cold_starts: 1_000, ..USAGE };
        let (bill, parts) = (bill(none), [Part::Tokens, Part::Introspections]);
        assert!(parts.into_iter().all(|part| bill.dollars(part).abs() < 1e-12));
    }

    #[test]
    fn a_start_remembers_nothing() {
        // Of one client: 1,000 x 2 calls beyond the 17,520; of two: each start may load both.
        is(token_line(Usage { cold_starts: 1_000, ..USAGE }, "secret reads"), 19_520.0, 0.0976);
        is(token_line(Usage { cold_starts: 1_000, clients: 2, ..USAGE }, "secret reads"), 39_040.0, 0.1952);
    }

    #[test]
    fn jwts_load_the_realms_keys() {
        let jwt = Usage { format: AccessTokenFormat::Jwt, introspections: 1_000_000, ..USAGE };
        // 8,760 more than for opaque tokens: of Secrets Manager one each, of the registry a consistent read each; and one of which registry it is.
        is(token_line(jwt, "secret reads"), 26_280.0, 0.1314);
        is(token_line(jwt, "table reads"), 53_291.0, 0.006_661_375);
        // 1 M of the token, (43,800 x 3) / 2 of the realm and two clients, 730 of the caller, 8,760 of the public keys.
        is(introspection_line(jwt, "table reads"), 1_075_190.0, 0.134_398_75);
        is(introspection_line(jwt, "secret reads"), 17_520.0, 0.0876);
        is(line(jwt, Part::Standing, "secrets kept"), 3.0, 1.20);
    }

    #[test]
    fn an_introspection_reads_and_writes_nothing() {
        let usage = Usage { introspections: 2_000_000, resource_servers: 4, ..USAGE };
        is(introspection_line(usage, "API requests"), 2e6, 2.00);
        is(introspection_line(usage, "table writes"), 0.0, 0.0);
        // 2 M + (43,800 x (1 realm + 4 callers + 1 client)) / 2 + 730 x 4 callers
        is(introspection_line(usage, "table reads"), 2_134_320.0, 0.266_79);
        is(introspection_line(usage, "secret reads"), 70_080.0, 0.3504);
        is(line(usage, Part::Standing, "secrets kept"), 5.0, 2.00);
    }

    #[test]
    fn a_higher_level_leaves_the_audit_line_out() {
        // 370 bytes, and 26 for the event.
        is(token_line(USAGE, "GB of log"), 0.396, 0.198);
        is(token_line(Usage { log_level: LogLevel::Warn, ..USAGE }, "GB of log"), 0.0, 0.0);
        // And 380 and 26.
        is(token_line(Usage { access_log: true, ..USAGE }, "GB of log"), 0.802, 0.401);
    }

    #[test]
    fn the_parts_make_the_total() {
        let bill = bill(Usage { introspections: 1_000_000, ..USAGE });
        // 1 + 0.2 + 0.0333335 + 0.625 + 0.00556625 + 0.0876 + 0.198 + 0.063
        assert!((bill.dollars(Part::Tokens) - 2.212_499_75).abs() < 1e-9, "{}", bill.dollars(Part::Tokens));
        let parts = [Part::Tokens, Part::Introspections, Part::Standing].map(|part| bill.dollars(part));
        assert!((bill.total() - parts.iter().sum::<f64>()).abs() < 1e-9);
    }

    #[test]
    fn a_digest_costs_nothing_to_keep_or_to_read() {
        let usage = Usage { clients: 5_000, tokens: 3_650_000, cold_starts: 1_000, ..USAGE };
        let digest = Usage { secret_storage: KeptSecrets::Digest, ..usage };
        is(token_line(digest, "secret reads"), 0.0, 0.0);
        is(line(digest, Part::Standing, "secrets kept"), 0.0, 0.0);
        // (43,800 + 1,000 for the realm + 3.65 M) / 2
        is(token_line(digest, "table reads"), 1_847_400.0, 0.230_925);
        let totals = [usage, digest].map(|usage| bill(usage).total());
        assert!(totals[0] > 2_045.0 && totals[1] < 12.0, "{totals:?}");
        // Keys that sign are still one.
        let signed = Usage { format: AccessTokenFormat::Jwt, ..digest };
        is(line(signed, Part::Standing, "secrets kept"), 1.0, 0.40);
    }

    #[test]
    fn a_client_with_a_key_has_no_secret_and_each_of_its_assertions_is_a_write() {
        let keys = Usage { introspections: 1_000_000, secret_storage: KeptSecrets::None, ..USAGE };
        is(token_line(keys, "secret reads"), 0.0, 0.0);
        is(token_line(keys, "table writes"), 2e6, 1.25);
        is(introspection_line(keys, "table writes"), 1e6, 0.625);
        is(line(keys, Part::Standing, "secrets kept"), 0.0, 0.0);
    }

    #[test]
    fn a_role_of_aws_has_nothing_to_keep_to_read_or_to_remember_and_its_address_no_price() {
        let roles = Usage { introspections: 1_000_000, secret_storage: KeptSecrets::Iam, ..USAGE };
        for none in ["API requests", "secret reads"] {
            is(token_line(roles, none), 0.0, 0.0);
            is(introspection_line(roles, none), 0.0, 0.0);
        }
        is(token_line(roles, "table writes"), 1e6, 0.625);
        is(introspection_line(roles, "table writes"), 0.0, 0.0);
        is(line(roles, Part::Standing, "secrets kept"), 0.0, 0.0);
    }

    #[test]
    fn a_million_tokens_of_cognito_are_2250_dollars() {
        let prices = Prices::built_in().expect("they are well formed");
        assert!((prices.cognito_token().of(1e6) - 2_250.0).abs() < 1e-9);
    }
}
