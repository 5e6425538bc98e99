// What the watch page does next: a pure state machine.
//
// In:  what was seen (the channel's listing, the picture, player failures) and the time.
// Out: the phase shown to the viewer, and commands for the player.
// Not here: hls.js, the DOM, timers, requests; `watch.ts` drives.

export type Phase = "loading" | "live" | "reconnecting" | "offline";

/**
 * missing: a playlist answered 404 or 410. playlist: one that could not be parsed. media: the
 * decoder or its buffer failed. codec: the browser cannot decode any rendition.
 */
export type Failure = "network" | "missing" | "playlist" | "media" | "codec";

/** seam: what plays has passed a discontinuity, where a slate may begin or end. */
export type Seen =
  | { type: "listed"; streamId: string; state: "LIVE" | "HELD" }
  | { type: "unlisted" }
  | { type: "unreachable" }
  | { type: "moving" }
  | { type: "still"; forMs: number }
  | { type: "seam" }
  | { type: "ended" }
  | { type: "failed"; failure: Failure };

/** attach also replaces what was attached before. */
export type Command = "attach" | "detach" | "recover-media" | "poll";

export interface Session {
  phase: Phase;
  /** The player has a source; `isBroken` if it gave that source up. */
  isAttached: boolean;
  isBroken: boolean;
  /** The channel's last listing. */
  listing: "LIVE" | "HELD" | "none" | "unknown";
  streamId: string;
  isReachable: boolean;
  /** A stream that was played to its end: not to be attached again. */
  ended: { streamId: string; at: number } | null;
  lastFailure: Failure | null;
  /** Attachments that failed since the picture last moved. */
  failures: number;
  retryAt: number;
  recoveries: number;
  recoveredAt: number;
}

export const INITIAL: Readonly<Session> = {
  phase: "loading",
  isAttached: false,
  isBroken: false,
  listing: "unknown",
  streamId: "",
  isReachable: true,
  ended: null,
  lastFailure: null,
  failures: 0,
  retryAt: 0,
  recoveries: 0,
  recoveredAt: 0,
};

/** A picture still for this long is an interruption to the viewer. */
const STILL_MS = 1_500;
/** An unlisted channel whose picture stays still has ended, even without an end in its playlist. */
const GONE_MS = 4_000;
/** hls.js had its chance: attach afresh. Longer than the server holds a request (3 x 2 s). */
const HOPELESS_MS = 12_000;
/** The listing may lag behind the end of a stream for this long. */
const ENDED_LAG_MS = 10_000;
/** Decoder failures closer together than this count as one trouble. */
const RECOVERY_MEMORY_MS = 30_000;
const MAX_RECOVERIES = 2;
const MAX_RETRY_MS = 15_000;

export interface Outcome {
  session: Session;
  commands: Command[];
}

/** Takes what was seen into account. */
export function step(session: Session, seen: Seen, now: number): Outcome {
  switch (seen.type) {
    case "listed":
      return listed({ ...session, isReachable: true, listing: seen.state }, seen.streamId, now);
    case "unlisted":
      return unlisted({ ...session, isReachable: true, listing: "none" });
    case "unreachable":
      return unreachable({ ...session, isReachable: false });
    case "moving":
      return moving(session);
    case "still":
      return still(session, seen.forMs, now);
    case "seam":
      return { session, commands: ["poll"] };
    case "ended":
      return offline({ ...session, ended: { streamId: session.streamId, at: now } }, ["poll"]);
    case "failed":
      return failed({ ...session, lastFailure: seen.failure }, seen.failure, now);
  }
}

function listed(session: Session, streamId: string, now: number): Outcome {
  const { ended } = session;
  if (ended?.streamId === streamId && now < ended.at + ENDED_LAG_MS) {
    return { session, commands: [] };
  }
  const next = { ...session, streamId };
  if (next.isAttached && !next.isBroken) {
    return { session: next, commands: [] };
  }
  if (next.listing === "HELD") {
    return { session: { ...next, phase: "reconnecting" }, commands: [] };
  }
  return now < next.retryAt ? { session: next, commands: [] } : attach(next);
}

function unlisted(session: Session): Outcome {
  // A stream that ends is unlisted before its last seconds have been played.
  if (session.isAttached && !session.isBroken) {
    return { session, commands: [] };
  }
  return offline(session, []);
}

function unreachable(session: Session): Outcome {
  if (session.isAttached && !session.isBroken) {
    return { session, commands: [] };
  }
  return { session: { ...session, phase: "reconnecting" }, commands: [] };
}

function moving(session: Session): Outcome {
  if (!session.isAttached || session.isBroken) {
    return { session, commands: [] };
  }
  // What moves while the channel is held is a slate.
  const phase = session.listing === "HELD" ? "reconnecting" : "live";
  return { session: { ...session, phase, failures: 0, lastFailure: null }, commands: [] };
}

function still(session: Session, forMs: number, now: number): Outcome {
  if (!session.isAttached || session.isBroken || forMs < STILL_MS) {
    return { session, commands: [] };
  }
  if (session.listing === "none" && forMs >= GONE_MS) {
    return offline(session, []);
  }
  if (session.listing !== "HELD" && forMs >= HOPELESS_MS) {
    return broken(session, now);
  }
  if (session.phase === "live") {
    return { session: { ...session, phase: "reconnecting" }, commands: ["poll"] };
  }
  return { session, commands: [] };
}

function failed(session: Session, failure: Failure, now: number): Outcome {
  if (failure !== "media") {
    return broken(session, now);
  }
  const isFirst = now > session.recoveredAt + RECOVERY_MEMORY_MS;
  const recoveries = isFirst ? 1 : session.recoveries + 1;
  const next = { ...session, recoveries, recoveredAt: now };
  return recoveries > MAX_RECOVERIES
    ? broken(next, now)
    : { session: next, commands: ["recover-media"] };
}

/** The source is given up; the next listing decides whether there is a new one. */
function broken(session: Session, now: number): Outcome {
  const retryAt = now + retryDelay(session.failures);
  const failures = session.failures + 1;
  const phase = session.phase === "offline" ? "offline" : "reconnecting";
  return {
    session: { ...session, phase, isBroken: true, failures, retryAt },
    commands: ["poll"],
  };
}

function attach(session: Session): Outcome {
  const phase = session.phase === "reconnecting" ? "reconnecting" : "loading";
  return {
    session: { ...session, phase, isAttached: true, isBroken: false, ended: null },
    commands: ["attach"],
  };
}

function offline(session: Session, also: Command[]): Outcome {
  const commands: Command[] = session.isAttached ? ["detach", ...also] : also;
  const { listing, streamId, isReachable, ended } = session;
  return {
    session: { ...INITIAL, phase: "offline", listing, streamId, isReachable, ended },
    commands,
  };
}

/** 0.5, 1, 2, 4 ... seconds. */
function retryDelay(failures: number): number {
  return Math.min(500 * 2 ** Math.min(failures, 10), MAX_RETRY_MS);
}

/**
 * How long until the listing is asked for again. `chance` in 0..1 spreads viewers who lost
 * the same stream in the same moment; `refusals` counts requests in a row without an answer.
 */
export function pollDelay(session: Session, refusals: number, chance: number): number {
  const calm = session.phase === "live" ? 10_000 : session.phase === "offline" ? 4_000 : 1_500;
  const delay = Math.max(calm, refusals === 0 ? 0 : Math.min(1_000 * 2 ** refusals, 30_000));
  return delay * (0.8 + 0.4 * chance);
}

/** Says in words what the viewer sees instead of a moving picture; nothing when it moves. */
export function describe(session: Session): { title: string; hint: string } | null {
  switch (session.phase) {
    case "live":
      return null;
    case "loading":
      return { title: "Loading", hint: "" };
    case "offline":
      return {
        title: session.ended === null ? "Offline" : "The stream has ended",
        hint: "This page starts playing by itself when the next stream begins.",
      };
    case "reconnecting":
      return interruption(session);
  }
}

function interruption(session: Session): { title: string; hint: string } {
  if (!session.isReachable) {
    return { title: "Server out of reach", hint: "Trying again until it answers." };
  }
  if (session.listing === "HELD") {
    return {
      title: "Stream interrupted",
      hint: "The streamer's connection was lost. Playback continues when it returns.",
    };
  }
  if (session.lastFailure === "codec") {
    return { title: "Cannot play", hint: "This browser has no decoder for the stream." };
  }
  return { title: "Reconnecting", hint: "" };
}
