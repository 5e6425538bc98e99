// The stream's health below the player, for whoever holds the stream key or an access key.
//
// The key comes from the field or from the fragment (`#key=…`), which is taken out of the address at
// once; it is sent in a header, never in a URL. A stream key is kept for this tab; an access key, which
// opens every channel, only until the page is left.

import { byId, make } from "./dom.ts";
import { complaints, curve, fetchHealth, headline, isAccessKey, keyInFragment, rows } from "./health.ts";
import type { Health } from "./health.ts";

const REFRESH_MS = 2_000;
const RETRY_MS = 5_000;
const CURVE_SECONDS = 60;

export class HealthPanel {
  private readonly channelId: string;
  private readonly panel = byId("health", HTMLDetailsElement);
  private readonly form = byId("health-form", HTMLFormElement);
  private readonly field = byId("health-key", HTMLInputElement);
  private readonly problem = byId("health-problem", HTMLParagraphElement);
  private readonly body = byId("health-body", HTMLDivElement);
  private readonly state = byId("health-state", HTMLParagraphElement);
  private readonly measures = byId("health-measures", HTMLDListElement);
  private readonly findings = byId("health-findings", HTMLUListElement);
  private readonly curve = document.getElementById("health-curve");
  private key: string | null;
  /** What the page says to everybody. */
  private said: readonly string[] = [];
  private timer = 0;
  private number = 0;

  constructor(channelId: string) {
    this.channelId = channelId;
    this.key = this.takeFromAddress() ?? sessionStorage.getItem(this.storageName());
  }

  run(): void {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.use(this.field.value.trim());
    });
    byId("health-forget", HTMLButtonElement).addEventListener("click", () => {
      this.forget("");
      this.field.focus();
    });
    const again = (): void => void this.refresh();
    this.panel.addEventListener("toggle", again);
    document.addEventListener("visibilitychange", again);
    window.addEventListener("hashchange", () => {
      const key = this.takeFromAddress();
      if (key !== null) {
        this.use(key);
      }
    });
    this.panel.open = this.key !== null;
    this.showForm();
    void this.refresh();
  }

  /** What the page says to everybody need not be said here. */
  setSaid(notices: readonly string[]): void {
    this.said = notices;
  }

  private use(key: string): void {
    if (key === "") {
      return;
    }
    this.key = key;
    this.problem.textContent = "";
    this.panel.open = true;
    this.body.hidden = true;
    void this.refresh();
  }

  private forget(why: string): void {
    this.key = null;
    this.number += 1;
    sessionStorage.removeItem(this.storageName());
    this.problem.textContent = why;
    this.showForm();
  }

  /** Asks now and again after a while, as long as somebody looks. */
  private async refresh(): Promise<void> {
    clearTimeout(this.timer);
    this.number += 1;
    const { key, number } = this;
    if (key === null || !this.panel.open || document.hidden) {
      return;
    }
    let delay = REFRESH_MS;
    try {
      const health = await fetchHealth(this.channelId, key);
      if (number !== this.number) {
        return;
      }
      if (health === null) {
        this.forget("This key does not open this channel.");
        return;
      }
      if (!isAccessKey(key)) {
        sessionStorage.setItem(this.storageName(), key);
      }
      this.show(health);
    } catch {
      if (number !== this.number) {
        return;
      }
      this.problem.textContent = "The server does not answer; trying again.";
      delay = RETRY_MS;
    }
    this.timer = setTimeout(() => void this.refresh(), delay);
  }

  private show(health: Health): void {
    this.problem.textContent = "";
    this.showForm();
    this.body.hidden = false;
    const words = headline(health);
    if (this.state.textContent !== words) {
      this.state.textContent = words;
    }
    this.state.className = `health-state ${health.state === "LIVE" ? health.health.toLowerCase() : ""}`;
    const measures = rows(health).map(({ label, value, isBad }) =>
      make("div", isBad ? "measure bad" : "measure", make("dt", "", label), make("dd", "", value)),
    );
    this.measures.replaceChildren(...measures);
    this.curve?.setAttribute("points", curve(health.seconds, CURVE_SECONDS, 120, 24));
    this.curve?.parentElement?.toggleAttribute("hidden", measures.length === 0);
    this.showFindings(health);
  }

  /** Replaced only when they change: a screen reader reads what is new. */
  private showFindings(health: Health): void {
    const wanted = complaints(health, this.said).map(({ words, isActive }) =>
      isActive ? make("li", "notice", words) : make("li", "notice past", `Earlier: ${words}`),
    );
    const shown = [...this.findings.children];
    const isSame = (item: HTMLLIElement, index: number): boolean => shown[index]?.isEqualNode(item) ?? false;
    if (shown.length !== wanted.length || !wanted.every(isSame)) {
      this.findings.replaceChildren(...wanted);
    }
    this.findings.hidden = wanted.length === 0;
  }

  private showForm(): void {
    this.form.hidden = this.key !== null;
    this.field.value = "";
    this.body.hidden = this.key === null || this.body.hidden;
  }

  /** The key in the address, which leaves it there no longer. */
  private takeFromAddress(): string | null {
    const found = keyInFragment(location.hash);
    if (found === null) {
      return null;
    }
    history.replaceState(history.state, "", location.pathname + location.search + found.rest);
    return found.key;
  }

  private storageName(): string {
    return `weir-key:${this.channelId}`;
  }
}
