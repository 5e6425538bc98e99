import assert from "node:assert/strict";
import { test } from "node:test";
import { INITIAL, describe, pollDelay, step } from "../src/session.ts";
import type { Command, Phase, Seen, Session } from "../src/session.ts";

const LIVE: Seen = { type: "listed", streamId: "st-1", state: "LIVE" };
const HELD: Seen = { type: "listed", streamId: "st-1", state: "HELD" };
const NEXT: Seen = { type: "listed", streamId: "st-2", state: "LIVE" };
const UNLISTED: Seen = { type: "unlisted" };
const UNREACHABLE: Seen = { type: "unreachable" };
const MOVING: Seen = { type: "moving" };
const SEAM: Seen = { type: "seam" };
const ENDED: Seen = { type: "ended" };
const still = (forMs: number): Seen => ({ type: "still", forMs });
const failed = (failure: "network" | "missing" | "playlist" | "media" | "codec"): Seen => ({
  type: "failed",
  failure,
});

/** At this second, this is seen; then the phase and the commands are these. */
type Row = [at: number, seen: Seen, phase: Phase, ...commands: Command[]];

function run(rows: Row[]): Session {
  let session: Session = { ...INITIAL };
  rows.forEach(([at, seen, phase, ...expected], index) => {
    const { session: next, commands } = step(session, seen, at * 1000);
    const row = `row ${index}: ${JSON.stringify(seen)}`;
    assert.deepEqual(commands, expected, row);
    assert.equal(next.phase, phase, row);
    session = next;
  });
  return session;
}

const WATCHING: Row[] = [
  [0, LIVE, "loading", "attach"],
  [1, MOVING, "live"],
];

const SCENARIOS: Record<string, Row[]> = {
  "a viewer comes before the streamer": [
    [0, UNLISTED, "offline"],
    [4, UNLISTED, "offline"],
    [8, LIVE, "loading", "attach"],
    [9, MOVING, "live"],
  ],
  "an end is played out, and the lagging listing does not bring the stream back": [
    ...WATCHING,
    [10, UNLISTED, "live"],
    [11, MOVING, "live"],
    [12, ENDED, "offline", "detach", "poll"],
    [12.1, LIVE, "offline"],
    [16, UNLISTED, "offline"],
    [20, NEXT, "loading", "attach"],
  ],
  "a new stream right after an end is attached at once": [
    ...WATCHING,
    [12, ENDED, "offline", "detach", "poll"],
    [12.1, NEXT, "loading", "attach"],
  ],
  "a stream that is still listed long after its end is attached again": [
    ...WATCHING,
    [12, ENDED, "offline", "detach", "poll"],
    [23, LIVE, "loading", "attach"],
  ],
  "a held channel is waited for, and its return needs no new attachment": [
    ...WATCHING,
    [10, still(1400), "live"],
    [10.2, still(1600), "reconnecting", "poll"],
    [10.3, HELD, "reconnecting"],
    [30, still(21_000), "reconnecting"],
    [31, NEXT, "reconnecting"],
    [31.5, MOVING, "live"],
  ],
  "a slate plays while the channel is held": [
    ...WATCHING,
    [10, SEAM, "live", "poll"],
    [10.1, HELD, "live"],
    [10.3, MOVING, "reconnecting"],
    [14, SEAM, "reconnecting", "poll"],
    [14.1, NEXT, "reconnecting"],
    [14.3, MOVING, "live"],
  ],
  "a held channel whose player gave up is attached on its return": [
    ...WATCHING,
    [10, HELD, "live"],
    [11, failed("network"), "reconnecting", "poll"],
    [12, HELD, "reconnecting"],
    [13, MOVING, "reconnecting"],
    [14, LIVE, "reconnecting", "attach"],
    [15, MOVING, "live"],
  ],
  "a viewer who comes while the channel is held waits": [
    [0, HELD, "reconnecting"],
    [3, LIVE, "reconnecting", "attach"],
  ],
  "a playlist that is gone, a channel that is gone": [
    ...WATCHING,
    [10, failed("missing"), "reconnecting", "poll"],
    [10.1, UNLISTED, "offline", "detach"],
    [14, NEXT, "loading", "attach"],
  ],
  "attachments that keep failing are spaced": [
    [0, LIVE, "loading", "attach"],
    [0.1, failed("missing"), "reconnecting", "poll"],
    [0.2, LIVE, "reconnecting"],
    [0.7, LIVE, "reconnecting", "attach"],
    [0.8, failed("missing"), "reconnecting", "poll"],
    [1.7, LIVE, "reconnecting"],
    [1.9, LIVE, "reconnecting", "attach"],
    [2, failed("playlist"), "reconnecting", "poll"],
    [3.9, LIVE, "reconnecting"],
    [4.1, LIVE, "reconnecting", "attach"],
    [5, MOVING, "live"],
    [6, failed("playlist"), "reconnecting", "poll"],
    [6.6, LIVE, "reconnecting", "attach"],
  ],
  "the decoder is recovered twice, then the source is loaded afresh": [
    ...WATCHING,
    [10, failed("media"), "live", "recover-media"],
    [11, failed("media"), "live", "recover-media"],
    [12, failed("media"), "reconnecting", "poll"],
    [13, LIVE, "reconnecting", "attach"],
  ],
  "decoder trouble long ago is forgotten": [
    ...WATCHING,
    [10, failed("media"), "live", "recover-media"],
    [20, failed("media"), "live", "recover-media"],
    [60, failed("media"), "live", "recover-media"],
  ],
  "the server restarts": [
    ...WATCHING,
    [10, UNREACHABLE, "live"],
    [11, failed("network"), "reconnecting", "poll"],
    [11.1, UNREACHABLE, "reconnecting"],
    [15, UNLISTED, "offline", "detach"],
    [19, NEXT, "loading", "attach"],
  ],
  "a first visit while the server is down": [
    [0, UNREACHABLE, "reconnecting"],
    [2, LIVE, "reconnecting", "attach"],
  ],
  "a picture that hangs though the channel is live": [
    ...WATCHING,
    [10, still(1600), "reconnecting", "poll"],
    [10.1, LIVE, "reconnecting"],
    [20, still(11_900), "reconnecting"],
    [20.2, still(12_100), "reconnecting", "poll"],
    [20.8, LIVE, "reconnecting", "attach"],
  ],
  "an unlisted channel that never says its end": [
    ...WATCHING,
    [10, UNLISTED, "live"],
    [12, still(1600), "reconnecting", "poll"],
    [12.1, UNLISTED, "reconnecting"],
    [14.5, still(4100), "offline", "detach"],
  ],
  "what comes late from a detached player changes nothing": [
    [0, UNLISTED, "offline"],
    [1, MOVING, "offline"],
    [1, still(60_000), "offline"],
  ],
};

for (const [name, rows] of Object.entries(SCENARIOS)) {
  test(name, () => void run(rows));
}

test("polls are calm while live, quick in trouble, and back off when unanswered", () => {
  const at = (phase: Phase, refusals: number): number =>
    pollDelay({ ...INITIAL, phase }, refusals, 0.5);
  assert.equal(at("live", 0), 10_000);
  assert.equal(at("offline", 0), 4_000);
  assert.equal(at("reconnecting", 0), 1_500);
  assert.equal(at("reconnecting", 3), 8_000);
  assert.equal(at("offline", 40), 30_000);
  assert.ok(pollDelay(INITIAL, 0, 0) < pollDelay(INITIAL, 0, 1));
});

test("every phase but live has words", () => {
  assert.equal(describe(run(WATCHING)), null);
  assert.equal(describe({ ...INITIAL })?.title, "Loading");
  assert.equal(describe(run([[0, UNLISTED, "offline"]]))?.title, "Offline");
  assert.equal(describe(run([[0, HELD, "reconnecting"]]))?.title, "Stream interrupted");
  assert.equal(describe(run([[0, UNREACHABLE, "reconnecting"]]))?.title, "Server out of reach");
  const ended: Row[] = [...WATCHING, [9, ENDED, "offline", "detach", "poll"]];
  assert.equal(describe(run(ended))?.title, "The stream has ended");
  const undecodable: Row[] = [
    [0, LIVE, "loading", "attach"],
    [1, failed("codec"), "reconnecting", "poll"],
  ];
  assert.equal(describe(run(undecodable))?.title, "Cannot play");
});
