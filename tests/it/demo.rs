//! `grantwell demo`: what a first visitor sees of the flow.

use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::cli::grantwell;

#[test]
fn the_demo_shows_every_step_with_its_answer_and_leaves_nothing_behind() {
    let elsewhere = TempDir::new().expect("a temporary directory");
    let output = grantwell().arg("demo").current_dir(elsewhere.path()).output().expect("it runs");
    let shown = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(elsewhere.path().read_dir().expect("readable").count(), 0);

    let lines: Vec<&str> = shown.lines().map(str::trim_start).collect();
    let commands: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with("$ ")).collect();
    let statuses: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("HTTP ")).collect();
    let bodies: Vec<Value> = lines
        .iter()
        .filter(|line| line.starts_with("{\""))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();

    // A realm; two registrations; two tokens; a call and its introspection; a revocation; a call and its introspection. Then
    // a registration; a JWT; the keys; a call and its introspection. Then a key and its registration; a token; a replay.
    assert_eq!(commands[0], "$ grantwell realm set alpha");
    assert!(commands[1].contains("client create") && commands[1].contains("--id myClient"), "{}", commands[1]);
    assert!(commands[1].contains("'https://www.example.com:443/callback'"), "{}", commands[1]);
    assert!(commands[2].contains("--id myResourceServer"), "{}", commands[2]);
    assert_eq!(commands.len(), 19, "{commands:#?}");
    let (opaque, jwt, key) = (&commands[3..10], &commands[11..15], &commands[17..]);
    assert!(opaque.iter().chain(jwt).chain(key).all(|command| command.starts_with("$ curl -s ")), "{commands:#?}");
    assert_eq!(statuses, ["200", "200", "200", "200", "200", "200", "401", "200", "200", "200", "200", "200", "401"]);
    assert!(shown.contains("\nHTTP 401\nWWW-Authenticate: Bearer error=\"invalid_token\"\n"), "{shown}");

    let token = bodies[0]["access_token"].as_str().expect("a token");
    assert!(token.starts_with("gwt_"));
    assert_eq!((&bodies[0]["scope"], &bodies[1]["scope"]), (&"write".into(), &"write".into()));
    assert_ne!(bodies[0]["access_token"], bodies[1]["access_token"]);
    assert_eq!(bodies[2]["active"], true);
    assert_eq!(bodies[2]["client_id"], "myClient");
    assert_eq!(bodies[4], serde_json::json!({"active": false}));
    assert!(commands[5].contains(token) && commands[7].contains(token), "{commands:#?}");

    assert!(
        commands[10].ends_with("--access-token-format 'jwt' --resource 'https://api.example.com/orders'"),
        "{}",
        commands[10]
    );
    let token = bodies[5]["access_token"].as_str().expect("a token");
    assert_eq!(token.split('.').count(), 3, "{token}");
    assert!(commands[12].ends_with("/am/oauth2/realms/root/realms/alpha/connect/jwk_uri"), "{}", commands[12]);
    let (header, payload) = header_and_payload(&shown).expect("a JWT, decoded");
    assert_eq!((&header["typ"], &header["alg"]), (&"at+jwt".into(), &"ES256".into()));
    assert!(bodies[6]["keys"].as_array().expect("a JWKS").iter().any(|key| key["kid"] == header["kid"]), "{header}");
    assert_eq!((&payload["client_id"], &payload["scope"]), (&"myJwtClient".into(), &"write".into()));
    assert_eq!(payload["aud"], "https://api.example.com/orders");
    assert_eq!(bodies[7]["active"], true);
    for member in ["client_id", "sub", "aud", "iss", "iat", "exp", "jti", "scope", "realm", "auditTrackingId"] {
        assert_eq!(bodies[7][member], payload[member], "{member}");
    }
    assert!(commands[13].contains(token) && commands[14].contains(token), "{commands:#?}");

    assert_eq!(commands[15], "$ cat myKeyClient.jwks.json");
    assert!(commands[16].ends_with(" --auth-method private_key_jwt --jwks myKeyClient.jwks.json"), "{}", commands[16]);
    assert!(commands[17].contains(" -d client_assertion=ey") && commands[17] == commands[18], "{commands:#?}");
    assert!(bodies[9]["access_token"].as_str().is_some_and(|token| token.starts_with("gwt_")), "{}", bodies[9]);
    assert_eq!(bodies[10]["error"], "invalid_client");
    assert!(shown.ends_with("\n\nEvery step answered as it should.\n\n"), "{shown}");
}

#[test]
fn a_demo_that_nobody_reads_to_its_end_is_no_success() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = grantwell().arg("demo").stdout(writer).stderr(Stdio::piped()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output was closed"));
}

/// The JWT of the transcript, as it is shown decoded.
fn header_and_payload(shown: &str) -> Option<(Value, Value)> {
    let (_, decoded) = shown.split_once("its header and its payload are\n")?;
    let mut parts = serde_json::Deserializer::from_str(decoded).into_iter::<Value>();
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}
