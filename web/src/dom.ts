// The few DOM helpers that both pages use.

/** The page's own element; a missing one is a mistake in the HTML. */
export function byId<T extends HTMLElement>(id: string, type: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof type)) {
    throw new Error(`the page has no <${type.name}> with id ${id}`);
  }
  return element;
}

/** A new element with text or children; text is never parsed as HTML. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

/** What tests and style sheets read. */
export function setPageState(state: string): void {
  const { dataset } = document.documentElement;
  if (dataset["state"] !== state) {
    dataset["state"] = state;
  }
}
