"""Takes an order if the item is in stock. The stock API lets nobody in without an access token, and this function has no secret to get one
with: AWS says what its role is (sts:GetWebIdentityToken), and the authorization server takes that for the client of the role."""

import json
import os
import time
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import boto3

ISSUER = os.environ["ISSUER"]
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

sts = boto3.client("sts")
# The access token, kept between invocations: asking for one at each would cost more than the work.
kept = {"token": "", "until": 0.0}


def handler(event, context):
    try:
        stock = read_stock(access_token())
    except HTTPError as refused:
        refused.close()
        if refused.code not in (401, 403):
            raise
        # Somebody may have revoked it since.
        kept["until"] = 0.0
        stock = read_stock(access_token())
    return {"taken": stock["stock"].get(event["item"], 0) > 0, "asked_as": stock["client_id"]}


def access_token():
    if time.time() >= kept["until"]:
        # Good for a minute, and for this server alone.
        identity = sts.get_web_identity_token(Audience=[ISSUER], SigningAlgorithm="ES384", DurationSeconds=60)
        form = {
            "grant_type": "client_credentials",
            "client_id": os.environ["CLIENT_ID"],
            "scope": "stock:read",
            "client_assertion_type": JWT_BEARER,
            "client_assertion": identity["WebIdentityToken"],
        }
        with urlopen(f"{ISSUER}/access_token", urlencode(form).encode(), timeout=5) as answer:
            answer = json.load(answer)
        # A minute before its end, so that none ends on its way.
        kept.update(token=answer["access_token"], until=time.time() + answer["expires_in"] - 60)
    return kept["token"]


def read_stock(token):
    with urlopen(Request(os.environ["STOCK_URL"], headers={"Authorization": f"Bearer {token}"}), timeout=5) as answer:
        return json.load(answer)
