// Line icons on a 20 by 20 grid.

import { svg } from "./dom.ts";

const PATHS = {
  menu: "M3.5 6h13M3.5 10h13M3.5 14h8",
  plus: "M10 4v12M4 10h12",
  send: "M10 16V4.5M5 9.2l5-5 5 5",
  copy: "M7.3 7.3h8.2v8.2H7.3zM4.5 12.7V4.5h8.2",
  check: "M4.5 10.5l3.6 3.6 7.4-8",
  link: "M8.2 11.8l3.6-3.6M9 6.2l1.6-1.6a3.4 3.4 0 0 1 4.8 4.8L13.8 11M11 13.8l-1.6 1.6a3.4 3.4 0 0 1-4.8-4.8L6.2 9",
  panel: "M3.5 4.5h13v11h-13zM12 4.5v11",
  sun: "M10 13.2a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4zM10 2.6v1.6M10 15.8v1.6M2.6 10h1.6M15.8 10h1.6M4.8 4.8l1.1 1.1M14.1 14.1l1.1 1.1M4.8 15.2l1.1-1.1M14.1 5.9l1.1-1.1",
  moon: "M16 11.6A6.4 6.4 0 0 1 8.4 4a6.4 6.4 0 1 0 7.6 7.6z",
  chevron: "M7.5 5l5 5-5 5",
  close: "M5 5l10 10M15 5L5 15",
  again: "M15.5 10a5.5 5.5 0 1 1-1.8-4.1M15.5 3.2v3.3h-3.3",
  list: "M4 5.5h.01M4 10h.01M4 14.5h.01M7.5 5.5h9M7.5 10h9M7.5 14.5h9",
  down: "M10 4v11.5M5 10.8l5 5 5-5",
  tool: "M12.8 3.9a3.9 3.9 0 0 0-4.6 5.2l-4.4 4.4 2.7 2.7 4.4-4.4a3.9 3.9 0 0 0 5.2-4.6l-2.4 2.3-2.4-.8-.8-2.4z",
  chat: "M3.5 5h13v8.5h-7L6 16.5v-3H3.5z",
  pages: "M6 3.5h5.5L15 7v9.5H6zM11.3 3.7V7.2h3.5M8.5 10.5h4M8.5 13.3h4",
  search: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11zM13 13l3.8 3.8",
  upload: "M10 13.5V4M5.8 8L10 3.8 14.2 8M4 13v3.2h12V13",
  bin: "M4 5.8h12M8 5.8V3.8h4v2M5.6 5.8l.7 10.4h7.4l.7-10.4M8.6 8.8v4.6M11.4 8.8v4.6",
  folder: "M3 5.2h5l1.6 2H17v8.6H3z",
} as const;

export type IconName = keyof typeof PATHS | "stop";

export function icon(name: IconName): SVGElement {
  const shape =
    name === "stop"
      ? svg("rect", { x: 5.5, y: 5.5, width: 9, height: 9, rx: 1.8, fill: "currentColor", stroke: "none" })
      : svg("path", { d: PATHS[name] });
  return svg("svg", { class: "icon", viewBox: "0 0 20 20", width: 20, height: 20, "aria-hidden": "true" }, shape);
}
