// The built pages and the scripts of this folder in a real browser, against `fake-origin.mjs`.
// Needs ffmpeg, chromium and `npm run build`.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import { withPage } from "./browser.mjs";
import { CHANNEL, FPS, FakeOrigin, makeClip } from "./fake-origin.mjs";

const CLIP_SECONDS = 10;
const here = import.meta.dirname;
let clip;

before(async () => {
  clip = await makeClip(join(tmpdir(), `weir-web-clip-${CLIP_SECONDS}`), CLIP_SECONDS);
});

/** A test with an origin of its own. */
function withOrigin(name, run) {
  test(name, { timeout: 90_000 }, async () => {
    const origin = new FakeOrigin(clip, join(here, "../dist"));
    await origin.listen();
    try {
      await run(origin);
    } finally {
      await origin.close();
    }
  });
}

/** Starts a script; `line` is called with every JSON object that it prints. */
function script(name, args, line = () => undefined) {
  const result = { lines: [] };
  result.done = new Promise((resolve) => {
    const child = execFile(process.execPath, [join(here, name), ...args], (error, _out, stderr) => {
      resolve({ code: error?.code ?? 0, lines: result.lines, last: result.lines.at(-1), stderr });
    });
    let rest = "";
    child.stdout.on("data", (data) => {
      const lines = (rest + data).split("\n");
      rest = lines.pop();
      for (const text of lines) {
        result.lines.push(JSON.parse(text));
        line(result.lines.at(-1));
      }
    });
  });
  return result.done;
}

const watch = (origin, args, line) =>
  script("watch.mjs", ["--url", `${origin.url}/watch/${CHANNEL}`, ...args], line);

const states = (lines) => lines.filter((line) => "t" in line).map((line) => line.state);

withOrigin("frames.mjs counts every frame of a stream, from its start to its end", async (origin) => {
  origin.start();
  const { code, last, stderr } = await script("frames.mjs", ["--url", origin.playbackUrl, "--expect-end"]);
  assert.equal(code, 0, stderr);
  assert.equal(last.ended, true);
  assert.equal(last.totalVideoFrames, CLIP_SECONDS * FPS);
  assert.deepEqual(last.errors, []);
});

withOrigin("frames.mjs fails on a stream that is not there", async (origin) => {
  const args = ["--url", origin.playbackUrl, "--expect-end", "--start-timeout", "0.1"];
  const { code, last } = await script("frames.mjs", args);
  assert.equal(code, 1);
  assert.equal(last.playlistStatus, 404);
  assert.equal(last.fatal, "manifestLoadError");
});

withOrigin("the watch page plays at low latency, under its security policy", async (origin) => {
  origin.start();
  const { code, last, stderr } = await watch(origin, ["--seconds", "3"]);
  assert.equal(code, 0, stderr);
  assert.equal(last.state, "live");
  assert.deepEqual(last.errors, []);
  assert.ok(last.currentTimeEnd - last.currentTimeStart > 2, JSON.stringify(last));
  assert.ok(last.totalVideoFrames > last.totalVideoFramesStart + FPS, JSON.stringify(last));
  assert.equal(last.targetLatency, 1.002);
  assert.equal(last.levels[0].height, 360);
});

withOrigin("a page opened before the stream plays it, ends with it, and plays the next", async (origin) => {
  let ends = 0;
  const line = ({ t, state, title }) => {
    if (t !== undefined && state === "offline") {
      ends += title === "The stream has ended" ? 1 : 0;
      origin.start();
    }
  };
  const until = "offline,live,offline,live";
  const { code, lines, last } = await watch(origin, ["--events", "--seconds", "60", "--until", until], line);
  assert.equal(code, 0, JSON.stringify(lines));
  assert.equal(ends, 1);
  assert.deepEqual(last.errors, []);
});

withOrigin("a held channel is waited for without a new attachment", async (origin) => {
  origin.start();
  const line = ({ t, state, title }) => {
    if (t !== undefined && state === "live" && origin.state === "LIVE") {
      setTimeout(() => origin.hold(), 2_000);
    } else if (t !== undefined && state === "reconnecting") {
      setTimeout(() => origin.resume(), 8_000);
    }
  };
  const { code, lines, last } = await watch(
    origin,
    ["--events", "--seconds", "60", "--until", "live,reconnecting,live"],
    line,
  );
  assert.equal(code, 0, JSON.stringify(lines));
  assert.ok(!states(lines).includes("offline"), JSON.stringify(lines));
  // Played on in the same buffer: a new attachment would have started at the second take.
  assert.ok(last.currentTimeEnd > 2, JSON.stringify(last));
  assert.ok(!last.errors.some((error) => error.includes("fatal")), JSON.stringify(last.errors));
});

withOrigin("unreadable playlists and a restarted server are survived", async (origin) => {
  origin.start();
  let lives = 0;
  const line = ({ t, state }) => {
    if (t === undefined || state !== "live") {
      return;
    }
    lives += 1;
    if (lives === 1) {
      origin.breakPlaylists();
      setTimeout(() => origin.start(), 3_000);
    } else if (lives === 2) {
      void origin.close().then(() => {
        setTimeout(() => void origin.listen().then(() => origin.start()), 4_000);
      });
    }
  };
  const until = "live,reconnecting,live,reconnecting,live";
  const { code, lines } = await watch(origin, ["--events", "--seconds", "80", "--until", until], line);
  assert.equal(code, 0, JSON.stringify(lines));
});

withOrigin("the front page lists who is live, helps when nobody is, and survives a restart", async (origin) => {
  await withPage(async (page, errors) => {
    const state = (name) => page.waitForSelector(`html[data-state="${name}"]`, { timeout: 30_000 });
    await page.goto(origin.url);
    await state("empty");
    assert.equal(await page.textContent("#server"), "rtmp://127.0.0.1/app");
    origin.others = [{ channelId: "Zz0000000001", name: "<b>bold</b>", playbackUrl: "/x.m3u8" }];
    origin.start();
    await state("live");
    assert.deepEqual(await page.locator(".card-name").allTextContents(), ["Mountain radio", "<b>bold</b>"]);
    assert.equal(await page.locator(".size").first().textContent(), "360p30");
    assert.equal(await page.locator(".card").first().getAttribute("href"), `/watch/${CHANNEL}`);
    await origin.close();
    await state("unreachable");
    await origin.listen();
    await state("live");
    assert.deepEqual(errors, []);
  });
});

withOrigin("keys, sound, quality and the way back to live", async (origin) => {
  origin.start();
  origin.notices = ["The audio is not carried."];
  await withPage(async (page, errors) => {
    await page.goto(`${origin.url}/watch/${CHANNEL}`);
    await page.waitForSelector('html[data-state="live"]');
    const video = (property) => page.evaluate((name) => window.weir.video[name], property);
    assert.equal(await page.textContent("#notices"), "The audio is not carried.");
    assert.equal(await page.locator("#quality option").count(), 2);
    assert.equal(await video("muted"), true);
    await page.click("#unmute");
    assert.equal(await video("muted"), false);
    await page.keyboard.press("m");
    assert.equal(await video("muted"), true);
    await page.keyboard.press("k");
    assert.equal(await video("paused"), true);
    await page.waitForFunction(() => window.weir.hls.latency > 5);
    await page.keyboard.press("k");
    await page.waitForSelector("#to-live.behind");
    await page.keyboard.press("l");
    await page.waitForSelector("#to-live:not(.behind)");
    await page.waitForFunction(() => window.weir.latency() < 3);
    await page.keyboard.press("f");
    await page.waitForFunction(() => document.fullscreenElement?.id === "player");
    assert.equal(await page.evaluate(() => document.documentElement.dataset.state), "live");
    assert.deepEqual(errors, []);
  });
});

