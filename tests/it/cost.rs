//! `grantwell cost` from outside, and the pages that show what it prints.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::cli::grantwell;

struct Ended {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn cost(arguments: &[&str]) -> Ended {
    let output = grantwell().arg("cost").args(arguments).output().expect("grantwell runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ended { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn json(arguments: &[&str]) -> Value {
    let ended = cost(&[arguments, &["--output", "json"]].concat());
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    serde_json::from_str(&ended.stdout).expect("JSON")
}

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("the page is there")
}

fn dollars(number: &Value) -> String {
    format!("{:.2}", number.as_f64().expect("a number"))
}

#[test]
fn the_cost_page_shows_what_the_command_prints() {
    let page = page("docs/cost.md");
    let examples: Vec<_> = page.split("```console\n$ grantwell cost").skip(1).collect();
    assert_eq!(examples.len(), 4);
    for example in examples {
        let (arguments, rest) = example.split_once('\n').expect("a line of arguments");
        let (expected, _) = rest.split_once("```").expect("an end");
        let arguments: Vec<_> = arguments.split_whitespace().chain(["--output", "table"]).collect();
        let printed = cost(&arguments);
        assert_eq!((printed.status, printed.stdout.as_str()), (Some(0), expected), "{arguments:?}");
    }
}

#[test]
fn the_cost_page_lists_the_prices_that_the_command_has() {
    let page = page("docs/cost.md");
    let prices = json(&[]);
    let prices = prices["prices"].as_object().expect("an object");
    let mut listed = 0;
    for (name, price) in prices.iter().filter(|(_, price)| price.is_number()) {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` | "))).expect("the price has a row");
        let shown: f64 = row.split(" | ").nth(1).expect("a second cell").parse().expect("a number");
        assert_eq!(Some(shown), price.as_f64(), "{name}");
        listed += 1;
    }
    assert_eq!(listed, 11);
}

#[test]
fn the_readme_shows_what_the_command_computes() {
    let page = page("README.md");
    let rows: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("| `grantwell cost")).collect();
    assert_eq!(rows.len(), 5);
    for row in rows {
        let (arguments, rest) = row.split_once('`').expect("the end of the command");
        let shown: Vec<_> = rest.split('|').map(str::trim).skip(1).take(2).collect();
        let computed = json(&arguments.split_whitespace().collect::<Vec<_>>());
        let computed = &computed["dollars_per_million"];
        assert_eq!(shown, [dollars(&computed["tokens"]), dollars(&computed["introspections"])], "{arguments}");
    }
}

#[test]
fn json_has_what_the_figures_are_made_of() {
    let answer = json(&["--tokens", "2000000", "--introspections", "0", "--memory", "512", "--log-level", "warn"]);
    assert_eq!(answer["usage"]["tokens"], 2_000_000);
    assert_eq!(answer["usage"]["memory_mb"], 512);
    assert_eq!(answer["prices"]["region"], "us-east-1");
    assert_eq!(answer["cognito"], serde_json::json!({ "tokens": 4500.0, "total": 4500.0 }));
    assert_eq!(answer["dollars_per_million"]["introspections"], Value::Null);
    assert_eq!(answer["dollars_per_month"]["introspections"], 0.0);
    let lines = answer["lines"].as_array().expect("lines");
    let sum: f64 = lines.iter().map(|line| line["dollars"].as_f64().expect("dollars")).sum();
    assert!((sum - answer["dollars_per_month"]["total"].as_f64().expect("a total")).abs() < 1e-4, "{answer}");
}

#[test]
fn a_quota_is_one_write_a_token() {
    let (without, with) = (json(&[]), json(&["--token-quota"]));
    let writes = |answer: &Value| answer["calls"]["token"]["writes"].as_u64();
    assert_eq!((writes(&without), writes(&with)), (Some(1), Some(2)));
    let dollars = |answer: &Value| answer["dollars_per_million"]["tokens"].as_f64().expect("dollars");
    assert!((dollars(&with) - dollars(&without) - 0.625).abs() < 1e-6, "the price of a million write units");
    let stateless = json(&["--token-quota", "--format", "jwt", "--persistence", "stateless"]);
    assert_eq!(writes(&stateless), Some(1));
    assert!(
        stateless["assumptions"]
            .to_string()
            .contains("stateless JWTs, counted for a quota; secrets in Secrets Manager; clients: 10")
    );
}

#[test]
fn another_regions_prices_are_read_from_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("prices.json");
    let file = file.to_str().expect("UTF-8");
    let mut prices = json(&[])["prices"].clone();
    prices["region"] = "eu-west-1".into();
    prices["http_api_request_million"] = 11.0.into();
    fs::write(file, prices.to_string()).expect("written");

    let there = json(&["--region", "eu-west-1", "--prices", file]);
    let (here, there) = (json(&[]), there["dollars_per_month"]["total"].as_f64());
    let here = here["dollars_per_month"]["total"].as_f64();
    assert!((there.expect("dollars") - here.expect("dollars") - 20.0).abs() < 1e-6);

    fs::write(file, "{}").expect("written");
    let ended = cost(&["--prices", file]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("is not a list of prices in the form of"), "{}", ended.stderr);
}

#[test]
fn prices_that_no_list_can_have_are_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("prices.json");
    let file = file.to_str().expect("UTF-8");
    let prices = json(&[])["prices"].clone();
    let members: Vec<_> =
        prices.as_object().expect("an object").iter().filter(|(_, price)| price.is_number()).collect();
    for (name, _) in members {
        for (price, sentence) in [
            ("-1", format!("{name} is not a price: a price is 0 to 1000000 dollars")),
            ("-0.0", format!("{name} is not a price")),
            ("1e300", format!("{name} is not a price")),
            ("1e999", "number out of range".to_owned()),
            ("NaN", "is not a list of prices".to_owned()),
            ("Infinity", "is not a list of prices".to_owned()),
            ("null", "is not a list of prices".to_owned()),
        ] {
            let mut changed = prices.clone();
            changed[name] = "PRICE".into();
            fs::write(file, changed.to_string().replace("\"PRICE\"", price)).expect("written");
            let ended = cost(&["--prices", file, "--tokens", "4294967295"]);
            assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""), "{name} {price}");
            assert!(ended.stderr.contains(&sentence) && ended.stderr.lines().count() == 1, "{price}: {}", ended.stderr);
        }
    }
}

#[test]
fn the_largest_bill_is_a_number() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("prices.json");
    let mut prices = json(&[])["prices"].clone();
    for price in prices.as_object_mut().expect("an object").values_mut().filter(|price| price.is_number()) {
        *price = 1_000_000.into();
    }
    fs::write(&file, prices.to_string()).expect("written");
    let most = "4294967295";
    let counts = ["--tokens", "--introspections", "--clients", "--resource-servers", "--sandboxes", "--cold-starts"];
    let mut arguments: Vec<_> = counts.into_iter().flat_map(|count| [count, most]).collect();
    arguments.extend([
        "--duration-ms",
        most,
        "--init-ms",
        most,
        "--memory",
        "10240",
        "--prices",
        file.to_str().expect("UTF-8"),
    ]);
    let answer = json(&arguments);
    let total = answer["dollars_per_month"]["total"].as_f64().expect("a number");
    assert!(total.is_finite() && total > 0.0);
    let table = cost(&[&arguments[..], &["--output", "table"]].concat()).stdout;
    assert!(!table.contains("inf") && !table.contains("NaN"), "{table}");
}

#[test]
fn counts_and_times_may_have_units() {
    let with_units = json(&[
        "--tokens",
        "1.5M",
        "--introspections",
        "500k",
        "--duration-ms",
        "8ms",
        "--init-ms",
        "1s",
        "--cold-starts",
        "2k",
    ]);
    let plain = json(&[
        "--tokens",
        "1500000",
        "--introspections",
        "500000",
        "--duration-ms",
        "8",
        "--init-ms",
        "1000",
        "--cold-starts",
        "2000",
    ]);
    assert_eq!(with_units, plain);
    assert_eq!(with_units["usage"]["tokens"], 1_500_000);
}

#[test]
fn what_makes_no_sense_is_refused_with_a_word_of_advice() {
    for (arguments, status, sentence) in [
        (&["--persistence", "stateless"][..], 1, "for stateless ones add --format jwt"),
        (&["--region", "eu-west-1"], 1, "the built-in prices are those of us-east-1; give those of eu-west-1"),
        (&["--prices", "/nonexistent/prices.json"], 1, "cannot be read"),
        (
            &["--prices", "src/bin/grantwell/cost/prices.json", "--region", "eu-west-1"],
            1,
            "the prices in src/bin/grantwell/cost/prices.json are those of us-east-1, not of eu-west-1; add --region us-east-1",
        ),
        (&["--tokens", "5000000000"], 2, "5000000000 is not in"),
        (&["--tokens", "5000M"], 2, "5000000000 is not in"),
        (&["--tokens", "-5"], 2, "invalid value '-5' for '--tokens <NUMBER>': a count is a whole number"),
        (&["--duration-ms", "-1ms"], 2, "a time is a whole number of milliseconds"),
        (&["--tokens", "many"], 2, "a count is a whole number"),
        (&["--duration-ms", "0"], 2, "a time is a whole number of milliseconds"),
        (&["--memory", "64"], 2, "64 is not in 128..=10240"),
        (&["--clients", "0"], 2, "--clients"),
        (&["--format", "saml"], 2, "[possible values: opaque, jwt]"),
    ] {
        let ended = cost(arguments);
        assert_eq!((ended.status, ended.stdout.as_str()), (Some(status), ""), "{arguments:?}");
        assert!(ended.stderr.contains(sentence), "{arguments:?}: {}", ended.stderr);
    }
}
