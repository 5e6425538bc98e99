// Watches a watch page in a real browser and says what was seen.
//
//   node watch.mjs --url http://127.0.0.1:8080/watch/ID --seconds 5 --screenshot live.png
//     waits until the page is live, watches for so many seconds, prints one line:
//     {state, currentTimeStart, currentTimeEnd, totalVideoFrames, droppedVideoFrames, latency,
//      levels, stalls, protocols, errors, ...}; exit status 1 if the page was not live in time.
//   node watch.mjs --url ... --events --seconds 60 [--until live,reconnecting,live]
//     prints {t, state, title} for every change of state, and the line above last; ends as soon
//     as the states of --until were seen in this order (exit status 1 if they were not).
//   --key KEY is typed into the field of the stream's health.
//   --any-certificate accepts whatever certificate the server shows.
//   --text SELECTOR adds {text, address}: what an element says at the end, and the page's address.

import { print, readArguments } from "./arguments.mjs";
import { limit, pause, withPage } from "./browser.mjs";

const options = readArguments({
  url: "",
  seconds: 5,
  screenshot: "",
  events: false,
  until: "",
  text: "",
  key: "",
  "any-certificate": false,
  "start-timeout": 20,
  width: 1280,
  height: 800,
});

/** Runs in the page: counts stalls, reports states. */
function observe() {
  window.stalls = 0;
  document.addEventListener("DOMContentLoaded", () => {
    const root = document.documentElement;
    const report = () => window.weirState?.(root.dataset.state, document.getElementById("veil-title")?.textContent);
    new MutationObserver(report).observe(root, { attributeFilter: ["data-state"] });
    report();
    const video = document.querySelector("video");
    let hasPlayed = false;
    video?.addEventListener("playing", () => (hasPlayed = true));
    video?.addEventListener("emptied", () => (hasPlayed = false));
    video?.addEventListener("waiting", () => (window.stalls += hasPlayed && !video.seeking ? 1 : 0));
  });
}

/** Runs in the page. */
function sample() {
  const { weir } = window;
  const quality = weir.video.getVideoPlaybackQuality();
  return {
    state: document.documentElement.dataset.state,
    currentTime: weir.video.currentTime,
    totalVideoFrames: quality.totalVideoFrames,
    droppedVideoFrames: quality.droppedVideoFrames,
    width: weir.video.videoWidth,
    height: weir.video.videoHeight,
    latency: weir.latency(),
    edgeLatency: weir.hls?.latency ?? null,
    targetLatency: weir.hls?.targetLatency ?? null,
    playbackRate: weir.video.playbackRate,
    levels: (weir.hls?.levels ?? []).map(({ width, height, bitrate, codecs, attrs }) => ({
      width,
      height,
      bitrate,
      codecs: attrs?.CODECS ?? codecs ?? null,
    })),
    stalls: window.stalls,
    // What was broken off has none.
    protocols: [...new Set(performance.getEntriesByType("resource").map((entry) => entry.nextHopProtocol))].filter(Boolean),
    troubles: weir.troubles,
  };
}

/** Runs in the page. */
function read(selector) {
  return { text: document.querySelector(selector)?.innerText ?? null, address: location.href };
}

/** Resolves once the wanted states were seen one after the other. */
function stateSequence(wanted, events) {
  const left = wanted === "" ? [] : wanted.split(",");
  const started = Date.now();
  let seen;
  const all = new Promise((resolve) => {
    seen = (state, title) => {
      if (events) {
        print({ t: (Date.now() - started) / 1000, state, title });
      }
      if (state === left[0]) {
        left.shift();
      }
      if (left.length === 0 && wanted !== "") {
        resolve(true);
      }
    };
  });
  return { all, seen };
}

async function enter(page, key) {
  await page.locator("#health summary").click();
  await page.locator("#health-key").fill(key);
  await page.locator("#health-key").press("Enter");
}

async function watch(page, errors) {
  const sequence = stateSequence(options.until || (options.events ? "" : "live"), options.events);
  await page.exposeFunction("weirState", sequence.seen);
  await page.addInitScript(observe);
  await page.goto(options.url);
  if (options.key !== "") {
    await enter(page, options.key);
  }
  const seconds = options.events || options.until ? options.seconds : options["start-timeout"];
  const wasSeen = await Promise.race([sequence.all, limit(seconds * 1000)]);
  const start = await page.evaluate(sample);
  if (!options.events && !options.until) {
    await pause(options.seconds * 1000);
  }
  const end = await page.evaluate(sample);
  const said = options.text === "" ? {} : await page.evaluate(read, options.text);
  if (options.screenshot !== "") {
    await page.screenshot({ path: options.screenshot });
  }
  const { currentTime, troubles, ...rest } = end;
  print({
    ...rest,
    ...said,
    currentTimeStart: start.currentTime,
    currentTimeEnd: currentTime,
    totalVideoFramesStart: start.totalVideoFrames,
    errors: [...errors, ...troubles.map(({ details, fatal, reason }) => `hls${fatal ? " fatal" : ""}: ${details}: ${reason}`)],
  });
  return wasSeen || (options.events && options.until === "");
}

const context = {
  viewport: { width: options.width, height: options.height },
  ignoreHTTPSErrors: options["any-certificate"],
};
process.exitCode = (await withPage(watch, context)) ? 0 : 1;
