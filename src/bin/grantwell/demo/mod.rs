//! `grantwell demo`: the six steps of the client credentials flow over real HTTP, each printed as a curl line with its
//! answer, and the same with a JWT. Fails where a step does not answer as it should.

mod by_key;
mod exchange;
mod resource_server;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use ureq::Agent;

use grantwell::app::{self, App, LOCAL_CACHES};
use grantwell::core::access_token::settings::AccessTokenFormat;
use grantwell::core::access_token::settings::TokenLifetime;
use grantwell::core::client::information::ClientInformation;
use grantwell::core::ports::Registrar as _;
use grantwell::core::realm::Realm;
use grantwell::core::realms::RealmDefaults;
use grantwell::core::scope::INTROSPECT_ALL_TOKENS;
use grantwell::embedded::adapters::EmbeddedAdapters;
use grantwell::embedded::server::{self, Settings};
use grantwell::embedded::store::registry::SqliteRegistry;
use grantwell::http::routes::HttpService;
use grantwell::observe::Observer;
use grantwell::observe::log::{self, LogFormat, LogLevel};

use crate::failure::Failure;
use crate::sample::{self, SampleClient};
use by_key::KeyClient;
use exchange::{Credentials, Exchange, agent, say};
use resource_server::{Introspection, IntrospectionClient, ORDERS, ResourceServer, decoded, orders, verify};

/// Starts a server with a store in memory and walks the six steps of the flow against it over real HTTP, and a JWT's way.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  grantwell demo

Exit status 0 says that every step answered as it should. Nothing stays behind.")]
pub(crate) struct Arguments {}

/// Walks the flow.
///
/// # Errors
/// A [`Failure`] that names the first step that did not answer as it should.
pub(crate) async fn run(_arguments: Arguments) -> Result<(), Failure> {
    let _written_at_the_end = log::init_local(LogLevel::Warn, LogFormat::Text)
        .map_err(|error| Failure::new(format!("no thread could be started for the log: {error}")))?;

    // 1. The authorization server, with the two clients of the flow.
    let adapters = EmbeddedAdapters::in_memory()?;
    let registry = Arc::clone(adapters.sqlite_registry());
    let realm = sample::realm()?;
    let clients = [MY_CLIENT.create(&realm)?, MY_RESOURCE_SERVER.create(&realm)?];
    registry.seed(&realm, &clients, &[]).await.map_err(|error| Failure::new(error.to_string()))?;
    let [my_client, my_resource_server] = clients;
    let settings = app::Settings {
        realm_defaults: RealmDefaults { root_default_scope: None, access_token_lifetime: TokenLifetime::DEFAULT },
        attempt_limits: None,
        caches: LOCAL_CACHES,
    };
    let app = App::new(adapters.logging_refusals_sparingly(), settings);
    let authorization_server = start(|address| {
        let base_url = server::url_of(address);
        let public_url = base_url.parse().map_err(|error| Failure::new(format!("{base_url}: {error}")))?;
        let Ok(service) = app.service(public_url, Router::new());
        Ok(service)
    })
    .await?;
    let realm_url = format!("{}{}", server::url_of(authorization_server.address), sample::REALM_PATH);

    // 2. The resource server, which knows nothing of the first but its URL.
    let resource_server = Arc::new(ResourceServer {
        required: "write".parse().map_err(|error| Failure::new(format!("write: {error}")))?,
        introspection: Introspection(Arc::new(IntrospectionClient {
            url: format!("{realm_url}/introspect"),
            credentials: Credentials::new(&MY_RESOURCE_SERVER, my_resource_server),
            last: Mutex::new(None),
        })),
    });
    let api =
        start(|_address| Ok(Router::new().route("/orders", get(orders)).with_state(Arc::clone(&resource_server))))
            .await?;

    // 3. The walk. On its own thread, because the client in it is a blocking one.
    let walk = Walk {
        agent: agent(),
        realm_url,
        orders_url: format!("{}/orders", server::url_of(api.address)),
        client: Credentials::new(&MY_CLIENT, my_client),
        introspection: resource_server.introspection.0.clone(),
        registry,
        realm,
    };
    let walked = tokio::task::spawn_blocking(move || walk.all_steps())
        .await
        .unwrap_or_else(|_panic| Err(Failure::new("the walk ended early")));
    // Nobody saw the rest, and not every step was taken: that must not look like a success.
    walked.map_err(|failure| match failure {
        Failure::OutputClosed | Failure::Told(_) => Failure::new("standard output was closed before the last step"),
        said @ (Failure::Sentence(_) | Failure::Misuse(_)) => said,
    })?;

    // 4. Both servers end with the demo.
    authorization_server.stop().await;
    api.stop().await;
    Ok(())
}

/// The client's way through the flow.
struct Walk {
    agent: Agent,
    realm_url: String,
    orders_url: String,
    client: Credentials,
    introspection: Arc<IntrospectionClient>,
    registry: Arc<SqliteRegistry>,
    realm: Realm,
}

impl Walk {
    fn all_steps(&self) -> Result<(), Failure> {
        let token_url = format!("{}/access_token", self.realm_url);

        say("Both servers of this demo end with it. To try the lines below yourself, run: grantwell serve\n")?;
        say("Step 0. Two confidential clients are registered in realm alpha.\n")?;
        say(&format!("$ grantwell realm set {}\n", sample::REALM))?;
        Self::say_registration(&self.client)?;
        Self::say_registration(&self.introspection.credentials)?;

        say("Steps 1 and 2. The client authenticates and gets an access token for the scope it asks for.\n")?;
        let form = [("grant_type", "client_credentials"), ("scope", "write")];
        let answer = self.client.post(&self.agent, &token_url, &form)?;
        answer.say()?;
        let token = answer.expect_token("write")?;

        say("The same without a scope: it gets its default scope.\n")?;
        let answer = self.client.post(&self.agent, &token_url, &form[..1])?;
        answer.say()?;
        answer.expect_token("write")?;

        say(
            "Steps 3 to 6. The client calls the resource server, which asks whether the token is valid and lets it in.\n",
        )?;
        self.call_orders(&token, true)?.expect(200)?;

        say("The client revokes the token: from now on the resource server turns it away.\n")?;
        let answer =
            self.client.post(&self.agent, &format!("{}/token/revoke", self.realm_url), &[("token", token.as_str())])?;
        answer.say()?;
        answer.expect(200)?;
        self.call_orders(&token, false)?.expect(401)?;

        self.jwt_steps(&token_url)?;
        self.key_steps(&token_url)?;

        say("Every step answered as it should.\n")
    }

    /// The same with a token that says for itself what it allows.
    fn jwt_steps(&self, token_url: &str) -> Result<(), Failure> {
        say("A client can have JWTs instead (RFC 9068). This one is registered for them.\n")?;
        let (client, secret) = MY_JWT_CLIENT.create(&self.realm)?;
        let registered = Handle::current().block_on(self.registry.register(&client, Some(&secret)));
        registered.map_err(|error| Failure::new(error.to_string()))?;
        let client = Credentials::new(&MY_JWT_CLIENT, (client, secret));
        Self::say_registration(&client)?;
        let answer = client.post(&self.agent, token_url, &[("grant_type", "client_credentials")])?;
        answer.say()?;
        let token = answer.expect_token("write")?;

        say("Anybody can read the token: its header and its payload are\n")?;
        for part in token.split('.').take(2) {
            say(&decoded(part)?)?;
        }

        say("\nAnd everybody can verify it, by the keys that the realm publishes.\n")?;
        let jwks_url = format!("{}/connect/jwk_uri", self.realm_url);
        let answer = Exchange::of(format!("curl -s {jwks_url}"), self.agent.get(&jwks_url).call())?;
        answer.say()?;
        answer.expect(200)?;
        verify(&token, &answer.body, &self.realm_url)?;
        say("The signature, the issuer, the audience and the time are good.\n")?;

        say("A resource server that wants to know whether a token was revoked asks, as before.\n")?;
        self.call_orders(&token, true)?.expect(200)
    }

    /// The first steps again, by a client that shares no secret with the server.
    fn key_steps(&self, token_url: &str) -> Result<(), Failure> {
        say(
            "A client can prove who it is by a key in place of a secret (private_key_jwt). Its server knows the public half.\n",
        )?;
        let client = KeyClient::create(&MY_KEY_CLIENT, &self.realm)?;
        let registered = Handle::current().block_on(self.registry.register(&client.client, None));
        registered.map_err(|error| Failure::new(error.to_string()))?;
        let file = "myKeyClient.jwks.json";
        say(&format!("$ cat {file}\n{}\n", client.jwks()?))?;
        let options = format!(" --auth-method private_key_jwt --jwks {file}");
        Self::say_command(&MY_KEY_CLIENT, &options, &ClientInformation::created(&client.client, None))?;

        say("For each request it signs an assertion, which is good for a minute and for one request.\n")?;
        let assertion = client.assertion(&self.realm_url)?;
        for part in assertion.split('.').take(2) {
            say(&decoded(part)?)?;
        }
        say("")?;
        let answer = by_key::ask_by(&self.agent, token_url, &assertion)?;
        answer.say()?;
        answer.expect_token("write")?;

        say("Whoever has seen that assertion cannot use it again.\n")?;
        let answer = by_key::ask_by(&self.agent, token_url, &assertion)?;
        answer.say()?;
        answer.expect(401)
    }

    fn say_registration(credentials: &Credentials) -> Result<(), Failure> {
        let registered = ClientInformation::created(&credentials.client, Some(&credentials.secret));
        Self::say_command(credentials.sample, "", &registered)
    }

    /// The command that registers a client, and its answer.
    fn say_command(
        client: &SampleClient,
        more_options: &str,
        registered: &ClientInformation<'_>,
    ) -> Result<(), Failure> {
        let mut command = format!("grantwell client create --realm {} --id {}", sample::REALM, client.client_id);
        let options = [
            ("--name", Some(client.name)),
            ("--contact", client.owner),
            ("--redirect-uri", client.redirect_uri),
            ("--scope", Some(client.scope)),
            ("--default-scope", client.default_scope),
            ("--access-token-format", client.access_token_format.map(AccessTokenFormat::as_str)),
            ("--resource", client.resource),
        ];
        for (option, value) in options {
            if let Some(value) = value {
                command.extend([" ", option, " '", value, "'"]);
            }
        }
        let registered = serde_json::to_string_pretty(registered).map_err(|error| Failure::new(error.to_string()))?;
        say(&format!("$ {command}{more_options}\n{registered}\n"))
    }

    /// Steps 3 to 6: the call, what the resource server asks meanwhile and is told, and its answer.
    fn call_orders(&self, token: &str, active: bool) -> Result<Exchange, Failure> {
        let request = self.agent.get(&self.orders_url).header("Authorization", format!("Bearer {token}"));
        let curl = format!("curl -s -H 'Authorization: Bearer {token}' {}", self.orders_url);
        let answer = Exchange::of(curl, request.call())?;
        let introspection = self.introspection.take_last();
        let introspection =
            introspection.ok_or_else(|| Failure::new("the resource server did not ask the authorization server"))?;

        say(&format!("$ {}\n\n  Meanwhile the resource server asks:\n", answer.curl))?;
        say(&format!("  {}\n", introspection.text().trim_end().replace('\n', "\n  ")))?;
        say("  and answers the client:\n")?;
        say(&answer.answer_text())?;

        introspection.expect(200)?;
        if introspection.json()?.get("active") != Some(&Value::Bool(active)) {
            return Err(Failure::new(format!("introspection should have said that active is {active}")));
        }
        Ok(answer)
    }
}

/// A server of the demo, and the way to end it.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: tokio::task::JoinHandle<io::Result<()>>,
}

impl Running {
    async fn stop(self) {
        // Either may have ended already.
        let _ended = self.stop.send(());
        let _ended = self.served.await;
    }
}

async fn start<S: HttpService>(service: impl FnOnce(SocketAddr) -> Result<S, Failure>) -> Result<Running, Failure> {
    let failed = |error: io::Error| Failure::new(format!("no loopback port could be opened: {error}"));
    let listener = server::listen((Ipv4Addr::LOCALHOST, 0).into()).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let service = service(address)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let served =
        tokio::spawn(server::serve(listener, service, Arc::<Observer>::default(), Settings::default(), async move {
            let _either_way = stopped.await;
        }));
    Ok(Running { address, stop, served })
}

const MY_CLIENT: SampleClient = SampleClient {
    client_id: "myClient",
    name: "My client",
    owner: Some("owner@example.com"),
    redirect_uri: Some("https://www.example.com:443/callback"),
    scope: "write",
    default_scope: Some("write"),
    access_token_format: None,
    resource: Some(ORDERS),
};

const MY_JWT_CLIENT: SampleClient = SampleClient {
    client_id: "myJwtClient",
    name: "My JWT client",
    owner: None,
    redirect_uri: None,
    scope: "write",
    default_scope: Some("write"),
    access_token_format: Some(AccessTokenFormat::Jwt),
    resource: Some(ORDERS),
};

const MY_KEY_CLIENT: SampleClient = SampleClient {
    client_id: "myKeyClient",
    name: "My key client",
    owner: None,
    redirect_uri: None,
    scope: "write",
    default_scope: Some("write"),
    access_token_format: None,
    resource: Some(ORDERS),
};

const MY_RESOURCE_SERVER: SampleClient = SampleClient {
    client_id: "myResourceServer",
    name: "My resource server",
    owner: Some("owner@example.com"),
    redirect_uri: None,
    scope: INTROSPECT_ALL_TOKENS,
    default_scope: None,
    access_token_format: None,
    resource: None,
};
