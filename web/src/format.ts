// Values as the viewer reads them. Pure.

/** "1080p60", "480p25", "" when the size is not known yet. */
export function resolution(height: number, frameRate: number): string {
  if (height === 0) {
    return "";
  }
  return frameRate === 0 ? `${height}p` : `${height}p${Math.round(frameRate)}`;
}

/** "just now", "12 min", "3 h 05 min", "2 d 4 h". */
export function elapsed(start: Date, now: Date): string {
  const minutes = Math.floor((now.getTime() - start.getTime()) / 60_000);
  if (minutes < 1) {
    return "just now";
  }
  if (minutes < 60) {
    return `${minutes} min`;
  }
  const hours = Math.floor(minutes / 60);
  if (hours < 24) {
    return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
  }
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** "live for 12 min", "just went live". */
export function liveFor(start: Date, now: Date): string {
  const text = elapsed(start, now);
  return text === "just now" ? "just went live" : `live for ${text}`;
}

export interface Rung {
  height: number;
  frameRate: number;
  bitrate: number;
}

/** "720p30 · 3.2 Mb/s", "Audio only · 160 kb/s". */
export function rung(level: Rung): string {
  const name = resolution(level.height, level.frameRate) || "Audio only";
  return `${name} · ${bitrate(level.bitrate)}`;
}

/** "3.2 Mb/s", "160 kb/s". */
export function bitrate(bps: number): string {
  return bps >= 1_000_000 ? `${(bps / 1_000_000).toFixed(1)} Mb/s` : `${Math.round(bps / 1000)} kb/s`;
}

/** PROGRAM-DATE-TIME may run this much ahead of the playlist's end: what the way to us takes. */
const MAX_BEYOND_EDGE_S = 3;
const CLOCK_SLACK_S = 0.25;

/**
 * Seconds between the encoder and the picture shown. The wall clock of the picture
 * (`playingDate`) tells it best; where this machine's clock disagrees with the server's, the
 * distance to the end of the playlist (`toEdge`) stands in.
 */
export function latency(toEdge: number, playingDate: Date | null, now: Date): number {
  if (playingDate !== null) {
    const byClock = (now.getTime() - playingDate.getTime()) / 1000;
    if (byClock >= toEdge - CLOCK_SLACK_S && byClock <= toEdge + MAX_BEYOND_EDGE_S) {
      return Math.max(byClock, 0);
    }
  }
  return Math.max(toEdge, 0);
}

/** Worth a "go to live" button: this far beyond where playback aims to be. */
export function isBehind(toEdge: number, target: number): boolean {
  return toEdge > target + 3;
}

/** A colour of its own for each channel: a hue from teal over blue to magenta. */
export function hue(id: string): number {
  let sum = 0;
  for (const char of id) {
    sum = (sum * 31 + (char.codePointAt(0) ?? 0)) % 1_000_003;
  }
  // Steps of the golden ratio keep similar ids apart.
  return 175 + Math.floor(((sum * 0.618034) % 1) * 155);
}
