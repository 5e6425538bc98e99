// A page of our own with a video element and a player, served from 127.0.0.1; the stream's server must
// therefore allow other origins.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { once } from "node:events";
import path from "node:path";
import { pause, withPage } from "./browser.mjs";

const { resolve } = createRequire(import.meta.url);
const IVS_ASSETS = "/ivs/";

/** Players by name: the scripts that the page loads. */
const SCRIPTS = {
  hls: () => readFile(resolve("hls.js/dist/hls.min.js")),
  ivs: bundleIvsPlayer,
};

/** Runs `use(page, errors)` (see `withPage`) with that page open. */
export async function withPlayerPage(use, player = "hls") {
  const server = await servePage(await SCRIPTS[player]());
  try {
    return await withPage(async (page, errors) => {
      await page.goto(`http://127.0.0.1:${server.address().port}/`);
      return use(page, errors);
    });
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

/** The status of a playlist once it is 200, or after so many seconds. */
export async function waitForPlaylist(url, seconds) {
  const limit = Date.now() + seconds * 1000;
  for (;;) {
    const status = await fetch(url).then((response) => response.status, () => 0);
    if (status === 200 || Date.now() > limit) {
      return status;
    }
    await pause(200);
  }
}

async function servePage(script) {
  const page = `<!doctype html><meta charset="utf-8"><title>player</title>
<video id="video" muted playsinline></video><script src="/player.js"></script>`;
  const server = createServer(async (request, response) => {
    if (request.url.startsWith(IVS_ASSETS)) {
      const name = path.basename(request.url);
      response.setHeader("content-type", name.endsWith(".wasm") ? "application/wasm" : "text/javascript");
      response.end(await readFile(path.join(path.dirname(resolve("amazon-ivs-player")), "assets", name)));
    } else {
      const isScript = request.url === "/player.js";
      response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
      response.end(isScript ? script : page);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** The unmodified package as one script, `window.IVS`. */
async function bundleIvsPlayer() {
  const { build } = await import("vite");
  const entry = resolve("amazon-ivs-player");
  const [{ output }] = await build({
    configFile: false,
    logLevel: "error",
    resolve: { alias: { events: resolve("events/") } },
    build: { write: false, lib: { entry, formats: ["iife"], name: "IVS" } },
  });
  return output[0].code;
}
