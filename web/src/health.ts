// How a stream comes, for whoever holds its key or an access key: GET /v1/channels/ID/health.
//
// In:  the server's JSON, the page's fragment. Out: `Health` with every field checked, and the rows
//      and words that are shown. Pure but for `fetchHealth`.
// Not here: the panel (health-panel.ts).

import { count, isObject, text } from "./api.ts";
import { bitrate } from "./format.ts";

export interface Finding {
  code: string;
  words: string;
  isActive: boolean;
}

/** One second of the stream, as it came. */
export interface Second {
  bitrate: number;
  frameRate: number;
  keyframeInterval: number | null;
  avDrift: number | null;
  /** Frames that are missing or were left out. */
  lost: number;
  parts: number;
  lateParts: number;
  isStarving: boolean;
}

export interface Health {
  state: "OFFLINE" | "STARTING" | "LIVE" | "HELD";
  health: "HEALTHY" | "STARVING" | "UNKNOWN";
  viewers: number;
  /** Oldest first. */
  seconds: Second[];
  findings: Finding[];
  shed: string[];
}

/** One measure as it is shown. */
export interface Row {
  label: string;
  value: string;
  isBad: boolean;
}

const REQUEST_TIMEOUT_MS = 8_000;
/** Single seconds of a bitrate jump with every keyframe. */
const AVERAGED_SECONDS = 5;
const MAX_DRIFT_MS = 100;
const STATES: Record<Health["state"], string> = {
  OFFLINE: "Offline",
  STARTING: "Starting",
  LIVE: "Live",
  HELD: "Waiting for the encoder",
};
const HEALTHS: Record<Health["health"], string> = {
  HEALTHY: "healthy",
  STARVING: "too little arrives",
  UNKNOWN: "",
};

/** Whether `key` is an access key, `ID:SECRET`; a stream key has no colon. */
export function isAccessKey(key: string): boolean {
  return key.includes(":");
}

/** What a request shows of a stream key (Bearer) or an access key (Basic). */
export function authorization(key: string): string {
  if (!isAccessKey(key)) {
    return `Bearer ${key}`;
  }
  const bytes = new TextEncoder().encode(key);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

/** null: the key does not open this channel, or an access key found no such channel. */
export async function fetchHealth(channelId: string, key: string): Promise<Health | null> {
  const path = `/v1/channels/${encodeURIComponent(channelId)}/health?events=0`;
  const response = await fetch(path, {
    cache: "no-store",
    // Else a browser asks for a password when the key is wrong.
    credentials: "omit",
    headers: { accept: "application/json", authorization: authorization(key) },
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });
  if (response.status === 401 || response.status === 404) {
    return null;
  }
  if (!response.ok) {
    throw new Error(`GET ${path} answered ${response.status}`);
  }
  return parseHealth(await response.json());
}

export function parseHealth(body: unknown): Health {
  if (!isObject(body)) {
    throw new Error("the health is no object");
  }
  const shed = list(body["shedRenditions"]).map(text);
  return {
    state: oneOf(body["state"], STATES, "OFFLINE"),
    health: oneOf(body["health"], HEALTHS, "UNKNOWN"),
    viewers: count(body["viewerCount"]),
    seconds: list(body["seconds"]).filter(isObject).map(parseSecond),
    findings: list(body["findings"]).filter(isObject).map(parseFinding),
    shed: shed.filter((name) => name !== ""),
  };
}

function parseSecond(value: Record<string, unknown>): Second {
  return {
    bitrate: count(value["bitrate"]),
    frameRate: count(value["frameRate"]),
    keyframeInterval: number(value["keyframeInterval"]),
    avDrift: number(value["avDrift"]),
    lost: count(value["missingFrames"]) + count(value["droppedFrames"]),
    parts: count(value["parts"]),
    lateParts: count(value["lateParts"]),
    isStarving: value["isStarving"] === true,
  };
}

function parseFinding(value: Record<string, unknown>): Finding {
  return {
    code: text(value["code"]),
    words: text(value["words"]),
    isActive: value["isActive"] === true,
  };
}

/** "Live, healthy", "Waiting for the encoder". */
export function headline(health: Health): string {
  const words = health.state === "LIVE" ? HEALTHS[health.health] : "";
  return [STATES[health.state], words].filter((word) => word !== "").join(", ");
}

/** The measures in the order in which they are shown; empty while nothing comes. */
export function rows(health: Health): Row[] {
  const { seconds } = health;
  const newest = seconds.at(-1);
  if (newest === undefined || health.state === "OFFLINE") {
    return [];
  }
  const active = new Set(health.findings.filter((one) => one.isActive).map((one) => one.code));
  const has = (...codes: string[]): boolean => codes.some((code) => active.has(code));
  const lately = seconds.slice(-AVERAGED_SECONDS);
  const lost = sum(seconds, (second) => second.lost);
  const late = sum(seconds, (second) => second.lateParts);
  const starving = seconds.filter((second) => second.isStarving).length;
  const interval = newest.keyframeInterval;
  const drift = seconds.findLast((second) => second.avDrift !== null)?.avDrift ?? null;
  return [
    {
      label: "Bitrate",
      value: bitrate(average(lately, (second) => second.bitrate)),
      isBad: newest.isStarving || has("bitrate_low", "bitrate_high"),
    },
    {
      label: "Frame rate",
      value: `${average(lately, (second) => second.frameRate).toFixed(1)} fps`,
      isBad: has("frame_rate_low", "frame_rate_unsteady"),
    },
    {
      label: "Keyframe interval",
      value: interval === null ? "–" : `${interval.toFixed(1)} s`,
      isBad: has("keyframe_interval_long", "keyframe_interval_irregular"),
    },
    {
      label: "Sound to picture",
      value: drift === null ? "–" : `${drift > 0 ? "+" : ""}${drift} ms`,
      isBad: drift !== null && Math.abs(drift) > MAX_DRIFT_MS,
    },
    { label: "Frames lost", value: `${lost} in ${minute(seconds)}`, isBad: has("pictures_missing", "units_dropped") },
    { label: "Starved", value: `${starving} s of ${minute(seconds)}`, isBad: newest.isStarving },
    { label: "Parts late", value: `${late} in ${minute(seconds)}`, isBad: has("parts_late") },
    { label: "Viewers", value: String(health.viewers), isBad: false },
  ];
}

/** What is not as it should be, the present before the past, without what is said already. */
export function complaints(health: Health, said: readonly string[]): { words: string; isActive: boolean }[] {
  const shed = health.shed.map((name) => ({
    words: `the server is overloaded: ${name} is left out for now`,
    isActive: true,
  }));
  const findings = health.findings.filter((finding) => !said.includes(finding.words));
  const present = findings.filter((finding) => finding.isActive);
  const past = findings.filter((finding) => !finding.isActive);
  return [...present, ...shed, ...past].map(({ words, isActive }) => ({ words, isActive }));
}

/** The points of a polyline of the bitrate in a box of this size, the newest second at the right. */
export function curve(seconds: readonly Second[], most: number, width: number, height: number): string {
  const highest = Math.max(1, ...seconds.map((second) => second.bitrate));
  const first = most - seconds.length;
  const points = seconds.map((second, index) => {
    const x = ((first + index) / Math.max(1, most - 1)) * width;
    const y = height - (second.bitrate / highest) * height;
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  return points.join(" ");
}

/** The key in a fragment as `#key=sk_…`, and the fragment without it. */
export function keyInFragment(fragment: string): { key: string; rest: string } | null {
  const parameters = new URLSearchParams(fragment.replace(/^#/, ""));
  const key = parameters.get("key")?.trim() ?? "";
  if (key === "") {
    return null;
  }
  parameters.delete("key");
  const rest = parameters.toString();
  return { key, rest: rest === "" ? "" : `#${rest}` };
}

function minute(seconds: readonly Second[]): string {
  return `${seconds.length} s`;
}

function sum(seconds: readonly Second[], of: (second: Second) => number): number {
  return seconds.reduce((total, second) => total + of(second), 0);
}

function average(seconds: readonly Second[], of: (second: Second) => number): number {
  return seconds.length === 0 ? 0 : sum(seconds, of) / seconds.length;
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function oneOf<T extends string>(value: unknown, known: Record<T, unknown>, otherwise: T): T {
  return typeof value === "string" && Object.hasOwn(known, value) ? (value as T) : otherwise;
}
