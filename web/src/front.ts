// The front page: who is live, and what to do when nobody is.

import { fetchLive } from "./api.ts";
import type { LiveChannel } from "./api.ts";
import { byId, make, setPageState } from "./dom.ts";
import * as format from "./format.ts";

const CALM_MS = 4_000;
const MAX_DELAY_MS = 30_000;

const cards = byId("cards", HTMLUListElement);
const count = byId("count", HTMLParagraphElement);
const empty = byId("empty", HTMLElement);
const trouble = byId("trouble", HTMLParagraphElement);

let refusals = 0;
let shown = "";

function card(channel: LiveChannel, now: Date): HTMLLIElement {
  const isHeld = channel.state === "HELD";
  const picture = make("div", "picture", make("span", "initial", initial(channel.name)));
  picture.style.setProperty("--hue", String(format.hue(channel.channelId)));
  picture.append(make("span", isHeld ? "badge held" : "badge live", isHeld ? "Reconnecting" : "Live"));
  const size = format.resolution(channel.height, channel.frameRate);
  if (size !== "") {
    picture.append(make("span", "size", size));
  }
  const since = channel.startTime === null ? "" : format.liveFor(channel.startTime, now);
  const link = make(
    "a",
    "card",
    picture,
    make("span", "card-name", channel.name),
    make("span", "card-since", since),
  );
  link.href = `/watch/${encodeURIComponent(channel.channelId)}`;
  return make("li", "", link);
}

function initial(name: string): string {
  return [...name.trim()][0]?.toUpperCase() ?? "?";
}

function show(channels: LiveChannel[]): void {
  trouble.hidden = true;
  count.textContent = channels.length === 1 ? "1 channel" : `${channels.length} channels`;
  count.hidden = channels.length === 0;
  empty.hidden = channels.length > 0;
  cards.hidden = channels.length === 0;
  setPageState(channels.length === 0 ? "empty" : "live");
  const now = new Date();
  const items = channels.map((channel) => card(channel, now));
  // Untouched while nothing changed, so that focus and screen readers stay where they are.
  const html = items.map((item) => item.outerHTML).join("");
  if (html !== shown) {
    const focused = document.activeElement?.getAttribute("href");
    cards.replaceChildren(...items);
    if (focused) {
      cards.querySelector<HTMLElement>(`a[href="${CSS.escape(focused)}"]`)?.focus();
    }
    shown = html;
  }
}

function showTrouble(): void {
  trouble.hidden = false;
  trouble.textContent = "The server is out of reach. Trying again until it answers.";
  setPageState("unreachable");
}

async function poll(): Promise<void> {
  try {
    show(await fetchLive());
    refusals = 0;
  } catch {
    refusals += 1;
    showTrouble();
  }
  const delay = Math.min(CALM_MS * 2 ** Math.min(refusals, 5), MAX_DELAY_MS);
  setTimeout(() => void poll(), delay * (0.8 + 0.4 * Math.random()));
}

function explain(): void {
  const server = `rtmp://${location.hostname}/app`;
  byId("server", HTMLElement).textContent = server;
  byId("ffmpeg", HTMLElement).textContent =
    `ffmpeg -re -i video.mp4 -c copy -f flv ${server}/STREAM_KEY`;
  const copy = byId("copy-server", HTMLButtonElement);
  // Only secure origins may write to the clipboard.
  copy.hidden = !("clipboard" in navigator);
  copy.addEventListener("click", () => {
    void navigator.clipboard.writeText(server).then(() => {
      copy.textContent = "Copied";
    });
  });
}

explain();
void poll();
