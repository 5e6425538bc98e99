import assert from "node:assert/strict";
import { test } from "node:test";
import { parseLive } from "../src/api.ts";
import { classify } from "../src/failure.ts";
import * as format from "../src/format.ts";

const PLAYBACK = "/api/video/v1/us-east-1.000000000000.channel.AbCdEf123456.m3u8";

const CHANNEL = {
  channelId: "AbCdEf123456",
  arn: "arn:aws:ivs:us-east-1:000000000000:channel/AbCdEf123456",
  name: "default",
  streamId: "st-1",
  playbackUrl: `http://weir.example:8080${PLAYBACK}`,
  watchUrl: "http://weir.example:8080/watch/AbCdEf123456",
  startTime: "2026-10-01T10:00:00.000Z",
  width: 1920,
  height: 1080,
  frameRate: 29.97,
  state: "HELD",
  notices: ["audio is not carried"],
};

test("a channel is read, its playback URL moved to the page's own origin", () => {
  const [channel] = parseLive({ channels: [CHANNEL] });
  assert.deepEqual(channel, {
    channelId: "AbCdEf123456",
    name: "default",
    streamId: "st-1",
    playbackPath: PLAYBACK,
    startTime: new Date("2026-10-01T10:00:00.000Z"),
    width: 1920,
    height: 1080,
    frameRate: 29.97,
    state: "HELD",
    notices: ["audio is not carried"],
  });
});

test("a token in the playback URL is kept, foreign schemes are not followed", () => {
  const paths = ["?token=a.b", ""].map((query) => CHANNEL.playbackUrl + query);
  const channels = parseLive({
    channels: [...paths, "javascript:alert(1)", "", "http://["].map((playbackUrl) => ({
      ...CHANNEL,
      playbackUrl,
    })),
  });
  assert.deepEqual(
    channels.map((channel) => channel.playbackPath),
    [`${PLAYBACK}?token=a.b`, PLAYBACK],
  );
});

test("missing and wrong fields become empty ones, unusable channels are left out", () => {
  const bare = { channelId: "AbCdEf123456", playbackUrl: PLAYBACK };
  const odd = { ...bare, name: 7, width: -1, frameRate: "x", startTime: "?", notices: [1, "a"] };
  const channels = parseLive({ channels: [bare, odd, null, 7, { name: "no id" }] });
  assert.equal(channels.length, 2);
  assert.equal(channels[0]?.name, "AbCdEf123456");
  assert.equal(channels[1]?.width, 0);
  assert.equal(channels[1]?.startTime, null);
  assert.deepEqual(channels[1]?.notices, ["a"]);
  for (const body of [null, [], {}, { channels: {} }]) {
    assert.throws(() => parseLive(body), /without a list/);
  }
});

test("hls.js errors are sorted", () => {
  const table: [type: string, details: string, code: number | undefined, failure: string][] = [
    ["networkError", "manifestLoadError", 404, "missing"],
    ["networkError", "levelLoadError", 410, "missing"],
    ["networkError", "levelLoadError", 503, "network"],
    ["networkError", "manifestLoadTimeOut", undefined, "network"],
    ["networkError", "fragLoadError", 0, "network"],
    ["networkError", "levelParsingError", 200, "playlist"],
    ["networkError", "manifestParsingError", 200, "playlist"],
    ["mediaError", "bufferAppendError", undefined, "playlist"],
    ["mediaError", "manifestIncompatibleCodecsError", undefined, "codec"],
    ["otherError", "internalException", undefined, "network"],
  ];
  for (const [type, details, code, failure] of table) {
    assert.equal(classify({ type, details, response: { code } }), failure, details);
  }
});

test("sizes and times are words", () => {
  assert.equal(format.resolution(1080, 59.94), "1080p60");
  assert.equal(format.resolution(480, 0), "480p");
  assert.equal(format.resolution(0, 30), "");
  const video = { height: 720, frameRate: 30, bitrate: 3_240_000 };
  assert.equal(format.rung(video), "720p30 · 3.2 Mb/s");
  assert.equal(format.rung({ height: 0, frameRate: 0, bitrate: 160_000 }), "Audio only · 160 kb/s");
  const start = new Date(0);
  const table: [minutes: number, words: string][] = [
    [-5, "just now"],
    [0.9, "just now"],
    [59.9, "59 min"],
    [65, "1 h 05 min"],
    [60 * 24 * 2 + 60 * 4 + 59, "2 d 4 h"],
  ];
  for (const [minutes, words] of table) {
    assert.equal(format.elapsed(start, new Date(minutes * 60_000)), words);
  }
  assert.equal(format.liveFor(start, new Date(120_000)), "live for 2 min");
  assert.equal(format.liveFor(start, start), "just went live");
});

test("latency follows the picture's clock unless the clocks disagree", () => {
  const now = new Date(100_000);
  const shownAt = (seconds: number): Date => new Date(100_000 - seconds * 1000);
  assert.equal(format.latency(1.5, shownAt(2), now), 2);
  assert.equal(format.latency(1.5, shownAt(60), now), 1.5);
  assert.equal(format.latency(1.5, shownAt(-4), now), 1.5);
  assert.equal(format.latency(1.5, null, now), 1.5);
  assert.equal(format.latency(-0.1, null, now), 0);
  assert.equal(format.isBehind(3.9, 1), false);
  assert.equal(format.isBehind(4.1, 1), true);
});

test("a channel keeps its hue", () => {
  assert.equal(format.hue("AbCdEf123456"), format.hue("AbCdEf123456"));
  assert.notEqual(format.hue("AbCdEf123456"), format.hue("AbCdEf123457"));
  for (const id of ["", "a", "AbCdEf123456", "서울"]) {
    assert.ok(format.hue(id) >= 175 && format.hue(id) < 330, id);
  }
});
