// Two pages and a not-found page, with hashed assets under /assets/; the console room of the
// server embeds dist/.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { defineConfig } from "vite";
import type { Plugin } from "vite";

const SERVER = process.env["WEIR_URL"] ?? "http://127.0.0.1:8080";

/** `npm run dev` knows the same addresses as the server. */
const watchPath: Plugin = {
  name: "watch-path",
  configureServer({ middlewares }) {
    middlewares.use((request, _response, next) => {
      if (request.url?.startsWith("/watch/")) {
        request.url = "/watch.html";
      }
      next();
    });
  },
};

/** Compressed once here, so that the server never compresses while it serves. */
const gzipAssets: Plugin = {
  name: "gzip-assets",
  apply: "build",
  writeBundle({ dir }) {
    const assets = `${dir}/assets`;
    for (const name of readdirSync(assets)) {
      const packed = gzipSync(readFileSync(`${assets}/${name}`), { level: 9 });
      writeFileSync(`${assets}/${name}.gz`, packed);
    }
  },
};

export default defineConfig({
  appType: "mpa",
  plugins: [watchPath, gzipAssets],
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 600,
    modulePreload: { polyfill: false },
    rollupOptions: { input: ["index.html", "watch.html", "404.html"] },
  },
  server: { proxy: { "/v1": SERVER, "/api": SERVER } },
});
