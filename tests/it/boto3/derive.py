"""Prints src/api/restjson/ivs.json: the inputs of every operation, from botocore's own model.

botocore is the Apache-2.0 licensed core of boto3. IVS's quotas of calls per second are those of its user guide.
"""

import json

import botocore.session

KINDS = [
    ("StreamKey", "stream-key"),
    ("AdConfiguration", "ad-configuration"),
    ("FailoverSlate", "failover-slate-configuration"),
    ("PlaybackKeyPair", "playback-key"),
    ("RestrictionPolic", "playback-restriction-policy"),
    ("RecordingConfiguration", "recording-configuration"),
    ("", "channel"),
]
RATES = {
    "PutMetadata": 155,
    "StartViewerSessionRevocation": 10,
    "BatchStartViewerSessionRevocation": 2,
    "InsertAdBreak": 1,
    "TagResource": 10,
    "UntagResource": 10,
    "ListTagsForResource": 10,
}
SLOW = {"ad-configuration", "failover-slate-configuration", "playback-key", "recording-configuration"}


def model():
    loader = botocore.session.get_session().get_component("data_loader")
    return loader.load_service_model("ivs", "service-2")


def derive(service):
    shapes, operations = {}, {}

    def walk(name):
        if name in shapes:
            return
        given = service["shapes"][name]
        shape = shapes[name] = {"type": given["type"]}
        if given["type"] == "structure":
            if given.get("required"):
                shape["required"] = given["required"]
            shape["members"] = {member: it["shape"] for member, it in given["members"].items()}
            for used in shape["members"].values():
                walk(used)
        for part in ("member", "key", "value"):
            if part in given:
                shape[part] = given[part]["shape"]
                walk(shape[part])
        for constraint in ("min", "max", "pattern", "enum"):
            if constraint in given:
                shape[constraint] = given[constraint]

    for name, operation in service["operations"].items():
        kind = next(kind for part, kind in KINDS if part in name)
        walk(operation["input"]["shape"])
        operations[name] = {
            "resource": kind,
            "tps": RATES.get(name, 3 if kind in SLOW else 5),
            "method": operation["http"]["method"],
            "uri": operation["http"]["requestUri"],
            "status": operation["http"]["responseCode"],
            "input": operation["input"]["shape"],
        }
    # The model has one letter where there is a word; Amazon's servers take the word.
    pattern = shapes["ResourceArn"]["pattern"]
    shapes["ResourceArn"]["pattern"] = pattern.replace(":[a-z-]/", ":[a-z-]+/")
    return operations, shapes


def section(entries):
    lines = (f"    {json.dumps(name)}: {json.dumps(entries[name])}" for name in sorted(entries))
    return ",\n".join(lines)


if __name__ == "__main__":
    operations, shapes = derive(model())
    print('{\n  "operations": {\n' + section(operations) + '\n  },\n  "shapes": {\n' + section(shapes) + "\n  }\n}")
