// Files on their way into the server: a few at once, each with its progress and what became of it.

import { type ErrorInfo, TidewireError, errorOf, unreachable } from "@tidewire/client";
import { byId, h, setText } from "../dom.ts";
import { infoOf } from "../errors.ts";
import { count } from "../format.ts";
import { icon } from "../icons.ts";
import { askForKey, headers } from "../keyring.ts";
import { type Done, type Trouble, place } from "./api.ts";
import type { Given } from "./files.ts";
import { became, bytes, reason } from "./words.ts";

const AT_ONCE = 3;

interface Upload extends Given {
  terms: Record<string, string>;
  state: "waiting" | "sending" | "done" | "failed";
  row: HTMLElement;
  bar: HTMLElement;
  said: HTMLElement;
}

export class Uploads {
  private readonly root = byId("uploads");
  private readonly list = h("ol", { class: "uploads" });
  private readonly head = h("h2");
  private uploads: Upload[] = [];
  private sending = 0;

  /** largest: bytes that the server takes. changed: after each file; ended: once none is left, with a sentence. */
  constructor(
    private readonly largest: () => number,
    private readonly changed: () => void,
    private readonly ended: (said: string) => void,
  ) {
    const close = h("button", { type: "button", class: "quiet small", "aria-label": "Put this list away", onclick: () => this.clear() }, icon("close"));
    this.root.append(h("div", { class: "section-head" }, this.head, close), this.list);
  }

  get running(): boolean {
    return this.uploads.some((one) => one.state === "waiting" || one.state === "sending");
  }

  /** terms: what is said of them, as the query of a put. */
  add(given: readonly Given[], terms: Record<string, string>): void {
    for (const one of given) {
      const bar = h("span", { class: "fill measured" });
      const said = h("span", { class: "said" }, "Waiting");
      const row = h("li", {}, h("span", { class: "name" }, one.location), h("span", { class: "size" }, bytes(one.file.size)), h("span", { class: "track", "aria-hidden": "true" }, bar), said);
      const upload: Upload = { ...one, terms, state: "waiting", row, bar, said };
      this.uploads.push(upload);
      this.list.append(row);
      if (one.file.size > this.largest()) {
        this.settle(upload, "failed", `It has ${bytes(one.file.size)}, and ${bytes(this.largest())} is the limit over HTTP. Put it into a folder that the server watches, or use tidewire ingest.`);
      }
    }
    this.root.hidden = !this.uploads.length;
    this.next();
  }

  /** What to do about those that were refused, as the server knows it. */
  advise(troubles: readonly Trouble[]): void {
    for (const upload of this.uploads) {
      const trouble = upload.state === "failed" ? troubles.find((one) => one.source === "" && one.document === upload.location) : undefined;
      if (trouble?.remedy) setText(upload.said, `${reason(trouble.why)} ${trouble.remedy}`);
    }
  }

  private next(): void {
    for (const upload of this.uploads) {
      if (this.sending >= AT_ONCE) break;
      if (upload.state === "waiting") void this.send(upload);
    }
    const done = this.uploads.filter((one) => one.state === "done").length;
    const failed = this.uploads.filter((one) => one.state === "failed").length;
    const left = this.uploads.length - done - failed;
    const said = `${count(done, "document")} added${failed ? `, ${failed} not taken` : ""}`;
    setText(this.head, left ? `Adding documents: ${done + failed} of ${this.uploads.length}` : said);
    if (!left && this.uploads.length) this.ended(`${said}.`);
  }

  private async send(upload: Upload): Promise<void> {
    this.sending += 1;
    upload.state = "sending";
    upload.row.className = "sending";
    setText(upload.said, "Sending");
    try {
      const done = await put(upload, (share) => {
        upload.bar.style.width = `${Math.round(share * 100)}%`;
        if (share === 1) setText(upload.said, "Reading");
      });
      this.settle(upload, "done", became(done));
    } catch (thrown) {
      const { message } = infoOf(thrown);
      this.settle(upload, "failed", reason(message.replace(`${upload.location}: `, "")));
    }
    this.sending -= 1;
    this.changed();
    this.next();
  }

  private settle(upload: Upload, state: "done" | "failed", said: string): void {
    upload.state = state;
    upload.row.className = state;
    upload.bar.style.width = "100%";
    setText(upload.said, said);
  }

  private clear(): void {
    this.uploads = this.uploads.filter((one) => one.state === "waiting" || one.state === "sending");
    this.list.replaceChildren(...this.uploads.map((one) => one.row));
    this.root.hidden = !this.uploads.length;
  }
}

/** Asks for the key where the server wants it. Throws TidewireError. */
async function put(upload: Upload, progressed: (share: number) => void): Promise<Done> {
  for (;;) {
    try {
      return await sent(upload, progressed);
    } catch (thrown) {
      const error: ErrorInfo = infoOf(thrown);
      if (error.status !== 401 || !(await askForKey())) throw thrown;
    }
  }
}

/** fetch tells nothing of what it has sent; XMLHttpRequest does. */
function sent(upload: Upload, progressed: (share: number) => void): Promise<Done> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", place(upload.location, upload.terms));
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    // The server knows a format better by its ending than a browser by its own table; JSON it would take for an envelope.
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.addEventListener("progress", (event) => progressed(event.total ? event.loaded / event.total : 1));
    request.addEventListener("error", () => reject(unreachable()));
    request.addEventListener("load", () => {
      if (request.status < 300) return resolve(JSON.parse(request.responseText) as Done);
      const answer = new Response(request.responseText, { status: request.status, headers: { "content-type": request.getResponseHeader("content-type") ?? "" } });
      void errorOf(answer).then(reject, () => reject(new TidewireError({ code: "upload_failed", message: `the server answered ${request.status}`, status: request.status })));
    });
    request.send(upload.file);
  });
}
