// What a server without documents shows: the ways in.

import { copy, h } from "../dom.ts";
import { icon } from "../icons.ts";
import { toast } from "../toast.ts";

const COMMAND = "tidewire ingest docs/";
const SETTINGS = '[sources.handbook]\nkind = "folder"\npath = "/srv/handbook"';

export function welcome(choose: () => void): HTMLElement {
  return h(
    "section",
    { class: "welcome", "aria-label": "Welcome" },
    h("span", { class: "mark-image large", "aria-hidden": "true" }),
    h("p", { class: "headline" }, "Nothing is indexed yet."),
    h("p", { class: "lead" }, "Answers quote your documents, and say how old they are. Bring some in: Markdown, HTML, PDF, Word, plain text, source code, JSON lines or CSV."),
    h(
      "ul",
      { class: "ways" },
      h("li", {}, h("h2", {}, "Drop them here"), h("p", {}, "Files or whole folders, anywhere on this page."), h("button", { type: "button", class: "primary", onclick: choose }, icon("upload"), "Choose files")),
      h("li", {}, h("h2", {}, "By command"), h("p", {}, "A folder, a file or an address; again, and only what changed is done."), snippet(COMMAND)),
      h("li", {}, h("h2", {}, "From a source"), h("p", {}, "Folders, pages and feeds that the server follows, or a webhook."), snippet(SETTINGS)),
    ),
  );
}

function snippet(text: string): HTMLElement {
  const button = h("button", { type: "button", class: "quiet small", "aria-label": "Copy", onclick: () => void copy(text).then((copied) => toast(copied ? "Copied." : "Copying is not allowed here.")) }, icon("copy"));
  return h("div", { class: "snippet" }, h("pre", {}, text), button);
}
