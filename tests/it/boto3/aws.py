"""What the scripts share: an unmodified boto3 client of the server under test, and signed requests as no SDK sends them.

The environment names the server: ENDPOINT, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
"""

import http.client
import os
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

ENDPOINT = os.environ.get("ENDPOINT", "http://127.0.0.1:8080")
REGION = "eu-west-1"  # not the server's: any scope region verifies


def client(**options):
    config = Config(retries={"mode": "standard", "total_max_attempts": 1})
    return boto3.client("ivs", endpoint_url=ENDPOINT, region_name=REGION, config=config, **options)


def own_credentials():
    return Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])


def signed(method, path, body=b"", query="", credentials=None, headers=None):
    """Sends a signed request as it is; its status, headers and body."""
    url = ENDPOINT + path + ("?" + query if query else "")
    request = AWSRequest(method=method, url=url, data=body, headers=dict(headers or {}))
    SigV4Auth(credentials or own_credentials(), "ivs", REGION).add_auth(request)
    return raw(method, path + ("?" + query if query else ""), body, dict(request.headers))


def raw(method, target, body=b"", headers=None):
    connection = http.client.HTTPConnection(urlsplit(ENDPOINT).netloc, timeout=30)
    try:
        connection.request(method, target, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def fails(code, status, call, **arguments):
    """The call must fail with this code and status; the message."""
    try:
        answer = call(**arguments)
    except ClientError as error:
        got = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        assert got == (code, status), f"{got} {error}, expected {code} {status}"
        message = error.response["Error"]["Message"]
        assert message and error.response.get("exceptionMessage", message) == message, error.response
        return message
    raise AssertionError(f"expected {code}: {answer}")
