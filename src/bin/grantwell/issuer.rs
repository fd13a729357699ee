//! `grantwell issuer`: whose tokens stand for clients of a realm.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};

use clap::ArgGroup;
use serde::Serialize;
use serde_json::Value;

use grantwell::core::keys::jwk_set::{JwkSet, RefusedJwks};
use grantwell::core::keys::jws_algorithm::{JwsAlgorithm, UnknownJwsAlgorithm};
use grantwell::core::keys::remote::{CaCertificates, JwksUri, JwksUrl};
use grantwell::core::management::IssuerChange;
use grantwell::core::ports::Clock as _;
use grantwell::core::realm::RealmName;
use grantwell::core::trust::issuer::{IssuerKeys, IssuerKind, IssuerName, IssuerUrl, TrustedIssuer};
use grantwell::core::trust::key_address::KeyAddress;
use grantwell::remote::fetcher::{FetchError, Fetcher};
use grantwell::remote::keys::{NoKeys, try_fetching};
use grantwell::system::SystemClock;

use crate::access_token::Setting;
use crate::ca_file;
use crate::duration;
use crate::failure::Failure;
use crate::output::{self, OutputArguments};
use crate::store::{IfAbsent, Place, PlaceArguments, suggest};
use crate::words;

/// `grantwell issuer …`
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  grantwell issuer add github --realm alpha --preset github")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Makes a realm trust an issuer, so that trust rules of its clients may name it
    ///
    /// Trusting an issuer admits nobody. A client has rules (`grantwell client create --trust FILE`), and only a token that satisfies one of
    /// them stands for the client.
    ///
    /// The keys are fetched once now, to tell you if that does not work. Without --jwks and --jwks-uri they are where the issuer's own
    /// document says (/.well-known/openid-configuration). Only public addresses are connected to, and redirects are not followed. An answer
    /// that has more than 64 KiB, or takes more than two seconds, does not count.
    #[command(after_help = "Examples:
  grantwell issuer add github --preset github
  grantwell issuer add prod --preset eks \\
      --issuer https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLE
  grantwell issuer add cluster --preset kubernetes \\
      --issuer https://kubernetes.default.svc.cluster.local --jwks jwks.json
  grantwell issuer add mesh --preset spiffe --issuer spiffe://example.org \\
      --jwks-uri https://spire.example.org/bundle")]
    Add(Box<Add>),
    /// Lists the issuers that a realm trusts
    #[command(after_help = "Example:
  grantwell issuer list --realm alpha --output json")]
    List(List),
    /// Shows an issuer that a realm trusts
    #[command(after_help = "Example:
  grantwell issuer show github --realm alpha")]
    Show(Show),
    /// Changes the settings that you name of an issuer
    ///
    /// All other settings stay as they are. A running server follows within a minute. To change the issuer's URL, add another
    /// issuer, name it in the clients' rules, and remove the old one.
    #[command(
        override_usage = "grantwell issuer update [OPTIONS] <NAME> <WHAT TO CHANGE>...",
        after_help = "Examples:
  grantwell issuer update cluster --jwks jwks.json
  grantwell issuer update github --max-age 5m",
        group = ArgGroup::new("changes").multiple(true).required(true).args(CHANGES)
    )]
    Update(Box<Update>),
    /// Stops a realm trusting an issuer; within a minute its tokens are refused
    #[command(after_help = "Example:
  grantwell issuer remove github --realm alpha")]
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
struct Add {
    /// What you call it: 1 to 64 characters of A-Z, a-z, 0-9, _, . and -
    #[arg(value_name = "NAME")]
    name: IssuerName,
    /// The issuer, exactly as its tokens have it in iss; for SPIFFE the trust domain, such as spiffe://example.org [default: that of
    /// the preset github or gitlab]
    #[arg(long, value_name = "URL")]
    issuer: Option<IssuerUrl>,
    /// Whose tokens these are: github, gitlab, eks, kubernetes, aws or spiffe. It sets the issuer if all tokens of that kind have the same,
    /// how old tokens may be, and whether each is accepted only once
    #[arg(long, value_name = "PRESET", value_parser = preset)]
    preset: Option<IssuerKind>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
struct Update {
    /// Its name, as `grantwell issuer list` shows it
    #[arg(value_name = "NAME")]
    name: IssuerName,
    #[command(flatten)]
    settings: Settings,
    /// Finds the keys by the issuer's own document again, in place of --jwks or --jwks-uri
    #[arg(long, conflicts_with_all = ["jwks", "jwks_uri"])]
    discover: bool,
    /// Changes where the keys are even if none can be fetched from there now
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: OutputArguments,
}

/// What an operator may set of an issuer.
#[derive(Debug, clap::Args)]
struct Settings {
    /// The issuer's public keys, a JWK Set in a file, or on standard input with -. Nothing is fetched then: for a cluster that cannot be
    /// reached from here (kubectl get --raw /openid/v1/jwks)
    #[arg(long, value_name = "FILE", conflicts_with = "jwks_uri")]
    jwks: Option<String>,
    /// Where the issuer's public keys are, a JWK Set; for SPIFFE its bundle endpoint
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<JwksUrl>,
    /// An algorithm that its tokens may be signed with: ES256, ES384, PS256, EdDSA or RS256; '' removes the limit. Repeatable [default: as each
    /// key allows; ES384 and RS256 for AWS]
    #[arg(long, value_name = "ALG", value_parser = alg)]
    alg: Vec<Setting<JwsAlgorithm>>,
    /// Lets the issuer be on a private network: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7 or this machine
    #[arg(long, conflicts_with = "jwks")]
    allow_private_network: bool,
    /// The certificates of the authority that the issuer's server is trusted by, as PEM, in place of those that the system trusts
    #[arg(long, value_name = "FILE", value_parser = ca_file::read, conflicts_with = "jwks")]
    ca: Option<CaCertificates>,
    /// How old a token may be, by its iat: seconds up to 86400, or with a unit such as 10m; '' accepts it until its exp [default: 600;
    /// until exp for gitlab, eks, kubernetes and spiffe]
    #[arg(long, value_name = "DURATION", value_parser = max_age)]
    max_age: Option<Setting<u64>>,
    /// Accepts each token only once, by its jti [default, except for gitlab, eks, kubernetes and spiffe]
    #[arg(long, conflicts_with = "reusable")]
    single_use: bool,
    /// Accepts a token again and again until it expires: for tokens that are kept in a file
    #[arg(long)]
    reusable: bool,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Its name, as `grantwell issuer list` shows it
    #[arg(value_name = "NAME")]
    name: IssuerName,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, clap::Args)]
struct Remove {
    /// Its name, as `grantwell issuer list` shows it
    #[arg(value_name = "NAME")]
    name: IssuerName,
    /// Removes it although rules of clients need it; those rules then match no token
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct IssuerList<'a> {
    realm: &'a RealmName,
    issuers: &'a [TrustedIssuer],
}

/// An issuer as it is shown.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    realm: &'a RealmName,
    #[serde(flatten)]
    issuer: &'a TrustedIssuer,
}

/// The text is not a preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a preset is github, gitlab, eks, kubernetes, aws or spiffe; leave it out for any other issuer of OpenID Connect"
)]
struct UnknownPreset;

/// The text is not an age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the age of a token is 1 to {max} seconds, or a number with a unit such as 10m; '' accepts it until its exp", max = TrustedIssuer::LONGEST_AGE)]
struct InvalidAge;

/// Why there are no keys in a file.
#[derive(Debug, thiserror::Error)]
enum UnreadableJwks {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it has more than {max} bytes; leave out the keys that verify no tokens", max = JwkSet::MAX_BYTES)]
    TooLarge,
    #[error("it is PEM; give the public keys as a JWK Set")]
    Pem,
    #[error("{0}")]
    Refused(RefusedJwks),
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { command, place } = arguments;
    let place = place.place()?;
    match command {
        Command::Add(add) => add.run(&place).await,
        Command::List(list) => list.run(&place).await,
        Command::Show(show) => show.run(&place).await,
        Command::Update(update) => update.run(&place).await,
        Command::Remove(remove) => remove.run(&place).await,
    }
}

impl Add {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let url = self.url()?;
        let kind = self.preset.or_else(|| url.known_kind()).unwrap_or_default();
        let mut issuer = TrustedIssuer::new(self.name, url, kind, IssuerKeys::DISCOVERY);
        let pinned = self.settings.pinned(&issuer.issuer)?;
        self.settings.apply(&mut issuer, pinned.as_ref());
        self.settings.check(&issuer)?;
        let store = place.store.open(IfAbsent::Create).await?;
        let added = store.management().add_issuer(&place.realm, &issuer).await;
        let (added, _store) = store.settle(added).await?;
        words::tell(&added.notices);
        tell_of_keys(&added.record, &place.realm).await;
        print(&self.output, &place.realm, &added.record)
    }

    fn url(&self) -> Result<IssuerUrl, Failure> {
        let url = self.issuer.clone().or_else(|| self.preset?.issuer());
        url.ok_or_else(|| {
            let missing = match self.preset {
                Some(IssuerKind::Eks) => {
                    "name the cluster's issuer with --issuer URL; `aws eks describe-cluster --name CLUSTER --query \
                     cluster.identity.oidc.issuer` shows it"
                }
                Some(IssuerKind::Kubernetes) => {
                    "name the cluster's issuer with --issuer URL; `kubectl get --raw /.well-known/openid-configuration` shows it"
                }
                Some(IssuerKind::Aws) => {
                    "name the account's issuer with --issuer URL; `aws iam get-outbound-web-identity-federation-info` shows it"
                }
                Some(IssuerKind::Spiffe) => "name the trust domain with --issuer, such as spiffe://example.org",
                _ => "name the issuer with --issuer URL, exactly as its tokens have it in iss, or a --preset that knows it",
            };
            Failure::Misuse(missing.to_owned())
        })
    }
}

impl List {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let realm = store.management().realm(&place.realm).await?;
        let list = IssuerList { realm: &realm.name, issuers: &realm.settings.trusted_issuers };
        self.output.print(&list, |list| {
            let row = |issuer: &TrustedIssuer| {
                let TrustedIssuer { name, issuer, kind, keys, .. } = issuer;
                vec![name.to_string(), kind.to_string(), issuer.to_string(), where_keys_are(keys)]
            };
            let rows: Vec<_> = list.issuers.iter().map(row).collect();
            output::table(&["name", "kind", "issuer", "keys"], 16, &rows)
        })
    }
}

impl Show {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        print(&self.output, &place.realm, &store.management().issuer(&place.realm, &self.name).await?)
    }
}

impl Update {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let before = store.management().issuer(&place.realm, &self.name).await?;
        let pinned = self.settings.pinned(&before.issuer)?;
        let apply = |issuer: &mut TrustedIssuer| {
            if self.discover {
                issuer.keys = IssuerKeys::DISCOVERY;
            }
            self.settings.apply(issuer, pinned.as_ref());
        };
        let mut wanted = before.clone();
        apply(&mut wanted);
        self.settings.check(&wanted)?;
        // Keys that work are not given up for an address that does not.
        if is_elsewhere(&before.keys, &wanted.keys)
            && !self.force
            && let Err(error) = keys_of(&wanted).await
        {
            return Err(Failure::new(format!(
                "no keys of issuer '{}' could be fetched from there: {error}{}. It keeps the keys that it has; add --force if the server can \
                 reach what this machine cannot",
                wanted.name,
                advice(&error)
            )));
        }
        let change = IssuerChange { settings: &apply };
        let changed = store.management().update_issuer(&place.realm, &self.name, &change).await?;
        words::tell(&changed.notices);
        if self.discover || self.settings.are_about_keys() {
            tell_of_keys(&changed.record, &place.realm).await;
        }
        print(&self.output, &place.realm, &changed.record)
    }
}

impl Remove {
    async fn run(self, place: &Place) -> Result<(), Failure> {
        let store = place.open_existing().await?;
        let removed = store.management().remove_issuer(&place.realm, &self.name, self.force).await?;
        words::tell(&removed.notices);
        print(&self.output, &place.realm, &removed.record)
    }
}

impl Settings {
    /// Sets what is named. An issuer has its keys in one place.
    fn apply(&self, issuer: &mut TrustedIssuer, pinned: Option<&JwkSet>) {
        if let Some(pinned) = pinned {
            issuer.keys = IssuerKeys::Jwks(pinned.clone());
        }
        if let Some(uri) = &self.jwks_uri {
            // What is allowed of an address is not withdrawn by naming it again.
            match &mut issuer.keys {
                IssuerKeys::JwksUri(before) if before.uri == *uri => {}
                keys => *keys = IssuerKeys::JwksUri(JwksUri::public(uri.clone())),
            }
        }
        let way = match &mut issuer.keys {
            IssuerKeys::JwksUri(address) => Some((&mut address.allow_private_network, &mut address.ca)),
            IssuerKeys::Discovery { allow_private_network, ca } => Some((allow_private_network, ca)),
            IssuerKeys::Jwks(_) | IssuerKeys::Unregistered { .. } => None,
        };
        if let Some((allow_private_network, ca)) = way {
            *allow_private_network |= self.allow_private_network;
            if self.ca.is_some() {
                ca.clone_from(&self.ca);
            }
        }
        if !self.alg.is_empty() {
            issuer.algs = self.alg.iter().filter_map(|Setting(algorithm)| *algorithm).collect::<BTreeSet<_>>();
        }
        if let Some(Setting(max_age)) = self.max_age {
            issuer.max_age = max_age;
        }
        if self.single_use || self.reusable {
            issuer.single_use = self.single_use;
        }
    }

    /// Refuses what belongs to an address where nothing is fetched.
    fn check(&self, issuer: &TrustedIssuer) -> Result<(), Failure> {
        let is_pinned = matches!(issuer.keys, IssuerKeys::Jwks(_));
        if is_pinned && (self.allow_private_network || self.ca.is_some()) {
            let sentence = "--allow-private-network and --ca belong to an address, and the keys of this issuer are pinned; name an address with \
                            --jwks-uri URL, or have it found with --discover";
            return Err(Failure::Misuse(sentence.to_owned()));
        }
        Ok(())
    }

    fn are_about_keys(&self) -> bool {
        self.jwks.is_some() || self.jwks_uri.is_some() || self.allow_private_network || self.ca.is_some()
    }

    /// The keys in the file that is named. A set that its issuer publishes may have keys for other readers; those are passed over.
    fn pinned(&self, issuer: &IssuerUrl) -> Result<Option<JwkSet>, Failure> {
        let Some(path) = &self.jwks else { return Ok(None) };
        let keys = jwks(path, issuer);
        keys.map(Some)
            .map_err(|error| Failure::new(format!("there are no keys in the file of --jwks, '{path}': {error}")))
    }
}

/// Says how many keys there are. That there are none now is not a reason to refuse: the server may reach what this machine does not.
async fn tell_of_keys(issuer: &TrustedIssuer, realm: &RealmName) {
    let how = if matches!(issuer.keys, IssuerKeys::Jwks(_)) { "is pinned to" } else { "has" };
    match keys_of(issuer).await {
        Ok(keys) => {
            let count = keys.keys().count();
            let unit = if count == 1 { "key" } else { "keys" };
            let fetched = if how == "has" { "" } else { "; nothing is fetched, so update it here before they change" };
            output::note(&format!(
                "issuer '{}' {how} {count} {unit} that tokens can be verified with{fetched}",
                issuer.name
            ));
        }
        Err(error) => {
            let again = match &issuer.keys {
                IssuerKeys::JwksUri(address) => format!("--jwks-uri {}", address.uri),
                _ => "--discover".to_owned(),
            };
            output::warn(&format!(
                "no keys of issuer '{}' could be fetched: {error}{}. It is registered, and its tokens count once the server can fetch \
                 a key; try again with `{}`",
                issuer.name,
                advice(&error),
                suggest(&format!("issuer update {} {again}", issuer.name), realm)
            ));
        }
    }
}

/// Whether the keys are looked for at another place; by another way to the same one is none.
fn is_elsewhere(before: &IssuerKeys, wanted: &IssuerKeys) -> bool {
    match (before, wanted) {
        (IssuerKeys::JwksUri(before), IssuerKeys::JwksUri(wanted)) => before.uri != wanted.uri,
        (IssuerKeys::Discovery { .. }, IssuerKeys::Discovery { .. }) => false,
        _ => before != wanted,
    }
}

/// The keys that are pinned, or that are fetched now.
async fn keys_of(issuer: &TrustedIssuer) -> Result<JwkSet, NoKeys> {
    match (KeyAddress::of_issuer(issuer), &issuer.keys) {
        (Some(address), _) => try_fetching(&Fetcher::default(), address, SystemClock.now()).await,
        (None, IssuerKeys::Jwks(pinned)) => Ok(pinned.clone()),
        (None, _) => Ok(JwkSet::empty()),
    }
}

fn advice(error: &NoKeys) -> &'static str {
    match error {
        NoKeys::Fetch(FetchError::NotPublic(_)) => "; allow it with --allow-private-network",
        NoKeys::Fetch(FetchError::Tls(_)) => "; name a private authority with --ca",
        NoKeys::Fetch(FetchError::Unresolved | FetchError::NoConnection) => {
            "; if it cannot be reached from the server either, pin its keys with --jwks FILE"
        }
        _ => "",
    }
}

fn print(output: &OutputArguments, realm: &RealmName, issuer: &TrustedIssuer) -> Result<(), Failure> {
    output.print(&Shown { realm, issuer }, |Shown { realm, issuer }| {
        let TrustedIssuer { name, issuer, kind, keys, algs, max_age, single_use, managed_by } = issuer;
        let algs: Vec<&str> = algs.iter().map(|alg| alg.as_str()).collect();
        let file = managed_by.as_ref().map(|file| {
            let file = serde_json::to_value(file).unwrap_or_default();
            (output::MANAGED_BY, output::member_text(output::MANAGED_BY, &file, ""))
        });
        let rows = [
            ("realm", realm.to_string()),
            ("name", name.to_string()),
            ("issuer", issuer.to_string()),
            ("kind", kind.to_string()),
            ("keys", keys_text(keys)),
            ("algs", if algs.is_empty() { "as each key allows".to_owned() } else { algs.join(" ") }),
            ("max_age", max_age.map_or_else(|| "until exp".to_owned(), |age| format!("{age} s"))),
            ("single_use", single_use.to_string()),
        ];
        output::record(rows.into_iter().chain(file))
    })
}

/// Where the keys are, in a few words.
fn where_keys_are(keys: &IssuerKeys) -> String {
    match keys {
        IssuerKeys::Jwks(pinned) => format!("pinned ({})", pinned.keys().count()),
        IssuerKeys::JwksUri(address) => address.to_string(),
        IssuerKeys::Discovery { .. } | IssuerKeys::Unregistered { .. } => "discovery".to_owned(),
    }
}

fn keys_text(keys: &IssuerKeys) -> String {
    let (place, is_private, has_ca) = match keys {
        IssuerKeys::Jwks(pinned) => {
            let pinned = serde_json::to_value(pinned).unwrap_or(Value::Null);
            return format!("pinned, nothing is fetched:\n{}", output::keys_text(&pinned));
        }
        IssuerKeys::JwksUri(address) => (address.to_string(), address.allow_private_network, address.ca.is_some()),
        IssuerKeys::Discovery { allow_private_network, ca } => (
            "where the issuer's /.well-known/openid-configuration says".to_owned(),
            *allow_private_network,
            ca.is_some(),
        ),
        IssuerKeys::Unregistered { .. } => (String::new(), false, false),
    };
    let private = if is_private { "\na private network is allowed" } else { "" };
    let ca = if has_ca { "\nby an authority of its own" } else { "" };
    format!("{place}{private}{ca}")
}

fn preset(text: &str) -> Result<IssuerKind, UnknownPreset> {
    let is_preset = |kind: &IssuerKind| *kind != IssuerKind::Oidc && kind.as_str() == text;
    IssuerKind::ALL.into_iter().find(is_preset).ok_or(UnknownPreset)
}

fn alg(text: &str) -> Result<Setting<JwsAlgorithm>, UnknownJwsAlgorithm> {
    if text.is_empty() { Ok(Setting(None)) } else { text.parse().map(|algorithm| Setting(Some(algorithm))) }
}

fn max_age(text: &str) -> Result<Setting<u64>, InvalidAge> {
    if text.is_empty() {
        return Ok(Setting(None));
    }
    let seconds = duration::seconds(text).ok().filter(|seconds| (1..=TrustedIssuer::LONGEST_AGE).contains(seconds));
    seconds.map(|seconds| Setting(Some(seconds))).ok_or(InvalidAge)
}

fn jwks(path: &str, issuer: &IssuerUrl) -> Result<JwkSet, UnreadableJwks> {
    let at_most = JwkSet::MAX_BYTES as u64 + 1;
    let mut text = Vec::new();
    if path == "-" {
        io::stdin().lock().take(at_most).read_to_end(&mut text)?;
    } else {
        File::open(path)?.take(at_most).read_to_end(&mut text)?;
    }
    if text.len() > JwkSet::MAX_BYTES {
        return Err(UnreadableJwks::TooLarge);
    }
    if text.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Err(UnreadableJwks::Pem);
    }
    let keys = if issuer.is_spiffe() { JwkSet::parse_spiffe_bundle(&text) } else { JwkSet::parse_fetched(&text) };
    keys.map_err(UnreadableJwks::Refused)
}

/// The options of which `update` needs one.
const CHANGES: [&str; 9] =
    ["jwks", "jwks_uri", "alg", "allow_private_network", "ca", "max_age", "single_use", "reusable", "discover"];
