// Where the time of an answer went: one bar a span, and when its words came.

import type { Answer, Span } from "@tidewire/client";
import { h, svg } from "./dom.ts";
import { duration } from "./format.ts";

const SOURCES = {
  measured: "measured by this server",
  reported: "reported by the model host, on its own clock",
  inferred: "inferred",
} as const;
const BUCKETS = 96;

export function waterfall(answer: Answer, beats: readonly number[]): HTMLElement {
  const spans = [...(answer.closed?.spans ?? [])].sort((a, b) => a.start - b.start || b.ms - a.ms);
  const last = Math.max(0, ...spans.map((span) => span.start + span.ms));
  const total = Math.max(answer.closed?.at ?? 0, last, 1);
  const list = h("ol", { class: "bars" });
  for (const span of spans) list.append(bar(span, total));
  if (beats.length > 1) list.append(words(beats, total));
  const used = new Set(spans.map(sourceOf));
  const legend = h("p", { class: "legend" });
  for (const [source, text] of Object.entries(SOURCES)) {
    if (used.has(source as keyof typeof SOURCES)) legend.append(h("span", { class: `swatch ${source}` }), text);
  }
  return h("div", { class: "waterfall" }, list, h("div", { class: "axis", "aria-hidden": "true" }, h("span", {}, "0"), h("span", {}, duration(total / 2)), h("span", {}, duration(total))), legend);
}

function sourceOf(span: Span): keyof typeof SOURCES {
  return span.source && span.source in SOURCES ? span.source : "measured";
}

function bar(span: Span, total: number): HTMLElement {
  const source = sourceOf(span);
  const fill = h("span", { class: `fill ${source}` });
  fill.style.marginInlineStart = `${Math.min(100, Math.max(0, (span.start / total) * 100))}%`;
  fill.style.width = `${Math.min(100, Math.max(0, (span.ms / total) * 100))}%`;
  const name = span.name.replaceAll("_", " ");
  const told = `${name}: ${duration(span.ms)} from ${duration(span.start)}, ${SOURCES[source]}`;
  return h("li", { title: told }, h("span", { class: "name" }, name), h("span", { class: "track" }, fill), h("span", { class: "ms" }, duration(span.ms)));
}

/** How densely the deltas came, over the same time axis. */
function words(beats: readonly number[], total: number): HTMLElement {
  const buckets = new Array<number>(BUCKETS).fill(0);
  for (const at of beats) {
    const n = Math.min(BUCKETS - 1, Math.floor((at / total) * BUCKETS));
    buckets[n] = (buckets[n] ?? 0) + 1;
  }
  const most = Math.max(...buckets);
  const path = buckets.map((n, x) => (n ? `M${x + 0.5} 10v${-Math.max(1, (n / most) * 10).toFixed(1)}` : "")).join("");
  const chart = svg("svg", { viewBox: `0 0 ${BUCKETS} 10`, preserveAspectRatio: "none", "aria-hidden": "true" }, svg("path", { d: path }));
  return h("li", { class: "words" }, h("span", { class: "name" }, "words"), h("span", { class: "track" }, chart), h("span", { class: "ms" }, String(beats.length)));
}
