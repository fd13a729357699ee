# A token by the role of this process: AWS says who it is (sts:GetWebIdentityToken), and the server verifies that. Needs boto3.
import json
import os
from urllib.parse import urlencode
from urllib.request import urlopen

import boto3

issuer = os.environ["ISSUER"]  # https://auth.example.com/am/oauth2/realms/root/realms/alpha
sts = boto3.client("sts")
identity = sts.get_web_identity_token(Audience=[issuer], SigningAlgorithm="ES384", DurationSeconds=60)
form = {
    "grant_type": "client_credentials",
    "client_id": "orders",
    "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    "client_assertion": identity["WebIdentityToken"],
}
with urlopen(f"{issuer}/access_token", urlencode(form).encode(), timeout=10) as answer:
    print(json.load(answer)["access_token"])
