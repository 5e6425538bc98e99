"""Unmodified boto3 drives every operation that needs no stream: what is made, found, changed and deleted, and each error."""

import json
import time
from datetime import datetime, timezone

from aws import ENDPOINT, client, fails, raw, signed
from botocore.credentials import Credentials

IVS = client()
NOWHERE = "arn:aws:ivs:us-east-1:000000000000:{}/{}"
INVALID, MISSING, FULL, CONFLICT = (
    ("ValidationException", 400),
    ("ResourceNotFoundException", 404),
    ("ServiceQuotaExceededException", 402),
    ("ConflictException", 409),
)


def key_pem(n):
    """Public keys of P-384: multiples of the generator, made once with openssl."""
    return open(f"{__file__.rsplit('/', 1)[0]}/keys/{n}.pem").read()


def channels():
    made = IVS.create_channel(name="kitchen", tags={"team": "a b", "한": "é"})
    channel, key = made["channel"], made["streamKey"]
    arn = channel["arn"]
    assert arn.startswith("arn:aws:ivs:us-east-1:000000000000:channel/"), arn
    expected = {
        "name": "kitchen", "latencyMode": "LOW", "type": "STANDARD", "authorized": False, "insecureIngest": False,
        "preset": "", "containerFormat": "TS", "recordingConfigurationArn": "", "playbackRestrictionPolicyArn": "",
        "adConfigurationArn": "", "failoverSlateConfigurationArn": "", "tags": {"team": "a b", "한": "é"},
    }
    assert {k: channel.get(k) for k in expected} == expected, channel
    assert channel["playbackUrl"].startswith(ENDPOINT) and channel["playbackUrl"].endswith(".m3u8")
    assert "/" not in channel["ingestEndpoint"], channel
    assert key["value"].startswith("sk_us-east-1_") and key["channelArn"] == arn and key["tags"] == {}
    assert IVS.get_channel(arn=arn)["channel"] == channel

    changed = IVS.update_channel(arn=arn, type="ADVANCED_HD", latencyMode="NORMAL", authorized=True)["channel"]
    assert (changed["preset"], changed["type"], changed["name"]) == ("HIGHER_BANDWIDTH_DELIVERY", "ADVANCED_HD", "kitchen")
    assert changed["authorized"] and changed["tags"] == channel["tags"]
    assert IVS.get_channel(arn=arn)["channel"] == changed
    for wrong in (
        {"type": "BASIC", "preset": "CONSTRAINED_BANDWIDTH_DELIVERY"},
        {"type": "BASIC", "multitrackInputConfiguration": {"enabled": True}},
        {"name": "a b"},
        {"tags": {"aws:x": "y"}},
    ):
        fails(*INVALID, IVS.create_channel, **wrong)
    multitrack = {"enabled": True, "policy": "ALLOW", "maximumResolution": "HD"}
    whole = IVS.create_channel(containerFormat="FRAGMENTED_MP4", multitrackInputConfiguration=multitrack)["channel"]
    assert whole["multitrackInputConfiguration"] == multitrack, whole
    IVS.delete_channel(arn=whole["arn"])

    other_region = arn.replace("us-east-1", "us-west-2")
    for missing in (NOWHERE.format("channel", "abcdABCDefgh"), NOWHERE.format("channel", "a"), other_region):
        fails(*MISSING, IVS.get_channel, arn=missing)
        fails(*MISSING, IVS.update_channel, arn=missing)
        fails(*MISSING, IVS.delete_channel, arn=missing)
    missing = NOWHERE.format("recording-configuration", "abcdABCDefgh")
    fails(*MISSING, IVS.create_channel, recordingConfigurationArn=missing)
    fails(*MISSING, IVS.update_channel, arn=arn, recordingConfigurationArn=missing)

    batch = IVS.batch_get_channel(arns=[arn, other_region])
    assert [c["arn"] for c in batch["channels"]] == [arn]
    assert [(e["arn"], e["code"]) for e in batch["errors"]] == [(other_region, "ResourceNotFoundException")]
    answer = IVS.delete_channel(arn=arn)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    fails(*MISSING, IVS.get_channel, arn=arn)
    fails(*MISSING, IVS.get_stream_key, arn=key["arn"])


def stream_keys():
    made = IVS.create_channel()
    channel, key = made["channel"]["arn"], made["streamKey"]
    assert IVS.get_stream_key(arn=key["arn"])["streamKey"] == key
    fails(*FULL, IVS.create_stream_key, channelArn=channel)
    listed = IVS.list_stream_keys(channelArn=channel)
    assert listed["streamKeys"] == [{k: key[k] for k in ("arn", "channelArn", "tags")}] and "nextToken" not in listed
    missing = NOWHERE.format("stream-key", "abcdABCDefgh")
    batch = IVS.batch_get_stream_key(arns=[missing, key["arn"]])
    assert batch["streamKeys"] == [key] and batch["errors"][0]["arn"] == missing
    assert IVS.delete_stream_key(arn=key["arn"])["ResponseMetadata"]["HTTPStatusCode"] == 204
    fails(*MISSING, IVS.delete_stream_key, arn=key["arn"])
    fails(*MISSING, IVS.get_stream_key, arn=key["arn"])
    assert IVS.list_stream_keys(channelArn=channel)["streamKeys"] == []
    new = IVS.create_stream_key(channelArn=channel, tags={"a": "b"})["streamKey"]
    assert new["value"] != key["value"] and new["tags"] == {"a": "b"}
    fails(*MISSING, IVS.create_stream_key, channelArn=NOWHERE.format("channel", "abcdABCDefgh"))
    fails(*MISSING, IVS.list_stream_keys, channelArn=NOWHERE.format("channel", "abcdABCDefgh"))
    IVS.delete_channel(arn=channel)


def pages():
    """Pages go on where they ended, whatever comes and goes meanwhile."""
    before = sum(len(page["channels"]) for page in IVS.get_paginator("list_channels").paginate())
    made = [IVS.create_channel(name=f"page-{n % 2}")["channel"]["arn"] for n in range(7)]
    first = IVS.list_channels(maxResults=before + 3)
    assert [c["arn"] for c in first["channels"]][before:] == made[:3]
    late = IVS.create_channel(name="late")["channel"]["arn"]
    IVS.delete_channel(arn=made[0])
    rest = IVS.list_channels(maxResults=100, nextToken=first["nextToken"])
    assert [c["arn"] for c in rest["channels"]] == made[3:] + [late] and "nextToken" not in rest
    exact = IVS.list_channels(maxResults=5, nextToken=first["nextToken"])
    assert len(exact["channels"]) == 5 and "nextToken" not in exact
    fails(*INVALID, IVS.list_channels, nextToken="abc")
    fails(*INVALID, IVS.list_streams, nextToken=first["nextToken"])
    paginator = IVS.get_paginator("list_channels")
    even = [c["arn"] for page in paginator.paginate(filterByName="page-0", maxResults=2) for c in page["channels"]]
    assert even == [made[2], made[4], made[6]], even
    fails(*CONFLICT, IVS.list_channels, filterByName="a",
          filterByRecordingConfigurationArn=NOWHERE.format("recording-configuration", "abcdABCDefgh"))
    for arn in made[1:] + [late]:
        IVS.delete_channel(arn=arn)


def documents():
    tailor = [{"playbackConfigurationArn": "arn:aws:mediatailor:us-east-1:000000000000:playbackConfiguration/a"}]
    kinds = [
        ("ad_configuration", "adConfiguration", "ad-configuration", {"mediaTailorPlaybackConfigurations": tailor},
         {"postRollConfiguration": {"enabled": False, "durationSeconds": 15}},
         {"postRollConfiguration": {"enabled": True, "durationSeconds": 30}}, 20),
        ("failover_slate_configuration", "failoverSlateConfiguration", "failover-slate-configuration", {},
         {"activationThresholdSeconds": 3, "minSlateDisplaySeconds": 3, "maxSlateDisplaySeconds": 60, "state": "CREATED"},
         {"maxSlateDisplaySeconds": 90}, 20),
        ("playback_restriction_policy", "playbackRestrictionPolicy", "playback-restriction-policy", {},
         {"allowedCountries": [], "allowedOrigins": [], "enableStrictOriginEnforcement": False},
         {"allowedCountries": ["KR", "DE"]}, 3),
        ("recording_configuration", "recordingConfiguration", "recording-configuration",
         {"destinationConfiguration": {"s3": {"bucketName": "media"}}},
         {"recordingReconnectWindowSeconds": 0, "renditionConfiguration": {"renditionSelection": "ALL", "renditions": []},
          "thumbnailConfiguration": {"recordingMode": "INTERVAL", "targetIntervalSeconds": 60, "storage": ["SEQUENTIAL"]}},
         None, 20),
    ]
    for name, member, kind, needed, defaults, changes, most in kinds:
        document(name, member, kind, needed, defaults, changes, most)


def document(name, member, kind, needed, defaults, changes, most):
    call = lambda verb, plural=False: getattr(IVS, f"{verb}_{plurals(name) if plural else name}")
    made = call("create")(name="one", tags={"a": "b"}, **needed)[member]
    arn = made["arn"]
    assert f":{kind}/" in arn and made["tags"] == {"a": "b"} and made["name"] == "one", made
    for key, value in {**needed, **defaults}.items():
        assert made[key] == value, (key, made)
    if name == "recording_configuration":
        assert made["state"] == "CREATING", made
        made = eventually(lambda: ready(call("get")(arn=arn)[member]))
    assert call("get")(arn=arn)[member] == made
    if changes:
        changed = call("update")(arn=arn, **changes)[member]
        assert changed == {**made, **changes}, changed
        assert call("get")(arn=arn)[member] == changed
        fails(*MISSING, call("update"), arn=NOWHERE.format(kind, "abcdABCDefgh"))
    filter_by = f"filterBy{member[0].upper()}{member[1:]}Arn"
    channel = IVS.create_channel(**{member + "Arn": arn})["channel"]
    assert channel[member + "Arn"] == arn
    listed = IVS.list_channels(**{filter_by: arn})["channels"]
    assert [c["arn"] for c in listed] == [channel["arn"]]
    fails(*CONFLICT, call("delete"), arn=arn)
    detached = IVS.update_channel(arn=channel["arn"], **{member + "Arn": ""})["channel"]
    assert detached[member + "Arn"] == ""
    IVS.delete_channel(arn=channel["arn"])
    arns = [arn] + [call("create")(**needed)[member]["arn"] for _ in range(most - 1)]
    fails(*FULL, call("create"), **needed)
    seen, token = [], None
    while token is not None or not seen:
        page = call("list", True)(maxResults=2, **({"nextToken": token} if token else {}))
        seen += [d["arn"] for d in next(v for v in page.values() if isinstance(v, list))]
        token = page.get("nextToken")
    assert seen == arns
    if name == "playback_restriction_policy":
        assert len(call("list", True)()["playbackRestrictionPolicies"]) == 1
    for arn in arns:
        call("delete")(arn=arn)
    fails(*MISSING, call("delete"), arn=arn)
    fails(*MISSING, call("get"), arn=arn)


def plurals(name):
    return name[:-1] + "ies" if name.endswith("policy") else name + "s"


def ready(recording):
    return recording if recording["state"] == "ACTIVE" else None


def eventually(probe):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        value = probe()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError("it did not come about")


def rules_of_documents():
    bucket = {"s3": {"bucketName": "media"}}
    fails(*INVALID, IVS.create_recording_configuration, destinationConfiguration={})
    fails(*INVALID, IVS.create_recording_configuration, destinationConfiguration=bucket,
          renditionConfiguration={"renditionSelection": "CUSTOM"})
    fails(*INVALID, IVS.create_playback_restriction_policy, allowedOrigins=["https://a.example"] * 6)
    fails(*INVALID, IVS.create_playback_restriction_policy, allowedCountries=["KR"] * 201)
    fails(*INVALID, IVS.create_playback_restriction_policy, allowedCountries=["k1"])
    fails(*INVALID, IVS.create_channel, containerFormat="FRAGMENTED_MP4",
          adConfigurationArn=NOWHERE.format("ad-configuration", "abcdABCDefgh"))


def playback_keys():
    made = [IVS.import_playback_key_pair(publicKeyMaterial=key_pem(n), name=f"k{n}", tags={"n": str(n)})["keyPair"] for n in (1, 2, 3)]
    assert made[0]["fingerprint"].count(":") == 15 and "publicKeyMaterial" not in made[0]
    assert IVS.get_playback_key_pair(arn=made[0]["arn"])["keyPair"] == made[0]
    fails(*FULL, IVS.import_playback_key_pair, publicKeyMaterial=key_pem(4))
    IVS.delete_playback_key_pair(arn=made[2]["arn"])
    fails(*CONFLICT, IVS.import_playback_key_pair, publicKeyMaterial=key_pem(1))
    fails(*INVALID, IVS.import_playback_key_pair, publicKeyMaterial="no key")
    pages = IVS.get_paginator("list_playback_key_pairs").paginate(maxResults=1)
    listed = [pair for page in pages for pair in page["keyPairs"]]
    assert listed == [{k: m[k] for k in ("arn", "name", "tags")} for m in made[:2]], listed
    for pair in made[:2]:
        IVS.delete_playback_key_pair(arn=pair["arn"])
    fails(*MISSING, IVS.get_playback_key_pair, arn=made[0]["arn"])
    fails(*MISSING, IVS.delete_playback_key_pair, arn=made[0]["arn"])


def tags():
    made = IVS.create_channel(tags={"a": "1"})
    policy = IVS.create_playback_restriction_policy(tags={"a": "1"})["playbackRestrictionPolicy"]
    key_tags = {}
    for arn, start in ((made["channel"]["arn"], {"a": "1"}), (made["streamKey"]["arn"], key_tags), (policy["arn"], {"a": "1"})):
        assert IVS.list_tags_for_resource(resourceArn=arn)["tags"] == start
        IVS.tag_resource(resourceArn=arn, tags={"a": "2", "b c": "x/y=z+@"})
        assert IVS.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "2", "b c": "x/y=z+@"}
        for _ in range(2):
            IVS.untag_resource(resourceArn=arn, tagKeys=["b c", "none"])
        assert IVS.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "2"}
        fails(*INVALID, IVS.tag_resource, resourceArn=arn, tags={f"k{n}": "v" for n in range(50)})
        fails(*INVALID, IVS.tag_resource, resourceArn=arn, tags={"aws:a": "v"})
    assert IVS.get_channel(arn=made["channel"]["arn"])["channel"]["tags"] == {"a": "2"}
    assert IVS.get_stream_key(arn=made["streamKey"]["arn"])["streamKey"]["tags"] == {"a": "2"}
    IVS.delete_channel(arn=made["channel"]["arn"])
    IVS.delete_playback_restriction_policy(arn=policy["arn"])
    for kind in ("channel", "stream-key", "playback-restriction-policy", "stage"):
        gone = NOWHERE.format(kind, "abcdABCDefgh")
        fails(*MISSING, IVS.list_tags_for_resource, resourceArn=gone)
        fails(*MISSING, IVS.tag_resource, resourceArn=gone, tags={"a": "b"})
        fails(*MISSING, IVS.untag_resource, resourceArn=gone, tagKeys=["a"])


def revocations():
    arn = IVS.create_channel()["channel"]["arn"]
    gone = NOWHERE.format("channel", "abcdABCDefgh")
    IVS.start_viewer_session_revocation(channelArn=arn, viewerId="한", viewerSessionVersionsLessThanOrEqualTo=7)
    IVS.start_viewer_session_revocation(channelArn=arn, viewerId="한")
    fails(*MISSING, IVS.start_viewer_session_revocation, channelArn=gone, viewerId="v")
    batch = IVS.batch_start_viewer_session_revocation(viewerSessions=[
        {"channelArn": arn, "viewerId": "a"}, {"channelArn": gone, "viewerId": "b"}])
    assert [(e["channelArn"], e["viewerId"], e["code"]) for e in batch["errors"]] == [(gone, "b", "ResourceNotFoundException")]
    IVS.delete_channel(arn=arn)


def offline():
    arn = IVS.create_channel()["channel"]["arn"]
    silent = ("ChannelNotBroadcasting", 404)
    fails(*silent, IVS.get_stream, channelArn=arn)
    fails(*silent, IVS.stop_stream, channelArn=arn)
    fails(*silent, IVS.put_metadata, channelArn=arn, metadata="x")
    fails(*INVALID, IVS.put_metadata, channelArn=arn, metadata="é" * 513)
    fails(*INVALID, IVS.insert_ad_break, channelArn=arn, durationSeconds=30)
    tailor = [{"playbackConfigurationArn": "arn:aws:mediatailor:us-east-1:000000000000:playbackConfiguration/a"}]
    ads = IVS.create_ad_configuration(mediaTailorPlaybackConfigurations=tailor)["adConfiguration"]["arn"]
    IVS.update_channel(arn=arn, adConfigurationArn=ads)
    fails(*silent, IVS.insert_ad_break, channelArn=arn, durationSeconds=30)
    assert IVS.list_streams()["streams"] == [] == IVS.list_streams(filterBy={"health": "STARVING"})["streams"]
    assert IVS.list_stream_sessions(channelArn=arn)["streamSessions"] == []
    fails(*MISSING, IVS.get_stream_session, channelArn=arn)
    IVS.delete_channel(arn=arn)
    IVS.delete_ad_configuration(arn=ads)
    for call in (IVS.get_stream, IVS.stop_stream, IVS.list_stream_sessions, IVS.get_stream_session):
        fails(*MISSING, call, channelArn=arn)
    fails(*MISSING, IVS.put_metadata, channelArn=arn, metadata="x")
    fails(*MISSING, IVS.insert_ad_break, channelArn=arn, durationSeconds=30)


def protocol():
    """What no SDK sends, and what it is told."""
    code = lambda answer: (answer[0], answer[1].get("x-amzn-errortype"))
    assert code(raw("POST", "/ListChannels", b"{}")) == (403, "MissingAuthenticationTokenException")
    assert code(raw("POST", "/ListChannels", b"{}", {"Authorization": "AWS4-HMAC-SHA256 x"})) == (403, "IncompleteSignature")
    stranger = Credentials("AKIDNOBODY", "secret")
    assert code(signed("POST", "/ListChannels", b"{}", credentials=stranger)) == (403, "UnrecognizedClientException")
    forger = Credentials(IVS._request_signer._credentials.access_key, "secret")
    assert code(signed("POST", "/ListChannels", b"{}", credentials=forger)) == (403, "InvalidSignatureException")
    assert code(signed("GET", "/ListChannels")) == (404, "UnknownOperationException")
    assert code(signed("POST", "/CreateNothing", b"{}")) == (404, "UnknownOperationException")
    assert code(raw("POST", "/a/b", b"{}")) == (404, "UnknownOperationException")
    status, headers, _ = raw("GET", "/CreateNothing")
    assert status == 404 and "x-amzn-errortype" not in headers, headers
    assert code(signed("POST", "/ListChannels", b" " * (5 * 1024 * 1024 + 1))) == (413, "RequestEntityTooLargeException")
    status, headers, body = signed("POST", "/ListChannels", b"")
    assert status == 200 and headers["content-type"] == "application/json" and "x-amzn-requestid" in headers
    assert "channels" in json.loads(body)
    hashed = {"x-amz-content-sha256": "0" * 64}
    assert code(signed("POST", "/ListChannels", b"{}", headers=hashed)) == (403, "InvalidSignatureException")
    url = IVS.generate_presigned_url("list_channels", ExpiresIn=60, HttpMethod="POST")
    as_json = {"Content-Type": "application/json"}
    status, _, body = raw("POST", url[len(ENDPOINT):], headers=as_json)
    assert status == 200 and "channels" in json.loads(body), body
    assert code(raw("POST", url[len(ENDPOINT):], b"{}", as_json)) == (403, "InvalidSignatureException")
    assert code(raw("POST", url[len(ENDPOINT):] + "0")) == (403, "IncompleteSignature")


def main():
    begun = datetime.now(timezone.utc)
    for part in (channels, stream_keys, pages, documents, rules_of_documents, playback_keys, tags, revocations, offline, protocol):
        part()
        print(part.__name__)
    assert (datetime.now(timezone.utc) - begun).total_seconds() < 300


main()
