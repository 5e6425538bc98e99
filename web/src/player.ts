// One <video> and what feeds it: hls.js, or the browser's own HLS where MSE and
// ManagedMediaSource are both missing.
//
// In:  attach, detach, recover; the viewer's choice of quality.
// Out: failures and the end through `Handlers`; latency and renditions on request.
// Not here: what to do about a failure (session.ts), buttons (controls.ts).

import Hls from "hls.js/light";
import type { ErrorData, HlsConfig, LoadPolicy } from "hls.js/light";
import { classify } from "./failure.ts";
import * as format from "./format.ts";
import type { Failure } from "./session.ts";

export interface Handlers {
  failed(failure: Failure): void;
  ended(): void;
  /** What plays has passed a discontinuity. */
  seam(): void;
  /** The renditions, or the one that plays, have changed. */
  renditionsChanged(): void;
}

/** One thing that went wrong, for the tests that watch this page. */
export interface Trouble {
  type: string;
  details: string;
  fatal: boolean;
  reason: string;
}

/**
 * A channel whose publisher is gone for a while answers 503 to requests for its next part:
 * keep asking for longer than the server waits for the publisher (30 s).
 */
const PLAYLIST_POLICY: LoadPolicy = {
  default: {
    maxTimeToFirstByteMs: 10_000,
    maxLoadTimeMs: 20_000,
    timeoutRetry: { maxNumRetry: 4, retryDelayMs: 0, maxRetryDelayMs: 0 },
    errorRetry: { maxNumRetry: 60, retryDelayMs: 500, maxRetryDelayMs: 1_500, backoff: "linear" },
  },
};

const CONFIG: Partial<HlsConfig> = {
  lowLatencyMode: true,
  // liveSyncDuration stays unset: the playlist's PART-HOLD-BACK says where to play.
  maxLiveSyncPlaybackRate: 1.2,
  backBufferLength: 30,
  // fMP4 passes through untouched: nothing to move off the main thread.
  enableWorker: false,
  // Nobody looks at timed metadata here, and its track would be loaded from a data: URL.
  enableEmsgMetadataCues: false,
  enableID3MetadataCues: false,
  playlistLoadPolicy: PLAYLIST_POLICY,
};

const MAX_TROUBLES = 100;

export class Player {
  hls: Hls | null = null;
  readonly troubles: Trouble[] = [];
  readonly video: HTMLVideoElement;
  private readonly handlers: Handlers;
  private isAttached = false;

  constructor(video: HTMLVideoElement, handlers: Handlers) {
    this.video = video;
    this.handlers = handlers;
    video.addEventListener("ended", () => this.isAttached && handlers.ended());
    video.addEventListener("error", () => this.nativeError());
  }

  /** False where neither hls.js nor the browser itself can play HLS. */
  static isSupported(video: HTMLVideoElement): boolean {
    return Hls.isSupported() || video.canPlayType("application/vnd.apple.mpegurl") !== "";
  }

  /** Starts with a new source at its live edge; it plays unless the viewer had paused. */
  attach(url: string, isPaused: boolean): void {
    this.detach();
    this.isAttached = true;
    if (Hls.isSupported()) {
      this.attachHls(url);
    } else {
      this.video.src = url;
    }
    if (!isPaused) {
      this.play();
    }
  }

  detach(): void {
    this.isAttached = false;
    this.hls?.destroy();
    this.hls = null;
    this.video.removeAttribute("src");
    this.video.load();
  }

  recoverMedia(): void {
    this.hls?.recoverMediaError();
    this.play();
  }

  /** A browser that forbids autoplay leaves the video paused: the page shows a play button. */
  play(): void {
    this.video.play().catch(() => undefined);
  }

  goLive(): void {
    const edge = this.hls === null ? this.nativeEdge() : this.hls.liveSyncPosition;
    if (edge !== null && edge > this.video.currentTime) {
      this.video.currentTime = edge;
    }
    this.play();
  }

  /** Seconds from encoder to picture, or null while nothing plays. */
  latency(): number | null {
    const toEdge = this.toEdge();
    const date = this.hls?.playingDate ?? null;
    return toEdge === null ? null : format.latency(toEdge, date, new Date());
  }

  isBehind(): boolean {
    const toEdge = this.toEdge();
    const target = this.hls === null ? 6 : this.hls.targetLatency;
    return toEdge !== null && target !== null && format.isBehind(toEdge, target);
  }

  /** -1 is automatic. */
  selectRendition(index: number): void {
    if (this.hls !== null) {
      this.hls.currentLevel = index;
    }
  }

  private attachHls(url: string): void {
    const hls = new Hls(CONFIG);
    this.hls = hls;
    hls.on(Hls.Events.ERROR, (_event, data) => this.hlsError(hls, data));
    hls.on(Hls.Events.MANIFEST_PARSED, () => this.handlers.renditionsChanged());
    hls.on(Hls.Events.LEVELS_UPDATED, () => this.handlers.renditionsChanged());
    hls.on(Hls.Events.LEVEL_SWITCHED, () => this.handlers.renditionsChanged());
    let timeline: number | null = null;
    hls.on(Hls.Events.FRAG_CHANGED, (_event, { frag }) => {
      if (timeline !== null && timeline !== frag.cc) {
        this.handlers.seam();
      }
      timeline = frag.cc;
    });
    hls.loadSource(url);
    hls.attachMedia(this.video);
  }

  private hlsError(hls: Hls, data: ErrorData): void {
    const { type, details, fatal } = data;
    if (this.troubles.length < MAX_TROUBLES) {
      this.troubles.push({ type, details, fatal, reason: data.reason ?? data.error.message });
    }
    const failure = classify(data);
    // hls.js keeps asking for a media playlist that is gone: its epoch is over.
    const isOver = fatal || (details === Hls.ErrorDetails.LEVEL_LOAD_ERROR && failure === "missing");
    if (isOver && hls === this.hls) {
      hls.stopLoad();
      this.handlers.failed(failure);
    }
  }

  private nativeError(): void {
    if (this.isAttached && this.hls === null) {
      const isNetwork = this.video.error?.code === MediaError.MEDIA_ERR_NETWORK;
      this.handlers.failed(isNetwork ? "network" : "missing");
    }
  }

  private nativeEdge(): number | null {
    const { seekable } = this.video;
    return seekable.length === 0 ? null : seekable.end(seekable.length - 1);
  }

  private toEdge(): number | null {
    if (this.hls !== null) {
      return this.hls.latestLevelDetails === null ? null : this.hls.latency;
    }
    const edge = this.isAttached ? this.nativeEdge() : null;
    return edge === null ? null : edge - this.video.currentTime;
  }
}
