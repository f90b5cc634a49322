// A sentence over the page that goes by itself.

import { byId } from "./dom.ts";

let shown: ReturnType<typeof setTimeout> | undefined;

export function toast(text: string): void {
  const place = byId("toast");
  place.textContent = text;
  place.hidden = false;
  clearTimeout(shown);
  shown = setTimeout(() => (place.hidden = true), 4000);
}
