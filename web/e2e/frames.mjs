// Plays a stream with hls.js alone from its start to its end, and counts decoded frames.
//
//   node frames.mjs --url http://127.0.0.1:8080/api/video/v1/....m3u8 --expect-end
//     prints one line {ended, started, totalVideoFrames, droppedVideoFrames, currentTime,
//     duration, stalls, metadata, fatal, errors}; exit status 1 on a fatal error or without an end.
//
// The playlist is waited for (--start-timeout); the page is served from 127.0.0.1 here, so the
// stream's server must allow other origins. --seconds bounds the playing.

import { print, readArguments } from "./arguments.mjs";
import { waitForPlaylist, withPlayerPage } from "./page.mjs";

const options = readArguments({
  url: "",
  "expect-end": false,
  seconds: 60,
  "start-timeout": 20,
  "from-live-edge": false,
});

/** Runs in the page: resolves with the outcome when the stream has ended, failed or timed out. */
function play({ url, seconds, fromLiveEdge }) {
  const video = document.getElementById("video");
  const errors = [];
  let stalls = 0;
  let fatal = null;
  const hls = new window.Hls({
    lowLatencyMode: true,
    maxLiveSyncPlaybackRate: 1,
    ...(fromLiveEdge ? {} : { startPosition: 0 }),
  });
  video.addEventListener("waiting", () => (stalls += 1));
  let metadata = 0;
  hls.on("hlsFragParsingMetadata", (_event, { samples }) => (metadata += samples.length));
  const over = new Promise((resolve) => {
    video.addEventListener("ended", resolve);
    setTimeout(resolve, seconds * 1000);
    hls.on("hlsError", (_event, data) => {
      errors.push(`${data.details}: ${data.reason ?? data.error?.message ?? ""}`);
      if (data.fatal) {
        fatal = data.details;
        resolve();
      }
    });
  });
  let started = null;
  video.addEventListener("playing", () => (started ??= video.currentTime));
  hls.loadSource(url);
  hls.attachMedia(video);
  video.play().catch((error) => errors.push(`play: ${error.message}`));
  return over.then(() => {
    const { totalVideoFrames, droppedVideoFrames } = video.getVideoPlaybackQuality();
    const { ended, currentTime, duration, videoWidth, videoHeight } = video;
    const finite = Number.isFinite(duration) ? duration : null;
    return { ended, started, totalVideoFrames, droppedVideoFrames, currentTime, duration: finite, videoWidth, videoHeight, stalls, metadata, fatal, errors };
  });
}

const status = await waitForPlaylist(options.url, options["start-timeout"]);
const outcome = await withPlayerPage(async (page, errors) => {
  const { url, seconds, "from-live-edge": fromLiveEdge } = options;
  const played = await page.evaluate(play, { url, seconds, fromLiveEdge });
  return { ...played, errors: [...errors, ...played.errors], playlistStatus: status };
});
print(outcome);
process.exitCode = outcome.fatal === null && (outcome.ended || !options["expect-end"]) ? 0 : 1;
