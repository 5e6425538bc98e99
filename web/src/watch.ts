// The watch page: drives `session.ts` with what the server, the player and the picture say.
//
// Machine-readable for tests: `<html data-state>` is the session's phase, `window.weir` has
// the player's parts.

import { fetchLive } from "./api.ts";
import type { LiveChannel } from "./api.ts";
import { Controls } from "./controls.ts";
import { byId, make, setPageState } from "./dom.ts";
import * as format from "./format.ts";
import { HealthPanel } from "./health-panel.ts";
import { Player } from "./player.ts";
import type { Trouble } from "./player.ts";
import { INITIAL, describe, pollDelay, step } from "./session.ts";
import type { Command, Phase, Seen, Session } from "./session.ts";

declare global {
  interface Window {
    weir: {
      readonly hls: Player["hls"];
      readonly video: HTMLVideoElement;
      readonly session: Session;
      readonly troubles: readonly Trouble[];
      latency(): number | null;
    };
  }
}

const TICK_MS = 250;
const MAX_STEP_S = 2;
const BADGES: Record<Phase, string> = {
  loading: "Loading",
  live: "Live",
  reconnecting: "Reconnecting",
  offline: "Offline",
};

class WatchPage {
  private session: Session = { ...INITIAL };
  private channel: LiveChannel | null = null;
  private refusals = 0;
  private pollTimer = 0;
  private pollNumber = 0;
  private lastTime = 0;
  private movedAt = performance.now();

  private readonly channelId: string;
  private readonly player: Player;
  private readonly controls: Controls;
  private readonly veil = byId("veil", HTMLDivElement);
  private readonly badge = byId("badge", HTMLSpanElement);
  private readonly facts = byId("facts", HTMLSpanElement);
  private readonly delay = byId("delay", HTMLSpanElement);
  private readonly name = byId("name", HTMLHeadingElement);
  private readonly avatar = byId("avatar", HTMLDivElement);
  private readonly health: HealthPanel;
  private readonly notices = byId("notices", HTMLUListElement);

  constructor(channelId: string) {
    this.channelId = channelId;
    this.health = new HealthPanel(channelId);
    this.player = new Player(byId("video", HTMLVideoElement), {
      failed: (failure) => this.see({ type: "failed", failure }),
      ended: () => this.see({ type: "ended" }),
      seam: () => this.see({ type: "seam" }),
      renditionsChanged: () => this.controls.showRenditions(),
    });
    this.controls = new Controls(this.player);
    this.expose();
  }

  run(): void {
    this.health.run();
    this.showChannel();
    if (!Player.isSupported(this.player.video)) {
      setPageState("unsupported");
      this.badge.textContent = "";
      this.showVeil("Cannot play", "This browser has no support for HLS.");
      return;
    }
    this.showPhase();
    setInterval(() => this.tick(), TICK_MS);
    void this.poll();
  }

  private see(seen: Seen): void {
    const outcome = step(this.session, seen, performance.now());
    const before = this.session;
    this.session = outcome.session;
    outcome.commands.forEach((command) => this.obey(command));
    if (before !== this.session) {
      this.showPhase();
    }
  }

  private obey(command: Command): void {
    switch (command) {
      case "attach":
        this.movedAt = performance.now();
        this.player.attach(this.channel?.playbackPath ?? "", this.controls.isPausedByViewer);
        return;
      case "detach":
        this.player.detach();
        this.controls.showRenditions();
        return;
      case "recover-media":
        this.player.recoverMedia();
        return;
      case "poll":
        void this.poll();
    }
  }

  /** Asks for the channel's listing now, and again after a while. */
  private async poll(): Promise<void> {
    clearTimeout(this.pollTimer);
    this.pollNumber += 1;
    const number = this.pollNumber;
    const seen = await this.ask();
    if (number !== this.pollNumber) {
      return;
    }
    this.refusals = seen.type === "unreachable" ? this.refusals + 1 : 0;
    this.see(seen);
    if (number === this.pollNumber) {
      const delay = pollDelay(this.session, this.refusals, Math.random());
      this.pollTimer = setTimeout(() => void this.poll(), delay);
    }
  }

  private async ask(): Promise<Seen> {
    try {
      const channels = await fetchLive();
      const channel = channels.find((one) => one.channelId === this.channelId);
      if (channel === undefined) {
        return { type: "unlisted" };
      }
      this.channel = channel;
      this.showChannel();
      return { type: "listed", streamId: channel.streamId, state: channel.state };
    } catch {
      return { type: "unreachable" };
    }
  }

  /** Watches whether the picture moves. */
  private tick(): void {
    const { video } = this.player;
    const now = performance.now();
    const advance = video.currentTime - this.lastTime;
    if (advance !== 0) {
      this.lastTime = video.currentTime;
      this.movedAt = now;
      // A longer step is a seek, not a moving picture.
      const isNews = this.session.phase !== "live" || this.session.listing === "HELD";
      if (advance > 0 && advance < MAX_STEP_S && isNews) {
        this.see({ type: "moving" });
      }
    } else if (video.paused) {
      this.movedAt = now;
    } else {
      this.see({ type: "still", forMs: now - this.movedAt });
    }
    const latency = this.session.phase === "live" ? this.player.latency() : null;
    this.delay.textContent = latency === null ? "" : `${latency.toFixed(1)} s latency`;
    this.controls.refresh(this.session.isAttached, latency);
  }

  private showPhase(): void {
    const { phase } = this.session;
    setPageState(phase);
    this.badge.textContent = BADGES[phase];
    this.badge.className = `badge ${phase}`;
    const words = describe(this.session);
    if (words === null) {
      this.veil.hidden = true;
    } else {
      this.showVeil(words.title, words.hint);
    }
    this.showFacts();
  }

  private showVeil(title: string, hint: string): void {
    this.veil.hidden = false;
    byId("veil-title", HTMLParagraphElement).textContent = title;
    byId("veil-hint", HTMLParagraphElement).textContent = hint;
  }

  private showChannel(): void {
    const name = this.channel?.name ?? this.channelId;
    this.name.textContent = name;
    document.title = `${name} · Weir`;
    this.avatar.textContent = [...name][0]?.toUpperCase() ?? "";
    this.avatar.style.setProperty("--hue", String(format.hue(this.channelId)));
    this.showFacts();
    const notices = this.channel?.notices ?? [];
    this.health.setSaid(notices);
    this.notices.hidden = notices.length === 0;
    this.notices.replaceChildren(...notices.map((notice) => make("li", "notice", notice)));
  }

  private showFacts(): void {
    const { channel } = this;
    if (channel === null || this.session.phase === "offline") {
      this.facts.textContent = "";
      return;
    }
    const size = format.resolution(channel.height, channel.frameRate);
    const since = channel.startTime === null ? "" : format.liveFor(channel.startTime, new Date());
    this.facts.textContent = [size, since].filter((fact) => fact !== "").join(" · ");
  }

  private expose(): void {
    const page = this;
    window.weir = {
      get hls() {
        return page.player.hls;
      },
      get session() {
        return page.session;
      },
      video: this.player.video,
      troubles: this.player.troubles,
      latency: () => this.player.latency(),
    };
  }
}

new WatchPage(decodeURIComponent(location.pathname.split("/")[2] ?? "")).run();
