// A small stand-in for the server, for the tests of the pages and scripts in this folder: the
// built site, GET /v1/live, and one LL-HLS channel whose parts come from a prepared clip.
//
// `new FakeOrigin(clip, site)`, then `start`, `hold`, `resume`, `end`, `breakPlaylists`.

import { execFile } from "node:child_process";
import { createServer } from "node:http";
import { mkdir, readFile, readdir } from "node:fs/promises";
import { EventEmitter, once } from "node:events";
import { extname, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export const CHANNEL = "AbCdEf123456";
export const FPS = 30;
const PLAYBACK = `/api/video/v1/us-east-1.000000000000.channel.${CHANNEL}.m3u8`;
const PART_MS = 1000 / 3;
const PARTS = 6;
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};
/** The policy under which the server serves the pages: they must work with it. */
const POLICY =
  "default-src 'self'; connect-src *; img-src 'self' data:; media-src 'self' blob:; " +
  "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'self'";

/** Encodes a clip of `seconds` as fMP4 files of a third of a second each, unless it is there. */
export async function makeClip(folder, seconds) {
  await mkdir(folder, { recursive: true });
  if (!(await readdir(folder)).includes("index.m3u8")) {
    const size = "testsrc2=size=640x360:rate=30";
    await run("ffmpeg", [
      ...["-loglevel", "error", "-f", "lavfi", "-i", size, "-f", "lavfi", "-i", "sine=440"],
      ...["-t", String(seconds), "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"],
      ...["-g", "10", "-sc_threshold", "0", "-bf", "2", "-c:a", "aac", "-ar", "48000", "-ac", "2"],
      ...["-f", "hls", "-hls_time", "0.33", "-hls_list_size", "0", "-hls_segment_type", "fmp4"],
      ...["-hls_segment_filename", "%d.m4s", "index.m3u8"],
    ], { cwd: folder });
  }
  const names = (await readdir(folder)).filter((name) => name.endsWith(".m4s"));
  const parts = names.map((_, index) => readFile(join(folder, `${index}.m4s`)));
  return { init: await readFile(join(folder, "init.mp4")), parts: await Promise.all(parts) };
}

export class FakeOrigin {
  port = 0;
  state = "OFF";
  notices = [];
  /** More entries of GET /v1/live, as they are. */
  others = [];
  #clip;
  #site;
  #server = null;
  #changes = new EventEmitter().setMaxListeners(0);
  #segments = [];
  #next = 0;
  #timer = null;
  #epoch = 0;
  #stream = 0;
  #isEnded = false;
  #isBroken = false;
  #startTime = new Date();

  constructor(clip, site) {
    this.#clip = clip;
    this.#site = site;
  }

  async listen() {
    this.#server = createServer((request, response) => void this.#answer(request, response));
    this.#server.listen(this.port, "127.0.0.1");
    await once(this.#server, "listening");
    this.port = this.#server.address().port;
  }

  /** The process dies: connections break, nobody listens. */
  async close() {
    clearInterval(this.#timer);
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  get url() {
    return `http://127.0.0.1:${this.port}`;
  }

  get playbackUrl() {
    return this.url + PLAYBACK;
  }

  /** A new stream in a new epoch; it ends by itself with the clip. */
  start() {
    this.#epoch += 1;
    this.#segments = [];
    this.#isEnded = false;
    this.#isBroken = false;
    this.#startTime = new Date();
    this.resume();
  }

  /** The publisher is lost; the playlists wait. */
  hold() {
    clearInterval(this.#timer);
    this.state = "HELD";
  }

  /** The publisher returns: the clip again, after a discontinuity. */
  resume() {
    clearInterval(this.#timer);
    this.state = "LIVE";
    this.#stream += 1;
    this.#next = 0;
    this.#push();
    this.#timer = setInterval(() => this.#push(), PART_MS);
  }

  end() {
    clearInterval(this.#timer);
    this.state = "OFF";
    this.#isEnded = true;
    this.#changes.emit("change");
  }

  /** Media playlists become unreadable until the next start. */
  breakPlaylists() {
    this.#isBroken = true;
    this.#changes.emit("change");
  }

  #push() {
    if (this.#next === this.#clip.parts.length) {
      this.end();
      return;
    }
    const open = this.#segments.at(-1);
    if (open === undefined || open.length === PARTS || this.#next === 0) {
      this.#segments.push(Object.assign([], {
        isDiscontinuity: this.#next === 0 && open !== undefined,
        date: new Date(Date.now() - PART_MS).toISOString(),
      }));
    }
    this.#segments.at(-1).push(this.#clip.parts[this.#next]);
    this.#next += 1;
    this.#changes.emit("change");
  }

  async #answer(request, response) {
    const { pathname, searchParams } = new URL(request.url, "http://weir.invalid/");
    const media = /^\/api\/video\/v1\/s\/v\/(\d+)\/(.+)$/.exec(pathname);
    response.setHeader("access-control-allow-origin", "*");
    response.setHeader("cache-control", "no-store");
    if (pathname === "/v1/live") {
      send(response, "application/json", JSON.stringify({ channels: this.#listing() }));
    } else if (pathname === PLAYBACK && this.state !== "OFF") {
      send(response, "application/vnd.apple.mpegurl", this.#multivariant());
    } else if (media?.[2] === "live.m3u8" && Number(media[1]) === this.#epoch) {
      await this.#playlist(searchParams, response);
    } else if (media !== null) {
      this.#media(media[2], response);
    } else {
      await this.#page(pathname, response);
    }
  }

  #listing() {
    const channel = {
      channelId: CHANNEL,
      name: "Mountain radio",
      streamId: `st-${this.#stream}`,
      playbackUrl: `http://public.invalid${PLAYBACK}`,
      startTime: this.#startTime.toISOString(),
      width: 640,
      height: 360,
      frameRate: FPS,
      state: this.state,
      notices: this.notices,
    };
    return this.state === "OFF" ? this.others : [channel, ...this.others];
  }

  #multivariant() {
    return `#EXTM3U
#EXT-X-VERSION:6
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-STREAM-INF:BANDWIDTH=2200000,CODECS="avc1.64001e,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=30.000
s/v/${this.#epoch}/live.m3u8
`;
  }

  async #playlist(query, response) {
    // A list is answered when it has a segment and a part.
    const msn = Number(query.get("_HLS_msn") ?? 2);
    const part = Number(query.get("_HLS_part") ?? (query.has("_HLS_msn") ? PARTS - 1 : 0));
    if (!(await this.#wait(() => this.#isEnded || this.#isBroken || this.#has(msn, part)))) {
      response.writeHead(503).end();
      return;
    }
    send(response, "application/vnd.apple.mpegurl", this.#isBroken ? "#EXTM3U\n" : this.#window());
  }

  #has(msn, part) {
    const last = this.#segments.length;
    return last > msn || (last === msn && this.#segments[msn - 1].length > part);
  }

  async #wait(isReady) {
    const limit = AbortSignal.timeout(6000);
    while (!isReady()) {
      try {
        await once(this.#changes, "change", { signal: limit });
      } catch {
        return false;
      }
    }
    return true;
  }

  /** Sequence numbers start at 1; the window lists everything. */
  #window() {
    const lines = [
      "#EXTM3U",
      "#EXT-X-VERSION:6",
      "#EXT-X-TARGETDURATION:2",
      "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.002,HOLD-BACK=6.0",
      "#EXT-X-PART-INF:PART-TARGET=0.334",
      "#EXT-X-MEDIA-SEQUENCE:1",
      "#EXT-X-DISCONTINUITY-SEQUENCE:0",
      '#EXT-X-MAP:URI="init.mp4"',
    ];
    this.#segments.forEach((segment, index) => {
      const msn = index + 1;
      const isOpen = msn === this.#segments.length && segment.length < PARTS && !this.#isEnded;
      lines.push(...(segment.isDiscontinuity ? ["#EXT-X-DISCONTINUITY"] : []));
      lines.push(`#EXT-X-PROGRAM-DATE-TIME:${segment.date}`);
      segment.forEach((_, part) => {
        lines.push(`#EXT-X-PART:DURATION=0.33333,URI="${msn}.${part}.m4s",INDEPENDENT=YES`);
      });
      lines.push(...(isOpen ? [] : [`#EXTINF:${(segment.length / 3).toFixed(5)},`, `${msn}.m4s`]));
    });
    const last = this.#segments.length;
    const isFull = this.#segments.at(-1).length === PARTS;
    const hint = isFull ? `${last + 1}.0` : `${last}.${this.#segments.at(-1).length}`;
    lines.push(this.#isEnded ? "#EXT-X-ENDLIST" : `#EXT-X-PRELOAD-HINT:TYPE=PART,URI="${hint}.m4s"`);
    return `${lines.join("\n")}\n`;
  }

  #media(name, response) {
    const [msn, part] = name.split(".").map(Number);
    const segment = this.#segments[msn - 1];
    const bytes =
      name === "init.mp4" ? this.#clip.init
      : Number.isNaN(part) ? segment && Buffer.concat(segment)
      : segment?.[part];
    if (bytes === undefined) {
      response.writeHead(404).end();
    } else {
      send(response, "video/mp4", bytes);
    }
  }

  async #page(pathname, response) {
    const file =
      pathname === "/" ? "index.html" : pathname.startsWith("/watch/") ? "watch.html" : pathname;
    try {
      const bytes = await readFile(join(this.#site, file));
      response.setHeader("content-security-policy", POLICY);
      send(response, TYPES[extname(file)] ?? "application/octet-stream", bytes);
    } catch {
      response.writeHead(404).end("not found");
    }
  }
}

function send(response, type, body) {
  response.writeHead(200, { "content-type": type }).end(body);
}
