// Plays a ladder with hls.js alone and switches through all its levels, from the lowest up and down again.
//
//   node levels.mjs --url http://127.0.0.1:8080/api/video/v1/....m3u8 --seconds 6 --screenshots folder
//     prints one line a visit of a level and one last line {levels, visits, stalls, fatal, errors, ...}.
//     A visit: {level, name, width, height, switchMs, seconds, frames, presented, dropped, stalls, stalledMs,
//     longestFrameMs, waiting, latency}; `switchMs` is null if the level's picture never came.
//     exit status 1 on a fatal error, a stall, or a level that was not seen.
//
// A stall: the clock of a playing video stands still for more than --stall-ms, switching included. The picture may
// freeze while the clock goes on: `longestFrameMs` is the longest time one picture stayed. --smooth keeps what is
// buffered of the old level (hls.js `loadLevel`); the default replaces it (`nextLevel`). A picture of each level is
// saved at its own size as <height>p-<level>.png in --screenshots.

import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { print, readArguments } from "./arguments.mjs";
import { waitForPlaylist, withPlayerPage } from "./page.mjs";

const options = readArguments({
  url: "",
  seconds: 6,
  "start-timeout": 20,
  "switch-timeout": 10,
  "stall-ms": 250,
  screenshots: "",
  smooth: false,
});

/** Runs in the page: starts the player, watches its clock, and resolves with its levels once it plays. */
function start({ url, stallMs, startSeconds }) {
  const video = document.getElementById("video");
  const seen = { stalls: 0, stalledMs: 0, waiting: 0, longestFrameMs: 0, presented: 0, fatal: null, errors: [] };
  const hls = new window.Hls({ lowLatencyMode: true, maxLiveSyncPlaybackRate: 1, startLevel: 0 });
  window.player = { hls, video, seen };
  hls.on("hlsError", (_event, data) => {
    // A switch ends the requests of the level that is left.
    if (data.fatal || data.details !== "aborted") {
      seen.errors.push(`${data.details}: ${data.reason ?? data.error?.message ?? ""}`);
    }
    seen.fatal ??= data.fatal ? data.details : null;
  });
  const playing = new Promise((resolve, reject) => {
    video.addEventListener("playing", resolve, { once: true });
    setTimeout(reject, startSeconds * 1000, new Error(`nothing plays after ${startSeconds} s: ${seen.errors}`));
  });
  // Every level is chosen by hand, the first one too: what the player fetched of another on its own account would
  // still be shown during the first visit.
  hls.once("hlsManifestParsed", () => (hls.loadLevel = 0));
  hls.loadSource(url);
  hls.attachMedia(video);
  video.play().catch((error) => seen.errors.push(`play: ${error.message}`));
  return playing.then(() => {
    video.addEventListener("waiting", () => (seen.waiting += 1));
    watchClock();
    watchPicture();
    return hls.levels.map(({ name, width, height, bitrate, frameRate, codecSet, attrs }) => ({
      name: attrs?.VIDEO ?? name ?? null, width, height, bitrate, frameRate, codecSet,
    }));
  });

  /** Looks every 25 ms whether currentTime moved; a stall that goes on counts in each visit. */
  function watchClock() {
    let [time, since, last] = [video.currentTime, performance.now(), null];
    setInterval(() => {
      const now = performance.now();
      if (video.currentTime !== time || video.paused || video.ended) {
        [time, since, last] = [video.currentTime, now, null];
      } else if (now - since > stallMs) {
        seen.stalls += last === null || seen.stalls === 0 ? 1 : 0;
        seen.stalledMs += now - (last ?? since);
        last = now;
      }
    }, 25);
  }

  function watchPicture() {
    const each = (now) => {
      seen.presented += 1;
      seen.longestFrameMs = Math.max(seen.longestFrameMs, now - (seen.lastFrameAt ?? now));
      seen.lastFrameAt = now;
      video.requestVideoFrameCallback(each);
    };
    video.requestVideoFrameCallback(each);
  }
}

/** Runs in the page: switches to a level, stays there, and resolves with what was seen meanwhile. */
function visit({ level, seconds, switchSeconds, isSmooth, takesPicture }) {
  const { hls, video, seen } = window.player;
  Object.assign(seen, { stalls: 0, stalledMs: 0, waiting: 0, longestFrameMs: 0, presented: 0 });
  const before = video.getVideoPlaybackQuality();
  const { width, height, attrs } = hls.levels[level];
  const began = performance.now();
  hls[isSmooth ? "loadLevel" : "nextLevel"] = level;
  // Pixels that are not quite square make the shown width differ by one or two.
  const isThere = () => Math.abs(video.videoWidth - width) <= 2 && video.videoHeight === height;
  const arrived = new Promise((resolve) => {
    const timer = setInterval(() => {
      const elapsed = performance.now() - began;
      if ((isThere() && hls.currentLevel === level) || elapsed > switchSeconds * 1000 || seen.fatal !== null) {
        clearInterval(timer);
        resolve(isThere() ? Math.round(elapsed) : null);
      }
    }, 20);
  });
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  return arrived.then(async (switchMs) => {
    await pause(seconds * 1000);
    const after = video.getVideoPlaybackQuality();
    const told = {
      level,
      name: attrs?.VIDEO ?? `${height}p`,
      width: video.videoWidth,
      height: video.videoHeight,
      switchMs,
      seconds: Math.round(performance.now() - began) / 1000,
      frames: after.totalVideoFrames - before.totalVideoFrames,
      presented: seen.presented,
      dropped: after.droppedVideoFrames - before.droppedVideoFrames,
      stalls: seen.stalls,
      stalledMs: Math.round(seen.stalledMs),
      longestFrameMs: Math.round(Math.max(seen.longestFrameMs, performance.now() - seen.lastFrameAt)),
      waiting: seen.waiting,
      latency: hls.latency,
    };
    return { told, picture: takesPicture ? snapshot() : null };
  });

  /** The picture as decoded, at its own size: a PNG in base64. */
  function snapshot() {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    return canvas.toDataURL("image/png").split(",")[1];
  }
}

async function save(picture, { height, level }) {
  await mkdir(options.screenshots, { recursive: true });
  await writeFile(path.join(options.screenshots, `${height}p-${level}.png`), picture, "base64");
}

async function walk(page, errors) {
  const { url, seconds, "stall-ms": stallMs, "start-timeout": startSeconds, "switch-timeout": switchSeconds } = options;
  const levels = await page.evaluate(start, { url, stallMs, startSeconds });
  const up = levels.map((_, level) => level);
  const visits = [];
  for (const level of [...up, ...up.slice(0, -1).reverse()]) {
    const isFirst = visits.every((other) => other.level !== level);
    const takesPicture = isFirst && options.screenshots !== "";
    const { told, picture } = await page.evaluate(visit, { level, seconds, switchSeconds, isSmooth: options.smooth, takesPicture });
    if (picture !== null) {
      await save(picture, told);
    }
    print(told);
    visits.push(told);
  }
  const seen = await page.evaluate(() => window.player.seen);
  return { levels, visits, fatal: seen.fatal, errors: [...errors, ...seen.errors] };
}

const playlistStatus = await waitForPlaylist(options.url, options["start-timeout"]);
const outcome = await withPlayerPage(walk);
const stalls = outcome.visits.reduce((sum, visited) => sum + visited.stalls, 0);
print({ ...outcome, stalls, playlistStatus });
const isWhole = outcome.visits.every(({ switchMs, frames }) => switchMs !== null && frames > 0);
process.exitCode = outcome.fatal === null && stalls === 0 && isWhole ? 0 : 1;
