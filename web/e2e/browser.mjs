// A headless Chromium with one page, closed whatever happens.

import { chromium } from "playwright-core";

const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";
const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-extensions",
  "--disable-sync",
  "--no-first-run",
  "--no-default-browser-check",
  "--mute-audio",
  "--autoplay-policy=no-user-gesture-required",
];

/**
 * Runs `use(page, errors)` and gives back its result; `errors` collects what the page throws
 * and what the browser complains of (refused by the content security policy, for example).
 */
export async function withPage(use, context = {}) {
  const browser = await chromium.launch({ executablePath: EXECUTABLE, args: ARGUMENTS });
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, ...context });
    const errors = [];
    page.on("pageerror", (error) => errors.push(`page: ${error.message}`));
    page.on("console", (message) => {
      // Failed requests are expected while a channel is offline; the page tells about them.
      if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) {
        errors.push(`console: ${message.text()}`);
      }
    });
    return await use(page, errors);
  } finally {
    await browser.close();
  }
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** False after so long; unlike `pause` it does not keep the process alive. */
export const limit = (ms) => new Promise((resolve) => setTimeout(resolve, ms, false).unref());
