"""What an unmodified boto3 reads of a live stream in CloudWatch, and of a server where nothing is live any more.

CLIP is published to the first channel; VIDEO_BPS is its pictures' bit rate. ADMIN is the listener of Prometheus.
"""

import os
import re
import subprocess
import time
import urllib.request
from datetime import datetime, timedelta, timezone

import boto3
from aws import ENDPOINT, REGION, client, fails, raw
from botocore.config import Config
from prometheus_client.parser import text_string_to_metric_families

IVS = client()
CW = boto3.client("cloudwatch", endpoint_url=ENDPOINT, region_name=REGION, config=Config(retries={"total_max_attempts": 1}))
OF_CHANNEL = {"ConcurrentViews", "IngestAudioBitrate", "IngestBitrate", "IngestFramerate", "IngestVideoBitrate",
              "KeyframeInterval", "LiveDeliveredTime", "LiveInputTime"}
OF_ALL = {"ConcurrentStreams", "ConcurrentViews", "IngestBitrate", "IngestFramerate", "LiveDeliveredTime", "LiveInputTime"}


def eventually(what, probe, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = probe()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"no {what} within {seconds} s")


def query(name, stat="Average", period=5, channel=None, number=0, **more):
    dimensions = [{"Name": "Channel", "Value": channel}] if channel else []
    metric = {"Namespace": "AWS/IVS", "MetricName": name, "Dimensions": dimensions}
    return {"Id": f"q{number}", "MetricStat": {"Metric": metric, "Period": period, "Stat": stat, **more}}


def lately(ahead=60):
    now = datetime.now(timezone.utc)
    return {"StartTime": now - timedelta(minutes=10), "EndTime": now + timedelta(seconds=ahead)}


def values(*arguments, **more):
    got = CW.get_metric_data(MetricDataQueries=[query(*arguments, **more)], **lately())["MetricDataResults"]
    assert len(got) == 1 and got[0]["StatusCode"] == "Complete" and got[0]["Label"] == arguments[0], got
    assert got[0]["Timestamps"] == sorted(got[0]["Timestamps"], reverse=True), got
    return got[0]["Values"]


def scraped():
    text = urllib.request.urlopen(f"{os.environ['ADMIN']}/metrics").read().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def near(value, expected, share):
    assert abs(value - expected) <= share * expected, (value, expected)


def nothing_live():
    assert CW.list_metrics(Namespace="AWS/IVS")["Metrics"] == []
    assert values("ConcurrentStreams") == []
    streams = scraped()["weir_concurrent_streams"].samples
    assert {s.labels["health"]: s.value for s in streams} == {"HEALTHY": 0, "STARVING": 0, "UNKNOWN": 0}, streams


def live(channel):
    listed = CW.list_metrics(Namespace="AWS/IVS", Dimensions=[{"Name": "Channel", "Value": channel}])["Metrics"]
    assert {m["MetricName"] for m in listed} == OF_CHANNEL, listed
    listed = CW.list_metrics(Namespace="AWS/IVS")["Metrics"]
    assert {m["MetricName"] for m in listed if not m["Dimensions"]} == OF_ALL, listed
    healths = [m["Dimensions"][0]["Value"] for m in listed if m["Dimensions"][0:1] and m["Dimensions"][0]["Name"] == "Health"]
    assert sorted(healths) == ["HEALTHY", "STARVING", "UNKNOWN"], healths
    assert CW.list_metrics(Namespace="AWS/EC2")["Metrics"] == []
    # Of the newest whole periods: the first ones have the first GOP at once, the open one may lack a second.
    newest = lambda name, **more: values(name, channel=channel, **more)[1]
    near(newest("IngestVideoBitrate"), float(os.environ["VIDEO_BPS"]), 0.25)
    near(newest("IngestFramerate"), 30, 0.1)
    near(newest("KeyframeInterval"), 2, 0.02)
    near(newest("IngestBitrate"), newest("IngestVideoBitrate") + newest("IngestAudioBitrate"), 0.25)
    near(newest("LiveInputTime", stat="Sum"), 5, 0.3)
    assert values("ConcurrentViews", channel=channel)[1] == 0
    assert values("ConcurrentStreams", stat="Maximum")[0] == 1
    assert values("IngestFramerate", channel=channel, Unit="Bytes") == []
    assert values("IngestFramerate", channel=channel, Unit="Count/Second") != []
    statistics = CW.get_metric_statistics(
        Namespace="AWS/IVS", MetricName="IngestFramerate", Dimensions=[{"Name": "Channel", "Value": channel}],
        Period=60, Statistics=["Average", "SampleCount", "Maximum", "Minimum"], **lately())
    points = statistics["Datapoints"]
    assert points and all(p["Unit"] == "Count/Second" and p["Minimum"] <= p["Average"] <= p["Maximum"] for p in points), points
    assert sum(p["SampleCount"] for p in points) >= 10, points
    pages(channel)


def pages(channel):
    """Page by page the same values come as at once."""
    queries = [query("IngestFramerate", channel=channel, number=1), query("IngestBitrate", channel=channel, number=2)]
    whole = lately(ahead=-6)
    for scan in ["TimestampAscending", "TimestampDescending"]:
        ask = lambda **more: CW.get_metric_data(MetricDataQueries=queries, ScanBy=scan, **whole, **more)
        at_once = {r["Id"]: list(zip(r["Timestamps"], r["Values"])) for r in ask()["MetricDataResults"]}
        paged, token, count = {"q1": [], "q2": []}, {}, 0
        while True:
            page = ask(MaxDatapoints=1, **token)
            for result in page["MetricDataResults"]:
                paged[result["Id"]] += zip(result["Timestamps"], result["Values"])
            count += 1
            if "NextToken" not in page:
                break
            token = {"NextToken": page["NextToken"]}
        assert paged == at_once and count >= len(at_once["q1"]) > 0, (scan, count, paged, at_once)


def wrong(channel):
    good = query("IngestFramerate", channel=channel)
    data = lambda q, **more: {**lately(), "MetricDataQueries": q, **more}
    expression = {"Id": "e", "Expression": "SUM(METRICS())"}
    backwards = {"StartTime": datetime.now(timezone.utc), "EndTime": datetime(2020, 1, 1)}
    for arguments in [data([]), data([expression]), data([good, good]), data([{**good, "Id": "Big"}]), data([good], **backwards),
                      data([query("IngestFramerate", period=7)]), data([query("IngestFramerate", stat="p99")]),
                      data([good], ScanBy="Sideways"), data([good], MaxDatapoints=0)]:
        fails("ValidationError", 400, CW.get_metric_data, **arguments)
    assert "Expression" in fails("ValidationError", 400, CW.get_metric_data, **data([expression]))
    fails("InvalidNextToken", 400, CW.get_metric_data, **data([good], NextToken="?"))
    fails("InvalidNextToken", 400, CW.list_metrics, NextToken="?")
    fails("InvalidParameterValue", 400, CW.list_metrics, RecentlyActive="PT1H")
    common = {"Namespace": "AWS/IVS", "MetricName": "IngestFramerate", "Period": 60, **lately()}
    fails("MissingParameter", 400, CW.get_metric_statistics, **common)
    fails("InvalidParameterValue", 400, CW.get_metric_statistics, Statistics=["Median"], **common)
    fails("UnknownOperationException", 404, CW.describe_alarms)
    target = {"X-Amz-Target": "GraniteServiceVersion20100801.ListMetrics", "Content-Type": "application/x-amz-json-1.0"}
    status, _, body = raw("POST", "/", b"{}", target)
    assert status == 403 and b"MissingAuthenticationToken" in body, (status, body)
    status, headers, _ = raw("POST", "/service/GraniteServiceVersion20100801/operation/ListMetrics", b"\xa0")
    assert status == 403 and headers["smithy-protocol"] == "rpc-v2-cbor", (status, headers)
    cbor(channel)


def cbor(channel):
    """Botocore speaks RPC v2 CBOR too, as the SDKs do that have no AWS JSON for this service."""
    session = boto3.session.Session()
    loader = session._session.get_component("data_loader")
    usual = loader.load_service_model

    def load(service, *arguments, **options):
        model = usual(service, *arguments, **options)
        if "metadata" in model and service == "cloudwatch":
            model["metadata"]["protocols"] = ["smithy-rpc-v2-cbor"]
        return model

    loader.load_service_model = load
    speaks = session.client("cloudwatch", endpoint_url=ENDPOINT, region_name=REGION)
    assert speaks.meta.service_model.resolved_protocol == "smithy-rpc-v2-cbor"
    got = speaks.get_metric_data(MetricDataQueries=[query("IngestFramerate", channel=channel)], **lately())["MetricDataResults"][0]
    assert got["Timestamps"][0].tzinfo and len(got["Timestamps"]) == len(got["Values"]) > 1, got
    near(got["Values"][1], 30, 0.1)
    fails("ValidationError", 400, speaks.get_metric_data, MetricDataQueries=[], **lately())


def prometheus(channel):
    families = scraped()
    own = {name: family for name, family in families.items() if any("channel" in s.labels for s in family.samples)}
    assert {s.labels["channel"] for family in own.values() for s in family.samples} == {channel}, own
    one = lambda name: [s.value for s in families[name].samples if s.labels == {"channel": channel}][0]
    near(one("weir_ingest_video_bits_per_second"), float(os.environ["VIDEO_BPS"]), 0.25)
    near(one("weir_ingest_frames_per_second"), 30, 0.1)
    near(one("weir_keyframe_interval_seconds"), 2, 0.02)
    assert one("weir_concurrent_viewers") == 0 and one("weir_live_input_seconds") >= 10
    assert families["weir_live_input_seconds"].type == "counter" and families["weir_keyframe_interval_seconds"].type == "gauge"
    documented = set(re.findall(r"`(weir_[a-z_]+)`", open(os.environ["DOCUMENT"]).read()))
    named = {s.name for name, family in families.items() if name.startswith("weir_") for s in family.samples}
    named = {re.sub("_(bucket|sum|count)$", "", name) for name in named}
    assert named <= documented, named - documented


def main():
    nothing_live()
    made = IVS.create_channel(name="measured", type="BASIC")
    channel, key = made["channel"], made["streamKey"]
    own = channel["arn"].rsplit("/", 1)[1]
    url = f"rtmp://{channel['ingestEndpoint']}/app/{key['value']}"
    arguments = ["-nostdin", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", os.environ["CLIP"]]
    encoder = subprocess.Popen(["ffmpeg", *arguments, "-c", "copy", "-f", "flv", url], stderr=subprocess.DEVNULL)
    try:
        eventually("measures", lambda: len(values("KeyframeInterval", channel=own)) >= 4)
        live(own)
        wrong(own)
        prometheus(own)
        IVS.stop_stream(channelArn=channel["arn"])
        eventually("end of the encoder", lambda: encoder.poll() is not None)
    finally:
        encoder.kill()
        encoder.wait()
    gone = lambda: not any("channel" in s.labels for family in scraped().values() for s in family.samples)
    eventually("end of the series", gone)
    assert values("IngestFramerate", channel=own), "what was, is remembered"


main()
