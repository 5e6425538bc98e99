import assert from "node:assert/strict";
import { test } from "node:test";
import { authorization, complaints, curve, headline, isAccessKey, keyInFragment, parseHealth, rows } from "../src/health.ts";
import type { Health } from "../src/health.ts";

const SECOND = {
  time: "2026-10-01T10:00:00.000Z",
  bitrate: 3_000_000,
  videoBitrate: 2_840_000,
  audioBitrate: 160_000,
  frameRate: 30,
  keyframeInterval: 2,
  avDrift: 3,
  missingFrames: 0,
  droppedFrames: 0,
  timestampJumps: 0,
  parts: 3,
  lateParts: 0,
  isStarving: false,
};

const HEALTH = {
  channelId: "AbCdEf123456",
  name: "default",
  state: "LIVE",
  health: "HEALTHY",
  viewerCount: 7,
  streamId: "st-1",
  seconds: [SECOND],
  findings: [],
  shedRenditions: [],
  events: [],
};

/** The health of these seconds, each like `SECOND` but for what is said. */
function health(seconds: object[], others: object = {}): Health {
  return parseHealth({ ...HEALTH, seconds: seconds.map((one) => ({ ...SECOND, ...one })), ...others });
}

/** What is shown under a label. */
function shown(of: Health, label: string): { value: string; isBad: boolean } | undefined {
  const row = rows(of).find((one) => one.label === label);
  return row && { value: row.value, isBad: row.isBad };
}

test("a good stream is shown as it is", () => {
  const good = health([{}]);
  assert.equal(headline(good), "Live, healthy");
  assert.deepEqual(
    rows(good).map(({ label, value }) => `${label}: ${value}`),
    [
      "Bitrate: 3.0 Mb/s",
      "Frame rate: 30.0 fps",
      "Keyframe interval: 2.0 s",
      "Sound to picture: +3 ms",
      "Frames lost: 0 in 1 s",
      "Starved: 0 s of 1 s",
      "Parts late: 0 in 1 s",
      "Viewers: 7",
    ],
  );
  assert.ok(rows(good).every((row) => !row.isBad));
  assert.deepEqual(complaints(good, []), []);
});

test("rates are averaged over five seconds, losses summed over all", () => {
  const seconds = [9e9, 1e6, 2e6, 3e6, 4e6, 5e6].map((bitrate) => ({
    bitrate,
    missingFrames: 1,
    droppedFrames: 2,
    lateParts: 1,
    isStarving: bitrate === 1e6,
  }));
  const found = health(seconds);
  assert.equal(shown(found, "Bitrate")?.value, "3.0 Mb/s");
  assert.equal(shown(found, "Frames lost")?.value, "18 in 6 s");
  assert.equal(shown(found, "Parts late")?.value, "6 in 6 s");
  assert.deepEqual(shown(found, "Starved"), { value: "1 s of 6 s", isBad: false });
});

test("what is not known is a dash, and drift is the newest that is known", () => {
  const found = health([{ avDrift: -120 }, { avDrift: null, keyframeInterval: null }]);
  assert.deepEqual(shown(found, "Sound to picture"), { value: "-120 ms", isBad: true });
  assert.deepEqual(shown(found, "Keyframe interval"), { value: "–", isBad: false });
  assert.equal(shown(health([{ avDrift: null }]), "Sound to picture")?.value, "–");
});

test("a measure is marked while its finding holds", () => {
  const words = "the keyframe interval is 8.3 s; set it to 2 s";
  for (const isActive of [true, false]) {
    const findings = [{ code: "keyframe_interval_long", words, isActive }];
    const found = health([{ keyframeInterval: 8.333 }], { findings });
    assert.deepEqual(shown(found, "Keyframe interval"), { value: "8.3 s", isBad: isActive });
    assert.deepEqual(complaints(found, []), [{ words, isActive }]);
    const late = health([{ lateParts: 1 }], { findings: [{ code: "parts_late", words, isActive }] });
    assert.deepEqual(shown(late, "Parts late"), { value: "1 in 1 s", isBad: isActive });
  }
});

test("complaints of now stand before those of earlier", () => {
  const findings = [
    { code: "av_drift", words: "past", isActive: false },
    { code: "audio_missing", words: "present", isActive: true },
  ];
  const all = health([{}], { findings, shedRenditions: ["480p30"] });
  const found = complaints(all, []);
  const words = found.map((one) => one.words);
  assert.deepEqual(words, ["present", "the server is overloaded: 480p30 is left out for now", "past"]);
  const rest = complaints(all, ["present", "past"]).map((one) => one.words);
  assert.deepEqual(rest, ["the server is overloaded: 480p30 is left out for now"]);
});

test("the headline says what is the matter", () => {
  const table: [state: string, health: string, words: string][] = [
    ["LIVE", "STARVING", "Live, too little arrives"],
    ["LIVE", "UNKNOWN", "Live"],
    ["HELD", "STARVING", "Waiting for the encoder"],
    ["STARTING", "UNKNOWN", "Starting"],
    ["OFFLINE", "UNKNOWN", "Offline"],
    ["toString", "toString", "Offline"],
  ];
  for (const [state, of, words] of table) {
    assert.equal(headline(health([], { state, health: of })), words);
  }
});

test("nothing is measured where nothing comes", () => {
  assert.deepEqual(rows(health([])), []);
  assert.deepEqual(rows(health([{}], { state: "OFFLINE" })), []);
});

test("missing and wrong fields become empty ones", () => {
  const odd = parseHealth({ seconds: [null, { bitrate: "x", avDrift: "y" }], findings: [7, {}], shedRenditions: {} });
  assert.equal(odd.state, "OFFLINE");
  assert.deepEqual(odd.seconds, [
    {
      bitrate: 0,
      frameRate: 0,
      keyframeInterval: null,
      avDrift: null,
      lost: 0,
      parts: 0,
      lateParts: 0,
      isStarving: false,
    },
  ]);
  assert.deepEqual(odd.findings, [{ code: "", words: "", isActive: false }]);
  assert.throws(() => parseHealth(null), /no object/);
});

test("the curve ends at the right with the newest second", () => {
  const { seconds } = health([{ bitrate: 0 }, { bitrate: 2e6 }, { bitrate: 1e6 }]);
  assert.equal(curve(seconds, 5, 100, 20), "50.0,20.0 75.0,0.0 100.0,10.0");
  assert.equal(curve([], 5, 100, 20), "");
  assert.equal(curve(health([{ bitrate: 0 }]).seconds, 1, 100, 20), "0.0,20.0");
});

test("a stream key is shown as Bearer, an access key as Basic", () => {
  const table: [key: string, isAccess: boolean, shown: string][] = [
    ["sk_us-east-1_a_b", false, "Bearer sk_us-east-1_a_b"],
    // As in RFC 7617, §2 and §2.1.
    ["Aladdin:open sesame", true, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="],
    ["test:123£", true, "Basic dGVzdDoxMjPCow=="],
    ["AKIDEXAMPLE:a:b", true, "Basic QUtJREVYQU1QTEU6YTpi"],
  ];
  for (const [key, isAccess, shown] of table) {
    assert.equal(isAccessKey(key), isAccess, key);
    assert.equal(authorization(key), shown, key);
  }
});

test("the key is taken out of the fragment", () => {
  const table: [fragment: string, key: string | null, rest: string][] = [
    ["", null, ""],
    ["#", null, ""],
    ["#key=", null, ""],
    ["#other=1", null, ""],
    ["#key=sk_us-east-1_a_b", "sk_us-east-1_a_b", ""],
    ["#t=3&key=%20sk_a%20", "sk_a", "#t=3"],
  ];
  for (const [fragment, key, rest] of table) {
    const found = keyInFragment(fragment);
    assert.equal(found?.key ?? null, key, fragment);
    assert.equal(found?.rest ?? "", rest, fragment);
  }
});
