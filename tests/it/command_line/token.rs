//! `grantwell token get` of callers without a secret, as far as no server is asked: tests/aws/test_token_get.py has the rest.

use super::operator::{Ended, Operator};

fn token_get(operator: &Operator, arguments: &[&str]) -> Ended {
    operator.run_with(|process| {
        process.args(["token", "get", "--client-id", "orders"]).args(arguments);
        for name in ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"] {
            process.env_remove(name);
        }
    })
}

#[test]
fn exactly_one_way_to_prove_who_the_client_is_has_to_be_named() {
    let operator = Operator::new();
    token_get(&operator, &[]).is_refusal(
        2,
        "<--key <FILE>|--secret-file <FILE|->|--aws|--github|--kubernetes [<FILE>]|--assertion <FILE|->>",
    );
    for arguments in [
        &["--aws", "--github"][..],
        &["--kubernetes", "--assertion", "-"],
        &["--github", "--door", "https://door.example.com"],
        &["--github", "--kid", "a"],
        &["--assertion", "-", "--service", "lambda"],
        &["--key", "a", "--secret-file", "b"],
        &["--key", "a", "--auth-method", "client_secret_post"],
        &["--secret-file", "a", "--alg", "ES256"],
        &["--secret-file", "a", "--door", "https://door.example.com"],
    ] {
        token_get(&operator, arguments).is_refusal(2, "cannot be used with");
    }
}

#[test]
fn what_the_place_lacks_is_said() {
    let operator = Operator::new();
    token_get(&operator, &["--github"]).is_refusal(1, "permissions: {id-token: write, contents: read}");
    token_get(&operator, &["--kubernetes"]).is_refusal(1, "/var/run/secrets/grantwell/token: No such file");
    token_get(&operator, &["--assertion", "missing"]).is_refusal(1, "--assertion missing: No such file");
    if cfg!(not(feature = "aws")) {
        token_get(&operator, &["--aws"])
            .is_refusal(1, "this build of grantwell does not support AWS; install the full one");
    }
}
