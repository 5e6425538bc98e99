// Plays a stream with hls.js and says what it shows during an ad break: the ads of this test are red all over.
//
//   node ads.mjs --url http://127.0.0.1:8080/api/video/v1/....m3u8 --watching http://... --seconds 25
//     asks for the address given as `watching` once the stream is seen;
//     prints one line {shown, events, positions, fatal, errors, ...}; `shown` are the runs of what was seen, in order:
//     "stream" or "ad", of the same for half a second at least. `events` are hls.js's of interstitials, in order.

import { print, readArguments } from "./arguments.mjs";
import { waitForPlaylist, withPlayerPage } from "./page.mjs";

const options = readArguments({ url: "", watching: "", seconds: 25, "start-timeout": 20 });

/** Runs in the page: resolves with what was seen. */
async function play({ url, watching, seconds }) {
  const video = document.getElementById("video");
  const hls = new window.Hls({ lowLatencyMode: true });
  const seen = { shown: [], events: [], fatal: null, errors: [] };
  for (const name of ["STARTED", "ASSET_STARTED", "ASSET_ENDED", "ENDED", "ASSET_ERROR"]) {
    hls.on(window.Hls.Events[`INTERSTITIAL_${name}`], () => seen.events.push(name));
  }
  hls.on(window.Hls.Events.ERROR, (_event, data) => {
    seen.errors.push(`${data.details}: ${data.reason ?? data.error?.message ?? ""}`);
    seen.fatal ??= data.fatal ? data.details : null;
  });
  hls.loadSource(url);
  hls.attachMedia(video);
  video.play().catch((error) => seen.errors.push(`play: ${error.message}`));
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const begin = performance.now();
  const runs = [];
  while (performance.now() - begin < seconds * 1000) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    if (video.readyState < 2) {
      continue;
    }
    canvas.drawImage(video, 0, 0, 1, 1);
    const [red, green, blue] = canvas.getImageData(0, 0, 1, 1).data;
    const what = red > 200 && green < 60 && blue < 60 ? "ad" : "stream";
    if (runs.at(-1)?.what === what) {
      runs.at(-1).count += 1;
    } else {
      runs.push({ what, count: 1 });
    }
    if (runs.length === 1 && runs[0].count === 10) {
      await fetch(watching);
    }
  }
  seen.shown = runs.filter(({ count }) => count >= 5).map(({ what }) => what);
  return { ...seen, runs, latency: hls.latency };
}

const status = await waitForPlaylist(options.url, options["start-timeout"]);
const outcome = await withPlayerPage((page) => page.evaluate(play, options));
print({ status, ...outcome });
process.exitCode = outcome.fatal === null ? 0 : 1;
