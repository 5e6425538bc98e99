// A page of our own with a video element and hls.js, served from 127.0.0.1; the stream's server must
// therefore allow other origins.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { once } from "node:events";
import { pause, withPage } from "./browser.mjs";

const PAGE = `<!doctype html><meta charset="utf-8"><title>player</title>
<video id="video" muted playsinline></video><script src="/hls.js"></script>`;

/** Runs `use(page, errors)` (see `withPage`) with that page open. */
export async function withPlayerPage(use) {
  const server = await servePage();
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

async function servePage() {
  const script = await readFile(createRequire(import.meta.url).resolve("hls.js/dist/hls.min.js"));
  const server = createServer((request, response) => {
    const isScript = request.url === "/hls.js";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : PAGE);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}
