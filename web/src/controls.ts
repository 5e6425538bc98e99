// The player's buttons, menu and keys.
//
// In:  the viewer's clicks and keys. Out: calls on the video and the `Player`.
// Not here: whether the channel is live (watch.ts).

import { byId, make } from "./dom.ts";
import * as format from "./format.ts";
import type { Player } from "./player.ts";

const IDLE_MS = 3_000;

export class Controls {
  /** The viewer stopped the picture; a still picture is then no interruption. */
  isPausedByViewer = false;

  private readonly player: Player;
  private readonly video: HTMLVideoElement;
  private readonly frame = byId("player", HTMLDivElement);
  private readonly play = byId("play", HTMLButtonElement);
  private readonly bigPlay = byId("big-play", HTMLButtonElement);
  private readonly mute = byId("mute", HTMLButtonElement);
  private readonly unmute = byId("unmute", HTMLButtonElement);
  private readonly volume = byId("volume", HTMLInputElement);
  private readonly toLive = byId("to-live", HTMLButtonElement);
  private readonly toLiveText = byId("to-live-text", HTMLSpanElement);
  private readonly latency = byId("latency", HTMLSpanElement);
  private readonly quality = byId("quality", HTMLSelectElement);
  private idleTimer = 0;

  constructor(player: Player) {
    this.player = player;
    this.video = player.video;
    this.listenToButtons();
    this.listenToVideo();
    document.addEventListener("keydown", (event) => this.key(event));
    for (const type of ["pointermove", "pointerdown", "keydown", "focusin"]) {
      this.frame.addEventListener(type, () => this.wake());
    }
    this.wake();
  }

  /** Shows what changes with time: latency, the way back to live. */
  refresh(isAttached: boolean, latency: number | null): void {
    const isPlaying = latency !== null;
    this.latency.textContent = isPlaying ? `${latency.toFixed(1)} s` : "";
    const isBehind = isPlaying && this.player.isBehind();
    this.toLive.classList.toggle("behind", isBehind);
    this.toLive.classList.toggle("is-live", isPlaying && !isBehind);
    this.toLiveText.textContent = isBehind ? "Go to live" : "Live";
    this.toLive.disabled = !isBehind;
    this.bigPlay.hidden = !isAttached || !this.video.paused;
    this.unmute.hidden = !isPlaying || !this.isSilent() || this.video.paused;
  }

  /** Rebuilds the quality menu from the player's renditions. */
  showRenditions(): void {
    const hls = this.player.hls;
    const levels = hls?.levels ?? [];
    const current = levels[hls?.currentLevel ?? -1];
    const isAuto = hls?.autoLevelEnabled ?? true;
    const now = isAuto && current ? ` (${format.resolution(current.height, current.frameRate)})` : "";
    const options = [option("-1", `Auto${now}`)];
    levels.forEach((level, index) => options.push(option(String(index), format.rung(level))));
    this.quality.replaceChildren(...options.reverse());
    this.quality.value = isAuto ? "-1" : String(hls?.loadLevel ?? -1);
    this.quality.hidden = levels.length === 0;
  }

  private listenToButtons(): void {
    this.play.addEventListener("click", () => this.togglePlay());
    this.bigPlay.addEventListener("click", () => this.togglePlay());
    this.video.addEventListener("click", () => this.wake());
    this.mute.addEventListener("click", () => this.toggleMute());
    this.unmute.addEventListener("click", () => this.toggleMute());
    this.volume.addEventListener("input", () => this.setVolume(this.volume.valueAsNumber));
    this.toLive.addEventListener("click", () => this.goLive());
    this.quality.addEventListener("change", () => {
      this.player.selectRendition(Number(this.quality.value));
    });
    byId("fullscreen", HTMLButtonElement).addEventListener("click", () => this.toggleFullscreen());
    this.frame.addEventListener("dblclick", (event) => {
      if (event.target === this.video) {
        this.toggleFullscreen();
      }
    });
  }

  private listenToVideo(): void {
    const show = (): void => {
      setButton(this.play, this.video.paused ? "Play" : "Pause", this.video.paused ? "play" : "pause");
      const silent = this.isSilent();
      setButton(this.mute, silent ? "Unmute" : "Mute", silent ? "muted" : "sound");
      this.volume.value = String(silent ? 0 : this.video.volume);
    };
    for (const type of ["play", "pause", "volumechange"]) {
      this.video.addEventListener(type, show);
    }
    show();
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey) {
      return;
    }
    const target = event.target instanceof HTMLElement ? event.target : null;
    if (target?.matches("input:not([type=range])") === true) {
      return;
    }
    // Space and arrows belong to the control that has the focus.
    const isOnControl = target?.matches("button, input, select, a, summary") === true;
    const action = this.actionOf(event.key, isOnControl);
    if (action !== null) {
      event.preventDefault();
      action();
      this.wake();
    }
  }

  private actionOf(key: string, isOnControl: boolean): (() => void) | null {
    switch (key.toLowerCase()) {
      case " ":
        return isOnControl ? null : () => this.togglePlay();
      case "arrowup":
        return isOnControl ? null : () => this.setVolume(this.video.volume + 0.05);
      case "arrowdown":
        return isOnControl ? null : () => this.setVolume(this.video.volume - 0.05);
      case "k":
        return () => this.togglePlay();
      case "m":
        return () => this.toggleMute();
      case "l":
        return () => this.goLive();
      case "f":
        return () => this.toggleFullscreen();
      default:
        return null;
    }
  }

  private togglePlay(): void {
    this.isPausedByViewer = !this.video.paused;
    if (this.video.paused) {
      this.player.play();
    } else {
      this.video.pause();
    }
  }

  private goLive(): void {
    this.isPausedByViewer = false;
    this.player.goLive();
  }

  private isSilent(): boolean {
    return this.video.muted || this.video.volume === 0;
  }

  private toggleMute(): void {
    const isSilent = this.isSilent();
    this.video.muted = !isSilent;
    if (isSilent && this.video.volume === 0) {
      this.video.volume = 1;
    }
    this.unmute.hidden = isSilent;
  }

  private setVolume(volume: number): void {
    this.video.volume = Math.min(Math.max(volume, 0), 1);
    this.video.muted = this.video.volume === 0;
  }

  private toggleFullscreen(): void {
    if (document.fullscreenElement !== null) {
      void document.exitFullscreen();
    } else if ("requestFullscreen" in this.frame) {
      this.frame.requestFullscreen().catch(() => undefined);
    } else {
      // iPhones know full screen for the video alone.
      (this.video as { webkitEnterFullscreen?: () => void }).webkitEnterFullscreen?.();
    }
  }

  /** Shows the controls; they fade when nobody has touched anything for a while. */
  private wake(): void {
    this.frame.classList.remove("idle");
    clearTimeout(this.idleTimer);
    this.idleTimer = setTimeout(() => {
      const hasFocus = this.frame.querySelector(":focus-visible") !== null;
      this.frame.classList.toggle("idle", !this.video.paused && !hasFocus);
    }, IDLE_MS);
  }
}

function option(value: string, label: string): HTMLOptionElement {
  const element = make("option", "", label);
  element.value = value;
  return element;
}

function setButton(button: HTMLButtonElement, label: string, icon: string): void {
  button.setAttribute("aria-label", label);
  button.title = button.title.replace(/^\w+/, label);
  button.querySelector("use")?.setAttribute("href", `#i-${icon}`);
}
