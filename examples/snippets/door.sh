#!/bin/sh
# A token by the role of this process, at the door where AWS verifies the signature of the request (SigV4). At API Gateway the service is
# execute-api. Needs curl 7.86. Where the variables are not set: eval "$(aws configure export-credentials --format env)"
set -eu
# By standard input, where `ps` does not show them.
curl --silent --show-error --fail-with-body --config - --aws-sigv4 "aws:amz:$AWS_REGION:lambda" \
  --data grant_type=client_credentials --data client_id=orders \
  "$DOOR/am/oauth2/realms/root/realms/alpha/access_token" <<CREDENTIALS
user = "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"
header = "x-amz-security-token: $AWS_SESSION_TOKEN"
CREDENTIALS
