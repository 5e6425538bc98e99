"""The life of a channel through boto3 alone, with ffmpeg as its encoder: CLIP is what that publishes."""

import os
import subprocess
import time

from aws import client, fails

IVS = client()
CONFLICT, SILENT = ("ConflictException", 409), ("ChannelNotBroadcasting", 404)


def eventually(what, probe, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = probe()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"no {what} within {seconds} s")


def stream(channel):
    try:
        return IVS.get_stream(channelArn=channel)["stream"]
    except IVS.exceptions.ChannelNotBroadcasting:
        return None


def publish(channel, key):
    url = f"rtmp://{channel['ingestEndpoint']}/app/{key['value']}"
    arguments = ["-nostdin", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", os.environ["CLIP"]]
    return subprocess.Popen(["ffmpeg", *arguments, "-c", "copy", "-f", "flv", url], stderr=subprocess.DEVNULL)


def main():
    tailor = [{"playbackConfigurationArn": "arn:aws:mediatailor:us-east-1:000000000000:playbackConfiguration/a"}]
    ads = IVS.create_ad_configuration(mediaTailorPlaybackConfigurations=tailor)["adConfiguration"]["arn"]
    recording = IVS.create_recording_configuration(
        destinationConfiguration={"s3": {"bucketName": "media"}})["recordingConfiguration"]["arn"]
    made = IVS.create_channel(name="stage", type="BASIC", adConfigurationArn=ads, recordingConfigurationArn=recording)
    channel, key = made["channel"], made["streamKey"]
    arn = channel["arn"]
    encoder = publish(channel, key)
    try:
        live = eventually("stream", lambda: stream(arn))
        while_live(channel, recording, live)
        IVS.stop_stream(channelArn=arn)
        eventually("end of the encoder", lambda: encoder.poll() is not None)
    finally:
        encoder.kill()
        encoder.wait()
    eventually("end of the stream", lambda: stream(arn) is None)
    fails(*SILENT, IVS.stop_stream, channelArn=arn)
    afterwards(channel, live)
    IVS.delete_ad_configuration(arn=ads)
    IVS.delete_recording_configuration(arn=recording)


def while_live(channel, recording, live):
    arn = channel["arn"]
    assert live["channelArn"] == arn and live["state"] == "LIVE" and live["playbackUrl"] == channel["playbackUrl"], live
    assert live["streamId"].startswith("st-") and live["viewerCount"] == 0, live
    eventually("health", lambda: stream(arn)["health"] == "HEALTHY")
    listed = IVS.list_streams(filterBy={"health": "HEALTHY"})["streams"]
    assert [s["streamId"] for s in listed] == [live["streamId"]], listed
    assert IVS.list_streams(filterBy={"health": "STARVING"})["streams"] == []
    fails(*CONFLICT, IVS.update_channel, arn=arn, name="other")
    fails(*CONFLICT, IVS.delete_channel, arn=arn)
    assert IVS.put_metadata(channelArn=arn, metadata="é" * 512)["ResponseMetadata"]["HTTPStatusCode"] == 204
    inserted = IVS.insert_ad_break(channelArn=arn, durationSeconds=30, adBreakId="abcdABCD1234")
    assert inserted["adBreakId"] == "abcdABCD1234" and inserted["targetStartAt"], inserted
    fails(*CONFLICT, IVS.insert_ad_break, channelArn=arn, durationSeconds=1)
    sessions = IVS.list_stream_sessions(channelArn=arn)["streamSessions"]
    assert [s["streamId"] for s in sessions] == [live["streamId"]] and "endTime" not in sessions[0], sessions
    session = IVS.get_stream_session(channelArn=arn)["streamSession"]
    assert session["channel"] == channel, (session["channel"], channel)
    assert session["recordingConfiguration"]["arn"] == recording, session
    video = session["ingestConfiguration"]["video"]
    audio = session["ingestConfiguration"]["audio"]
    assert video["codec"].startswith("avc1.") and video["videoWidth"] > video["videoHeight"] > 0, video
    assert video["targetFramerate"] == 30 and video["avcProfile"] and video["avcLevel"], video
    assert audio["codec"].startswith("mp4a.40.") and audio["sampleRate"] == 48000 and audio["channels"] == 2, audio
    assert session["ingestConfigurations"]["videoConfigurations"][0]["track"] == "Track0", session


def afterwards(channel, live):
    arn = channel["arn"]

    def ended():
        session = IVS.get_stream_session(channelArn=arn, streamId=live["streamId"])["streamSession"]
        names = [event["name"] for event in session["truncatedEvents"]]
        return session if "endTime" in session and {"Stream End", "Session Ended"} <= set(names) else None

    session = eventually("end of the session", ended)
    names = [event["name"] for event in reversed(session["truncatedEvents"])]
    assert names[:2] == ["Session Created", "Stream Start"], names
    assert "Ad Break Inserted" in names, names
    types = {event["type"] for event in session["truncatedEvents"]}
    assert types <= {"IVS Stream State Change", "IVS Stream Health Change", "IVS Ad Break State Change"}, types
    assert session["endTime"] > session["startTime"]
    fails("ResourceNotFoundException", 404, IVS.get_stream_session, channelArn=arn, streamId="st-abcdABCDefghabcdABCDefg")
    IVS.update_channel(arn=arn, name="other")
    IVS.delete_channel(arn=arn)
    kept = IVS.list_stream_sessions(channelArn=arn)["streamSessions"]
    assert [(s["streamId"], s["hasErrorEvent"]) for s in kept] == [(live["streamId"], False)], kept


main()
