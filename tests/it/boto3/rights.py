"""What the keys of `weir access-key` may: KEYS is JSON, by name, as the command prints it."""

import json
import os

from aws import client, fails

KEYS = json.loads(os.environ["KEYS"])
DENIED = ("AccessDeniedException", 403)


def as_key(name, token=True):
    key = KEYS[name]
    return client(
        aws_access_key_id=key["accessKeyId"],
        aws_secret_access_key=key["secretAccessKey"],
        aws_session_token=key.get("sessionToken") if token else None,
    )


def main():
    own, other = os.environ["OWN"], os.environ["OTHER"]
    admin = as_key("admin")
    made = admin.create_channel()
    reader = as_key("reader")
    assert made["channel"]["arn"] in [c["arn"] for c in reader.list_channels()["channels"]]
    reader.list_stream_keys(channelArn=own)
    fails(*DENIED, reader.get_stream_key, arn=made["streamKey"]["arn"])
    fails(*DENIED, reader.batch_get_stream_key, arns=[made["streamKey"]["arn"]])
    fails(*DENIED, reader.create_channel)
    fails(*DENIED, reader.delete_channel, arn=own)
    fails(*DENIED, as_key("chat").list_channels)
    bound = as_key("bound")
    assert bound.get_channel(arn=own)["channel"]["arn"] == own
    bound.tag_resource(resourceArn=own, tags={"a": "b"})
    for call, arguments in (
        (bound.get_channel, {"arn": other}),
        (bound.batch_get_channel, {"arns": [own, other]}),
        (bound.tag_resource, {"resourceArn": other, "tags": {"a": "b"}}),
        (bound.list_channels, {}),
        (bound.create_channel, {}),
    ):
        fails(*DENIED, call, **arguments)
    session = as_key("session")
    session.list_channels()
    fails("UnrecognizedClientException", 403, as_key("session", token=False).list_channels)
    fails("UnrecognizedClientException", 403, client(
        aws_access_key_id=KEYS["admin"]["accessKeyId"],
        aws_secret_access_key=KEYS["admin"]["secretAccessKey"],
        aws_session_token="none of this key's").list_channels)
    admin.delete_channel(arn=made["channel"]["arn"])


main()
