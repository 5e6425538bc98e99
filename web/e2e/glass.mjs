// Plays a stream that has a clock burnt into its pictures, and says how old each picture is when it is shown.
//
//   node glass.mjs --url http://127.0.0.1:8080/api/video/v1/....m3u8 --player hls --seconds 60
//     prints one line {pictures, unread, glass: {p50, p95}, server: {p50, p95}, buffer, stalls, errors, page}, in seconds; what
//     is shown in the first --settle seconds is not counted. `server`: how old the pictures are by the server's clock
//     (EXT-X-PROGRAM-DATE-TIME), null with a player that does not tell.
//
// The clock: a row of squares of --square pixels in the upper left corner, white for one; 44 bits of Unix milliseconds,
// the highest first, then 8 bits that are the sum of the clock's bytes (`benches/glass/run.py` draws it).

import { print, readArguments } from "./arguments.mjs";
import { waitForPlaylist, withPlayerPage } from "./page.mjs";

const options = readArguments({ url: "", player: "hls", seconds: 60, settle: 10, square: 24, "start-timeout": 20 });

/** Runs in the page: resolves with what was seen. */
async function play({ url, player, seconds, settle, square }) {
  const video = document.getElementById("video");
  const canvas = new OffscreenCanvas(52 * square, square);
  const pixels = canvas.getContext("2d", { willReadFrequently: true });
  const [glass, server, buffers, errors] = [[], [], [], []];
  let [unread, stalls] = [0, 0];
  const begin = performance.now();
  const isSettled = () => performance.now() - begin > settle * 1000;
  video.addEventListener("waiting", () => (stalls += isSettled() ? 1 : 0));
  const told = await { hls: playHls, ivs: playIvs }[player]();

  const over = new Promise((resolve) => setTimeout(resolve, (settle + seconds) * 1000));
  const look = (_now, { expectedDisplayTime }) => {
    video.requestVideoFrameCallback(look);
    if (!isSettled()) {
      return;
    }
    const shown = performance.timeOrigin + expectedDisplayTime;
    const clock = readClock();
    if (clock === null) {
      unread += 1;
    } else {
      glass.push((shown - clock) / 1000);
    }
    const date = told.date();
    if (date !== null) {
      server.push((Date.now() - date) / 1000);
    }
    buffers.push(told.buffer());
  };
  video.requestVideoFrameCallback(look);
  await over;
  return { pictures: glass.length + unread, unread, glass: quantiles(glass), server: quantiles(server), buffer: quantiles(buffers), stalls, errors };

  function readClock() {
    pixels.drawImage(video, 0, 0, canvas.width, square, 0, 0, canvas.width, square);
    const { data } = pixels.getImageData(0, square >> 1, canvas.width, 1);
    const bits = Array.from({ length: 52 }, (_, n) => (data[4 * (n * square + (square >> 1))] > 127 ? 1 : 0));
    const number = (some) => some.reduce((sum, bit) => sum * 2 + bit, 0);
    const clock = number(bits.slice(0, 44));
    let sum = 0;
    for (let rest = clock; rest > 0; rest = Math.floor(rest / 256)) {
      sum += rest % 256;
    }
    return sum % 256 === number(bits.slice(44)) ? clock : null;
  }

  function quantiles(values) {
    const sorted = values.toSorted((a, b) => a - b);
    const at = (share) => Number(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(3));
    return sorted.length === 0 ? null : { p50: at(0.5), p95: at(0.95) };
  }

  async function playHls() {
    const hls = new window.Hls({ lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.2 }); // As the watch page does.
    hls.on("hlsError", (_event, data) => data.fatal && errors.push(data.details));
    hls.on("hlsManifestParsed", () => (hls.currentLevel = hls.levels.length - 1));
    hls.loadSource(url);
    hls.attachMedia(video);
    await video.play().catch((error) => errors.push(`play: ${error.message}`));
    return {
      date: () => hls.playingDate,
      buffer: () => (video.buffered.length === 0 ? 0 : video.buffered.end(video.buffered.length - 1) - video.currentTime),
    };
  }

  async function playIvs() {
    const { create, PlayerEventType } = window.IVS;
    const asset = (name) => new URL(`/ivs/${name}`, location.href).href;
    const ivs = create({
      wasmWorker: asset("amazon-ivs-wasmworker.min.js"),
      wasmBinary: asset("amazon-ivs-wasmworker.min.wasm"),
    });
    ivs.addEventListener(PlayerEventType.ERROR, ({ type, message }) => errors.push(`${type}: ${message}`));
    ivs.attachHTMLVideoElement(video);
    ivs.setMuted(true);
    ivs.setAutoplay(true);
    ivs.load(url);
    return { date: () => null, buffer: () => ivs.getBufferDuration() };
  }
}

await waitForPlaylist(options.url, options["start-timeout"]);
const outcome = await withPlayerPage(async (page, errors) => {
  const seen = await page.evaluate(play, options);
  return { ...seen, page: errors };
}, options.player);
print(outcome);
process.exitCode = outcome.errors.length === 0 && outcome.glass !== null ? 0 : 1;
