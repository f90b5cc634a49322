// Moments on the page: said as people place them, kept true as time passes, exact on a closer look.

import { h, setText } from "../dom.ts";
import { when } from "./words.ts";

const EVERY = 15_000; // ms

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "medium" });

export function moment(seconds: number): HTMLElement {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return h("span", {}, "unknown");
  return h("time", { datetime: date.toISOString(), title: exact.format(date) }, when(seconds, Date.now() / 1000));
}

export function tick(): void {
  setInterval(() => {
    const now = Date.now() / 1000;
    for (const element of document.querySelectorAll("time")) setText(element, when(Date.parse(element.dateTime) / 1000, now));
  }, EVERY);
}
