// Plays a stream with the unmodified Amazon IVS player and says what it thinks of it.
//
//   node ivs.mjs --url http://127.0.0.1:8080/api/video/v1/....m3u8 --seconds 10
//     prints one line {isLowLatency, latency, buffer, qualities, quality, cues, session, states, errors, frames, position,
//     ...}; latency and buffer are the medians of the samples of each half second after --settle seconds; exit status 1
//     after an error. --log tells on standard error what the player does.
//
// The player begins with the last complete segment and then catches up by three percent: how late it is depends on how
// old the open segment was. So that runs compare, it is made to begin when a segment has just begun.
// It also calls hosts of live-video.net, which must not matter: the page cannot reach them.

import { print, readArguments } from "./arguments.mjs";
import { waitForPlaylist, withPlayerPage } from "./page.mjs";

const options = readArguments({ url: "", seconds: 10, settle: 5, "start-timeout": 20, log: false });

/** Runs in the page: resolves with what was seen. */
async function play({ url, seconds, settle, log }) {
  const { create, PlayerEventType, PlayerState } = window.IVS;
  const asset = (name) => new URL(`/ivs/${name}`, location.href).href;
  const player = create({
    wasmWorker: asset("amazon-ivs-wasmworker.min.js"),
    wasmBinary: asset("amazon-ivs-wasmworker.min.wasm"),
    ...(log ? { logLevel: "debug" } : {}),
  });
  const [cues, states, errors, samples, metadata] = [[], [], [], [], []];
  let session = null;
  player.addEventListener(PlayerEventType.TEXT_METADATA_CUE, (cue) =>
    cues.push({ ...cue, seen: player.getPosition(), at: Date.now() }));
  player.addEventListener(PlayerEventType.ERROR, ({ type, code, source, message }) =>
    errors.push(`${type} ${code} ${source}: ${message}`));
  player.addEventListener(PlayerEventType.SESSION_DATA, (data) => (session = data?.sessionData ?? data));
  for (const state of Object.values(PlayerState)) {
    player.addEventListener(state, () => states.push(state));
  }
  const video = document.getElementById("video");
  player.attachHTMLVideoElement(video);
  player.setMuted(true);
  player.setAutoplay(true);
  await nextSegment();
  player.load(url);
  const begin = performance.now();
  while (performance.now() - begin < seconds * 1000) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    if (performance.now() - begin > settle * 1000) {
      samples.push({
        latency: player.getLiveLatency(),
        buffer: player.getBufferDuration(),
        isLowLatency: player.isLiveLowLatency(),
        position: player.getPosition(),
        at: Date.now(),
      });
    }
  }
  /** Resolves when another segment is being made. */
  async function nextSegment() {
    const read = async (url) => (await fetch(url, { cache: "no-store" })).text();
    const media = new URL((await read(url)).split("\n").find((line) => line !== "" && !line.startsWith("#")), url);
    const open = async () => (await read(media)).match(/^#EXT-X-PREFETCH:(.*)$/m)?.[1];
    for (const first = await open(); first !== undefined && (await open()) === first; ) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  const median = (key) => samples.map((sample) => sample[key]).sort((a, b) => a - b)[samples.length >> 1];
  const { totalVideoFrames, droppedVideoFrames } = video.getVideoPlaybackQuality();
  const outcome = {
    isLowLatency: player.isLiveLowLatency(),
    latency: median("latency"),
    buffer: median("buffer"),
    qualities: player.getQualities(),
    quality: player.getQuality(),
    position: player.getPosition(),
    advanced: samples.at(-1).position - samples[0].position,
    frames: totalVideoFrames,
    dropped: droppedVideoFrames,
    samples, cues, session, states, errors,
  };
  player.delete();
  return outcome;
}

const status = await waitForPlaylist(options.url, options["start-timeout"]);
const outcome = await withPlayerPage(async (page, errors) => {
  if (options.log) {
    page.on("console", (message) => process.stderr.write(`${message.text()}\n`));
    page.on("request", (request) => process.stderr.write(`> ${request.url()}\n`));
    page.on("response", (response) => process.stderr.write(`< ${response.status()} ${response.url()}\n`));
  }
  const seen = await page.evaluate(play, options);
  return { ...seen, page: errors };
}, "ivs");
print({ status, ...outcome });
process.exitCode = outcome.errors.length === 0 ? 0 : 1;
