"""Prints requests signed by botocore, one JSON object a line: what was signed, with what, and its canonical form."""

import base64
import json
import random
import sys
from datetime import datetime, timezone
from urllib.parse import quote, urlsplit

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

LETTERS = "abcXYZ019-_.~ !*'()/:=+&%?#@,;äé한🎥\t\"<>[]{}|\\^`$"


def text(chance, longest):
    return "".join(chance.choice(LETTERS) for _ in range(chance.randint(0, longest)))


def request(chance):
    segments = [quote(text(chance, 12), safe=chance.choice(["", "/", "~!$&'()*+,;=:@"])) for _ in range(chance.randint(0, 4))]
    path = "/" + "/".join(segments)
    pairs = [(text(chance, 6) or "k", text(chance, 8)) for _ in range(chance.randint(0, 5))]
    query = "&".join(f"{quote(k, safe='-._~')}={quote(v, safe='-._~')}" for k, v in pairs)
    headers = {"Content-Type": "application/json"}
    for n in range(chance.randint(0, 4)):
        value = "".join(c for c in text(chance, 20) if " " <= c < "\x7f")
        headers[f"X-Test-{n}"] = value or "v"
    body = text(chance, 200).encode() if chance.random() < 0.7 else b""
    host = chance.choice(["127.0.0.1:8080", "live.example.org", "[::1]:8080"])
    method = chance.choice(["GET", "POST", "DELETE"])
    return AWSRequest(method=method, url=f"http://{host}{path}" + (f"?{query}" if query else ""), data=body, headers=headers)


def main(count):
    chance = random.Random(20261126)
    for number in range(count):
        secret = "".join(chance.choice("abcdefABCDEF0123456789/+") for _ in range(40))
        token = "T" * 20 if chance.random() < 0.3 else None
        credentials = Credentials("AKIDEXAMPLE", secret, token)
        region = chance.choice(["us-east-1", "ap-northeast-2", "mars-1"])
        presigned = chance.random() < 0.3
        kind = SigV4QueryAuth if presigned else SigV4Auth
        canonical = []

        class Auth(kind):
            def canonical_request(self, signed):
                canonical.append(super().canonical_request(signed))
                return canonical[-1]

        signed = request(chance)
        if presigned:
            for name in list(signed.headers.keys()):
                del signed.headers[name]
            # botocore moves the members of the body into the query.
            signed.data = json.dumps({"member": text(chance, 20)}).encode()
        Auth(credentials, chance.choice(["ivs", "ivschat"]), region).add_auth(signed)
        prepared = signed.prepare()
        url = urlsplit(prepared.url)
        headers = [["host", url.netloc]] + [[k, v] for k, v in prepared.headers.items() if k.lower() != "host"]
        print(json.dumps({
            "method": prepared.method,
            "path": url.path,
            "query": url.query,
            "headers": headers,
            "body": base64.b64encode(signed.data or b"").decode(),
            "secret": secret,
            "token": token,
            "at": int(datetime.now(timezone.utc).timestamp() * 1000),
            "canonical": canonical[0],
        }))


main(int(sys.argv[1]))
