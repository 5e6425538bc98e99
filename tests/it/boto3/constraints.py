"""Every operation with one minimal valid request, and with one request for each constraint that its input can break.

All of it is generated from botocore's own model, so that none is forgotten. The requests are signed but not looked at
by an SDK, which would hold some of them back.
"""

import json
from urllib.parse import quote

from aws import signed
from derive import model

SERVICE = model()
SHAPES = SERVICE["shapes"]
ARN = "arn:aws:ivs:us-east-1:000000000000:{}/abcdABCDefgh"
KEY = """-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEKBEjQnRiB6AuM8pjTWTtMphDBPs2GLzl
0znqWIGeyAUDnzp/uxdddHnGb7mvnRuS9yt9wl889w1D/juj3Nlbqi7EfD0easbA
qHPgvUZzykO7NgeaveBOwdGW2h/C99Z/
-----END PUBLIC KEY-----
"""
KINDS = [
    ("AdConfigurationArn", "ad-configuration"),
    ("FailoverSlateConfigurationArn", "failover-slate-configuration"),
    ("RecordingConfigurationArn", "recording-configuration"),
    ("PlaybackRestrictionPolicyArn", "playback-restriction-policy"),
    ("PlaybackKeyPairArn", "playback-key"),
    ("StreamKeyArn", "stream-key"),
    ("ChannelArn", "channel"),
    ("ResourceArn", "channel"),
]
TEXTS = {
    "MediaTailorPlaybackConfigurationArn": "arn:aws:mediatailor:us-east-1:000000000000:playbackConfiguration/a",
    "PlaybackPublicKeyMaterial": KEY,
    "StreamId": "st-abcdABCDefghabcdABCDefg",
    "AdBreakId": "abcdABCDefgh",
    "PaginationToken": "",
    "TagKey": "k",
    "S3DestinationBucketName": "abc",
    "PlaybackRestrictionPolicyAllowedCountry": "KR",
}


def valid(name):
    """A value that the shape takes."""
    shape = SHAPES[name]
    kind = shape["type"]
    if kind == "structure":
        # S3 is the one destination there is, though the model does not require it.
        needed = list(shape.get("required", [])) or (["s3"] if name == "DestinationConfiguration" else [])
        return {member: valid(shape["members"][member]["shape"]) for member in needed}
    if kind == "list":
        # An empty list of the query is none at all.
        least = 1 if name == "TagKeyList" else shape.get("min", 0)
        return [valid(shape["member"]["shape"]) for _ in range(least)]
    if kind == "map":
        return {}
    if kind in ("integer", "long"):
        return shape.get("min", 1)
    if kind == "boolean":
        return True
    if kind == "timestamp":
        return "2026-11-26T00:00:00Z"
    return valid_text(name, shape)


def valid_text(name, shape):
    if name in TEXTS:
        return TEXTS[name]
    if "enum" in shape:
        return shape["enum"][0]
    for part, kind in KINDS:
        if name.endswith(part):
            return ARN.format(kind)
    return "a" * max(shape.get("min", 0), 1)


def wrong(name):
    """Values that the shape does not take, one for each constraint: a word for it, the path below, the value."""
    shape = SHAPES[name]
    kind = shape["type"]
    of_other_type = {"structure": "x", "list": {}, "map": [], "string": 1, "boolean": "true"}
    yield "type", "", of_other_type.get(kind, "x" if kind != "timestamp" else "yesterday")
    if kind in ("integer", "long"):
        yield "type", "", 1.5
        yield from ((word, "", value) for word, value in (
            ("min", shape["min"] - 1) if "min" in shape else ("range", 2**70),
            ("max", shape["max"] + 1) if "max" in shape else ("range", 2**70),
        ))
    if kind == "string":
        yield from wrong_texts(name, shape)
    if kind == "list":
        item = valid(shape["member"]["shape"])
        if shape.get("min", 0) > 0:
            yield "min", "", [item] * (shape["min"] - 1)
        if "max" in shape:
            yield "max", "", [item] * (shape["max"] + 1)
        yield "null", "[0]", [None]
        for word, path, value in wrong(shape["member"]["shape"]):
            yield word, "[0]" + path, [value] + [item] * max(shape.get("min", 0) - 1, 0)
    if kind == "map":
        yield "max", "", {f"k{n}": "v" for n in range(shape["max"] + 1)}
        for word, _, key in wrong(shape["key"]["shape"]):
            if isinstance(key, str):
                yield "key " + word, f".{key}", {key: "v"}
        for word, path, value in wrong(shape["value"]["shape"]):
            yield word, ".k" + path, {"k": value}
    if kind == "structure":
        base = valid(name)
        for member in shape.get("required", []):
            yield "required", "." + member, {k: v for k, v in base.items() if k != member}
        for member, used in shape["members"].items():
            for word, path, value in wrong(used["shape"]):
                yield word, "." + member + path, {**base, member: value}


def wrong_texts(name, shape):
    good = valid_text(name, shape)
    if shape.get("min", 0) > 0:
        yield "min", "", (good or "a")[: shape["min"] - 1]
    if "max" in shape:
        yield "max", "", (good or "a") + "a" * (shape["max"] + 1 - len(good or "a"))
    if "enum" in shape:
        yield "enum", "", "NO_SUCH_WORD"
    if "pattern" in shape:
        bad = "!" * max(shape.get("min", 0), 1)
        yield "pattern", "", bad
        if len(good) >= 1 and shape.get("max") != len(good):
            yield "pattern end", "", good + "\n"


def send(operation, value):
    """The status, error code and message that an input is answered with."""
    http = operation["http"]
    path, query, body = http["requestUri"], "", dict(value)
    members = SHAPES[operation["input"]["shape"]]["members"]
    for member, it in members.items():
        if it.get("location") == "uri":
            path = path.replace("{" + member + "}", quote(str(body.pop(member, "")), safe=""))
        if it.get("location") == "querystring" and member in body:
            query = "&".join(f"{member}={quote(str(key), safe='')}" for key in body.pop(member))
    content = b"" if http["method"] in ("GET", "DELETE") else json.dumps(body).encode()
    status, headers, answer = signed(http["method"], path, content, query, headers={"Content-Type": "application/json"})
    error = json.loads(answer) if answer else {}
    return status, headers.get("x-amzn-errortype"), error


def where(operation, path):
    """Where in the URL a member stands; None for the body."""
    member = path.lstrip(".").split("[")[0].split(".")[0]
    return SHAPES[operation["input"]["shape"]]["members"].get(member, {}).get("location")


def main():
    requests = 0
    for name, operation in SERVICE["operations"].items():
        shape = operation["input"]["shape"]
        status, code, error = send(operation, valid(shape))
        assert code != "ValidationException" and status < 500, (name, status, error)
        # Members that nobody knows are passed over.
        if operation["http"]["method"] == "POST":
            status, code, error = send(operation, {**valid(shape), "noSuchMember": {"a": [1]}, "nextTokens": None})
            assert code != "ValidationException" and status < 500, (name, status, error)
        for word, path, value in wrong(shape):
            if path == "":
                continue  # a body that is no object: below
            location = where(operation, path)
            if location and word in ("type", "null") or location == "uri" and word == "required":
                continue  # all that stands in a URL is text, and its path is always there
            status, code, error = send(operation, value)
            requests += 1
            case = (name, word, path, status, error)
            assert (status, code) == (400, "ValidationException"), case
            assert f"'{path.lstrip('.')}'" in error["message"] == error["exceptionMessage"], case
            assert error["__type"] == code, case
    for body in (b"[]", b"1", b'"x"', b"{", b"\xff", b"null"):
        status, headers, _ = signed("POST", "/ListChannels", body)
        assert (status, headers["x-amzn-errortype"]) == (400, "ValidationException"), body
    assert requests > 500, requests
    print(f"{len(SERVICE['operations'])} operations, {requests} broken constraints")


main()
