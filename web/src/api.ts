// The public list of live channels, GET /v1/live.
//
// In:  the server's JSON. Out: `LiveChannel`s with every field checked.
// Not here: when to ask (front.ts, watch.ts).

export interface LiveChannel {
  channelId: string;
  name: string;
  streamId: string;
  /** Path and query of the multivariant playlist on the page's own origin. */
  playbackPath: string;
  startTime: Date | null;
  width: number;
  height: number;
  frameRate: number;
  /** HELD: the publisher's connection was lost and the channel waits for its return. */
  state: "LIVE" | "HELD";
  /** What the server has to say about the stream, in words. */
  notices: string[];
}

const REQUEST_TIMEOUT_MS = 8_000;

/** Asks who is live; rejects when the server cannot be reached or answers nonsense. */
export async function fetchLive(): Promise<LiveChannel[]> {
  const response = await fetch("/v1/live", {
    cache: "no-store",
    headers: { accept: "application/json" },
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });
  if (!response.ok) {
    throw new Error(`GET /v1/live answered ${response.status}`);
  }
  return parseLive(await response.json());
}

/** Reads the body of GET /v1/live; channels that cannot be played are left out. */
export function parseLive(body: unknown): LiveChannel[] {
  const list = isObject(body) ? body["channels"] : undefined;
  if (!Array.isArray(list)) {
    throw new Error("GET /v1/live answered without a list of channels");
  }
  return list.map(parseChannel).filter((channel) => channel !== null);
}

function parseChannel(value: unknown): LiveChannel | null {
  if (!isObject(value)) {
    return null;
  }
  const channelId = text(value["channelId"]);
  const playbackPath = ownPath(text(value["playbackUrl"]));
  if (channelId === "" || playbackPath === null) {
    return null;
  }
  const startTime = new Date(text(value["startTime"]));
  const notices = value["notices"];
  return {
    channelId,
    name: text(value["name"]) || channelId,
    streamId: text(value["streamId"]),
    playbackPath,
    startTime: Number.isNaN(startTime.getTime()) ? null : startTime,
    width: count(value["width"]),
    height: count(value["height"]),
    frameRate: count(value["frameRate"]),
    state: value["state"] === "HELD" ? "HELD" : "LIVE",
    notices: Array.isArray(notices) ? notices.map(text).filter((notice) => notice !== "") : [],
  };
}

/**
 * The server knows itself by its public URL, which need not be the host name this page was
 * opened with: only the path counts.
 */
function ownPath(url: string): string | null {
  try {
    const { pathname, search } = new URL(url, "http://weir.invalid/");
    return pathname.endsWith(".m3u8") ? pathname + search : null;
  } catch {
    return null;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

export function count(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) && value > 0 ? value : 0;
}
