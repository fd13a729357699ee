//! Whether a store of many tokens is dearer than one of few: `make bench-growth`.
//!
//! For each size a store of its own, in a process of its own, so that memory is that store's. Tokens are written and read through
//! the port, as the server does: written by 16 at once. The CPU of a write is that of all threads over the whole filling, divided by the
//! tokens, until the store is in order behind the scenes: nothing of the price is left for later. Its latencies are those of the
//! last tenth (at most 100,000). Reads come after that: of tokens picked evenly, each of which the store has, and of as many
//! that it does not have.
#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has no figures to give")]
#![expect(clippy::cast_precision_loss, reason = "figures with one digit after the point")]
#![expect(clippy::disallowed_methods, reason = "the settings of a benchmark are no setting of the server")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use mimalloc::MiMalloc;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use grantwell::core::access_token::claims::CustomClaims;
use grantwell::core::access_token::record::{AccessTokenRecord, StoredToken};
use grantwell::core::access_token::{TokenDigest, opaque};
use grantwell::core::client::id::RegistrationId;
use grantwell::core::ports::{Clock as _, TokenStore as _};
use grantwell::core::realm::{PublicUrl, RealmName};
use grantwell::core::resource::Audience;
use grantwell::embedded::store::tokens::{Durability, SqliteTokens};
use grantwell::system::{SystemClock, SystemRandom};

/// The allocator of the local server.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const SIZES: [u64; 4] = [1_000, 100_000, 1_000_000, 10_000_000];
const READS: u64 = 100_000;
/// As many requests as `make bench-peers` has at once.
const CONNECTIONS: usize = 16;

/// What a sample of calls cost.
struct Sample {
    cpu: Duration,
    latencies: Vec<Duration>,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    if let Some(size) = arguments.next() {
        measure(size);
        return;
    }
    let most: u64 =
        std::env::var("GRANTWELL_BENCH_TOKENS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    println!(
        "| tokens | put: CPU us | p50 us | p99 us | max ms | get: CPU us | p50 us | p99 us | get of none: CPU us | \
         resident MB | at most | disk MB | filled in s | in order after s | opened again in ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for size in SIZES.into_iter().filter(|size| *size <= most) {
        let own = std::env::current_exe().expect("this program");
        assert!(Command::new(own).arg(size.to_string()).status().expect("it starts").success());
    }
}

fn measure(size: u64) {
    let directory = TempDir::with_prefix("grantwell-bench-").expect("a temporary directory");
    let path = directory.path().join("tokens.db");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let open = || SqliteTokens::open(&path, Durability::OperatingSystem, Arc::new(SystemClock)).expect("opened");

    let (tokens, record) = (open(), record());
    let sampled = (size / 10).min(READS);
    let (started, cpu_before) = (Instant::now(), cpu());
    puts(&runtime, &tokens, &record, 0..size - sampled);
    let puts = puts(&runtime, &tokens, &record, size - sampled..size);
    let filled = started.elapsed();
    wait_until_idle();
    let (in_order, cpu_of_puts) = (started.elapsed(), cpu().saturating_sub(cpu_before));

    // Picked evenly over the store, in an order that has nothing to do with that of the writes.
    let stored = gets(&runtime, &tokens, (0..READS).map(|read| read.wrapping_mul(LARGE_PRIME) % size), true);
    let absent = gets(&runtime, &tokens, size..size + READS, false);
    let (resident, most) = (resident_megabytes("VmRSS:"), resident_megabytes("VmHWM:"));
    let disk = disk_megabytes(directory.path());

    drop(tokens);
    let started = Instant::now();
    drop(open());
    let opened = started.elapsed();
    println!(
        "| {size} | {} | {} | {:.0} | {} | {} | {} | {resident:.0} | {most:.0} | {disk:.0} | {:.0} | {:.0} | {:.0} |",
        microseconds_each(cpu_of_puts, size),
        puts.latencies(),
        puts.percentile(100).as_secs_f64() * 1e3,
        stored.cpu_microseconds(),
        stored.latencies(),
        absent.cpu_microseconds(),
        filled.as_secs_f64(),
        in_order.as_secs_f64(),
        opened.as_secs_f64() * 1e3,
    );
}

/// Returns once the store's threads have had next to nothing to do for a second.
fn wait_until_idle() {
    let mut idle = 0;
    while idle < 5 {
        let before = cpu();
        std::thread::sleep(Duration::from_millis(200));
        idle = if cpu().saturating_sub(before) < Duration::from_millis(4) { idle + 1 } else { 0 };
    }
}

fn puts(runtime: &Runtime, tokens: &SqliteTokens, record: &AccessTokenRecord, which: std::ops::Range<u64>) -> Sample {
    // Names that are random in a real record, so that they do not compress.
    let inputs = which.map(|number| {
        let digest = digest(number);
        let name = URL_SAFE_NO_PAD.encode(digest.as_bytes());
        let audit_tracking_id = name.chars().rev().take(36).collect();
        let jti = name.chars().take(22).collect();
        (digest, AccessTokenRecord { jti, audit_tracking_id, ..record.clone() })
    });
    sample(inputs, CONNECTIONS, |puts| {
        let put = async |(digest, record): (TokenDigest, AccessTokenRecord)| {
            let started = Instant::now();
            tokens.put(&digest, &record).await.expect("stored");
            started.elapsed()
        };
        runtime.block_on(join_all(puts.drain(..).map(put)))
    })
}

fn gets(runtime: &Runtime, tokens: &SqliteTokens, which: impl Iterator<Item = u64>, expected: bool) -> Sample {
    sample(which.map(digest), 1, |gets| {
        let get = |digest| {
            let started = Instant::now();
            let token = runtime.block_on(tokens.get(&digest)).expect("read");
            assert_eq!(token != StoredToken::Absent, expected);
            started.elapsed()
        };
        gets.drain(..).map(get).collect()
    })
}

/// Calls with what was prepared ten thousand at a time, `at_once` of them together: preparing is no part of the cost.
fn sample<T>(
    mut inputs: impl Iterator<Item = T>,
    at_once: usize,
    mut call: impl FnMut(&mut Vec<T>) -> Vec<Duration>,
) -> Sample {
    let mut sample = Sample { cpu: Duration::ZERO, latencies: Vec::new() };
    loop {
        let mut prepared = inputs.by_ref().take(10_000).collect::<Vec<T>>().into_iter().peekable();
        if prepared.peek().is_none() {
            sample.latencies.sort_unstable();
            return sample;
        }
        let before = cpu();
        while prepared.peek().is_some() {
            let mut together = prepared.by_ref().take(at_once).collect();
            sample.latencies.extend(call(&mut together));
        }
        sample.cpu += cpu().saturating_sub(before);
    }
}

impl Sample {
    fn latencies(&self) -> String {
        let microseconds = |percent| self.percentile(percent).as_secs_f64() * 1e6;
        format!("{:.1} | {:.1}", microseconds(50), microseconds(99))
    }

    fn cpu_microseconds(&self) -> String {
        microseconds_each(self.cpu, self.latencies.len() as u64)
    }

    fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(last * percent / 100).copied().unwrap_or_default()
    }
}

/// Nothing for few calls: the scheduler brings its count up to date every few milliseconds only.
fn microseconds_each(cpu: Duration, calls: u64) -> String {
    if calls < 10_000 {
        return String::new();
    }
    format!("{:.1}", cpu.as_secs_f64() * 1e6 / calls as f64)
}

/// The digest of the n-th token, which nobody has to remember: a token made of n.
fn digest(number: u64) -> TokenDigest {
    opaque::of_random_bits(&[u128::from(number).to_be_bytes(), [0; 16]]).digest()
}

fn record() -> AccessTokenRecord {
    let public_url: PublicUrl = "https://auth.example.com".parse().expect("a URL");
    let now = SystemClock.now();
    AccessTokenRecord {
        realm: RealmName::root(),
        client_id: "benchmark".parse().expect("an id"),
        registration_id: RegistrationId::generate(&SystemRandom).expect("random bytes"),
        scope: "read write".parse().expect("a scope"),
        iss: public_url.issuer("/oauth2"),
        aud: Audience::default(),
        iat: now,
        // None expires while it is measured.
        expires_at: now.plus(86_400),
        jti: "AAECAwQFBgcICQoLDA0ODw".to_owned(),
        audit_tracking_id: "00010203-0405-4607-8809-0a0b0c0d0e0f".to_owned(),
        claims: CustomClaims::default(),
        trust_rule: None,
    }
}

/// Time on a CPU of all threads of this process: no thread of the store ends before the store is closed.
fn cpu() -> Duration {
    let threads = fs::read_dir("/proc/self/task").expect("this process").flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

fn resident_megabytes(which: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("this process");
    let line = status.lines().find_map(|line| line.strip_prefix(which)).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

/// What the files take on the disk: a journal is made larger than it is full.
fn disk_megabytes(directory: &Path) -> f64 {
    let output = Command::new("du").args(["-s", "-k"]).arg(directory).output().expect("du runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace().next().and_then(|text| text.parse::<f64>().ok()).expect("a number") / 1024.0
}

/// Picks evenly whatever the size of the store.
const LARGE_PRIME: u64 = 0x9E37_79B9_7F4A_7C55;
