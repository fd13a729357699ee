# A token by the role of this process, at the door where AWS verifies the signature of the request (SigV4). Needs boto3.
import json
import os
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

url = os.environ["DOOR"] + "/am/oauth2/realms/root/realms/alpha/access_token"  # https://ID.lambda-url.REGION.on.aws
form = urlencode({"grant_type": "client_credentials", "client_id": "orders"})
headers = {"Content-Type": "application/x-www-form-urlencoded"}
session = boto3.Session()
request = AWSRequest("POST", url, headers, form)
# At API Gateway the service is execute-api.
SigV4Auth(session.get_credentials(), "lambda", session.region_name).add_auth(request)
with urlopen(Request(url, form.encode(), dict(request.headers)), timeout=10) as answer:
    print(json.load(answer)["access_token"])
