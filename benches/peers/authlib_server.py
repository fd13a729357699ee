"""Authlib's Flask server, its tokens in a dictionary, for what `make bench-peers` asks of it: the client credentials grant and
introspection. Run by gunicorn, in one process, so that the process which introspects a token is the one that issued it.

    BENCH_CLIENT_SECRET=... gunicorn --bind 127.0.0.1:PORT authlib_server:app
"""

from __future__ import annotations

import hmac
import os
import time
from dataclasses import dataclass, field

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants, list_to_scope, scope_to_list
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from flask import Flask, Response

SCOPE = ["read", "write"]


@dataclass
class Client(ClientMixin):
    client_id: str
    client_secret: str

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> None:
        return None

    def get_allowed_scope(self, scope: str) -> str:
        return list_to_scope([name for name in scope_to_list(scope) or [] if name in SCOPE])

    def check_client_secret(self, client_secret: str) -> bool:
        return hmac.compare_digest(self.client_secret, client_secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"


@dataclass
class Token(TokenMixin):
    client: Client
    scope: str
    expires_in: int
    issued_at: int = field(default_factory=lambda: int(time.time()))

    def is_expired(self) -> bool:
        return self.issued_at + self.expires_in <= time.time()

    def is_revoked(self) -> bool:
        return False


class Introspection(IntrospectionEndpoint):
    def query_token(self, token_string: str, token_type_hint: str | None) -> Token | None:
        return tokens.get(token_string)

    def check_permission(self, token: Token, client: Client, request: object) -> bool:
        return True

    def introspect_token(self, token: Token) -> dict[str, object]:
        return {
            "active": True,
            "client_id": token.client.client_id,
            "token_type": "Bearer",
            "scope": token.scope,
            "sub": token.client.client_id,
            "exp": token.issued_at + token.expires_in,
            "iat": token.issued_at,
        }


def save_token(token: dict[str, object], request: object) -> None:
    tokens[token["access_token"]] = Token(request.client, token["scope"], token["expires_in"])


clients = {"bench": Client("bench", os.environ["BENCH_CLIENT_SECRET"])}
tokens: dict[str, Token] = {}
app = Flask(__name__)
app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {"client_credentials": 3600}
server = AuthorizationServer(app, query_client=clients.get, save_token=save_token)
server.register_grant(grants.ClientCredentialsGrant)
server.register_endpoint(Introspection)


@app.post("/token")
def token() -> Response:
    return server.create_token_response()


@app.post("/introspect")
def introspect() -> Response:
    return server.create_endpoint_response(Introspection.ENDPOINT_NAME)
