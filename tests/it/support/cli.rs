//! The real command line, as an operator types it.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

/// The command, without the settings of the person who runs the tests.
pub(crate) fn grantwell() -> Command {
    without_settings(Command::new(env!("CARGO_BIN_EXE_grantwell")))
}

/// The same as user and group `id`, from a copy in `directory`: where the build is may be closed to anybody else.
pub(crate) fn grantwell_of_user(id: u32, directory: &Path) -> Command {
    let program = directory.join("grantwell");
    if !program.exists() {
        fs::copy(env!("CARGO_BIN_EXE_grantwell"), &program).expect("copied");
        fs::set_permissions(directory, Permissions::from_mode(0o755)).expect("ours");
    }
    let mut command = Command::new(program);
    command.uid(id).gid(id);
    without_settings(command)
}

/// The same in a shell that has run a line before it becomes the command.
pub(crate) fn grantwell_after(shell: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!(r#"{shell}; exec "$0" "$@""#), env!("CARGO_BIN_EXE_grantwell")]);
    without_settings(command)
}

fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        // A CI job's commands do not print secrets.
        let of_ci = ["CI", "TF_BUILD", "JENKINS_URL", "CODEBUILD_BUILD_ID", "TEAMCITY_VERSION"];
        name.starts_with("GRANTWELL_") || name == "RUST_LOG" || of_ci.contains(&&*name)
    }) {
        command.env_remove(name);
    }
    command
}

/// A `file:` store in a directory of its own.
pub(crate) struct Store {
    directory: PathBuf,
    /// Removes the directory on drop.
    _owned: Option<TempDir>,
}

/// A client that the command line registered, with the secret that was shown once.
#[derive(Clone)]
pub(crate) struct Registered {
    pub(crate) realm: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
}

impl Store {
    /// A new store whose directory does not exist yet.
    pub(crate) fn new() -> Self {
        let owned = TempDir::with_prefix("grantwell-it-").expect("a temporary directory");
        Self { directory: owned.path().join("data"), _owned: Some(owned) }
    }

    /// A store in a directory that somebody else removes.
    pub(crate) fn at(directory: PathBuf) -> Self {
        Self { directory, _owned: None }
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The value of `--store`.
    pub(crate) fn argument(&self) -> String {
        format!("file:{}", self.directory.display())
    }

    /// Runs `grantwell ARGUMENTS --store file:…`, feeding `stdin`.
    pub(crate) fn run_with_input(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut child = grantwell()
            .args(arguments)
            .args(["--store", &self.argument()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("grantwell starts");
        child.stdin.take().expect("piped").write_all(stdin.as_bytes()).expect("stdin is read");
        child.wait_with_output().expect("grantwell ends")
    }

    /// Runs a command that must succeed, and gives its stdout.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        succeeded(arguments, &self.run_with_input(arguments, ""))
    }

    /// Creates or changes a realm.
    pub(crate) fn set_realm(&self, name: &str, settings: &[&str]) {
        self.run(&[&["realm", "set", name], settings].concat());
    }

    /// Registers a client for client credentials; `settings` are further arguments of `client create`.
    pub(crate) fn register(&self, realm: &str, client_id: &str, settings: &[&str]) -> Registered {
        let arguments = create(realm, client_id, settings);
        registered(realm, client_id, &self.run(&arguments))
    }

    /// Registers a client with a secret of the test's own choosing.
    pub(crate) fn register_with_secret(
        &self,
        realm: &str,
        client_id: &str,
        secret: &str,
        settings: &[&str],
    ) -> Registered {
        let arguments = [create(realm, client_id, settings), vec!["--secret-stdin", "--allow-weak-secret"]].concat();
        let stdout = succeeded(&arguments, &self.run_with_input(&arguments, &format!("{secret}\n")));
        let client = registered(realm, client_id, &stdout);
        assert_eq!(client.client_secret, secret, "the secret given is the secret registered");
        client
    }

    /// Leaves a realm without keys, as it is in a registry from before they were made with the setting.
    pub(crate) fn forget_keys(&self, realm: &str) {
        let registry = rusqlite::Connection::open(self.directory().join("registry.db")).expect("the registry");
        registry.busy_timeout(Duration::from_secs(10)).expect("a setting");
        registry.execute("DELETE FROM signing_keys WHERE realm = ?", [realm]).expect("forgotten");
    }

    /// Runs `grantwell client COMMAND ID --realm REALM …`.
    pub(crate) fn client(&self, command: &str, client: &Registered, settings: &[&str]) -> String {
        self.run(&[&["client", command, &client.client_id, "--realm", &client.realm], settings].concat())
    }

    /// Makes a new secret, and gives the client as it then authenticates.
    pub(crate) fn rotate_secret(&self, client: &Registered, settings: &[&str]) -> Registered {
        let shown = self.client("rotate-secret", client, settings);
        registered(&client.realm, &client.client_id, &shown)
    }
}

impl Registered {
    /// The value of an Authorization header for this client.
    pub(crate) fn basic(&self) -> String {
        basic(&self.client_id, &self.client_secret)
    }

    /// The client, with another secret.
    pub(crate) fn with_secret(&self, secret: &str) -> Self {
        Self { client_secret: secret.to_owned(), ..self.clone() }
    }

    /// A base path of the client's realm.
    pub(crate) fn base(&self) -> String {
        if self.realm == "root" { "/oauth2".to_owned() } else { format!("/oauth2/realms/root/realms/{}", self.realm) }
    }
}

/// `Basic` and base64 of `id:secret`, as they are.
pub(crate) fn basic(id: &str, secret: &str) -> String {
    basic_of(format!("{id}:{secret}").as_bytes())
}

/// `Basic` and base64 of any bytes.
pub(crate) fn basic_of(pair: &[u8]) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

/// Every byte percent-encoded: the most that a form encoder may do (RFC 6749 Appendix B).
pub(crate) fn percent_encode_all(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02X}").expect("a string takes it");
        encoded
    })
}

fn create<'a>(realm: &'a str, client_id: &'a str, settings: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["client", "create", "--realm", realm, "--id", client_id];
    for (flag, value) in [
        ("--name", "A test client"),
        ("--contact", "tests@example.com"),
        ("--grant-type", "client_credentials"),
        ("--auth-method", "client_secret_basic"),
    ] {
        if !settings.contains(&flag) {
            arguments.extend([flag, value]);
        }
    }
    arguments.extend(settings);
    arguments
}

fn registered(realm: &str, client_id: &str, stdout: &str) -> Registered {
    let shown: Value = serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"));
    assert_eq!(shown["client_id"], client_id, "{stdout}");
    // There is none where no method of the client uses one: nothing authenticates with an empty one.
    let client_secret = shown["client_secret"].as_str().unwrap_or_default().to_owned();
    Registered { realm: realm.to_owned(), client_id: client_id.to_owned(), client_secret }
}

fn succeeded(arguments: &[&str], output: &Output) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "grantwell {arguments:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}
