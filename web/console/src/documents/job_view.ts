// Documents that are being indexed again: how far it is, and what was left as it was.

import { byId, h, setText } from "../dom.ts";
import { icon } from "../icons.ts";
import type { Job } from "./api.ts";
import { reason, told } from "./words.ts";

export class JobView {
  private readonly root = byId("job");
  private readonly text = h("p");
  private readonly bar = h("span", { class: "fill measured" });
  private readonly left = h("ul");
  private readonly button: HTMLButtonElement;
  private job: Job | null = null;
  private putAway = 0;
  private looked = false;

  /** ended: a job that ran is over, with a sentence. */
  constructor(
    private readonly stop: () => void,
    private readonly ended: (said: string) => void,
  ) {
    this.button = h("button", { type: "button", class: "plain small", onclick: () => this.press() });
    this.root.append(h("div", { class: "section-head" }, this.text, this.button), h("span", { class: "track", "aria-hidden": "true" }, this.bar), this.left);
  }

  show(job: Job | null): void {
    const running = job?.status === "running";
    // What ended before this page was opened is no news; what ended between two looks is.
    if (!this.looked && job !== null && !running) this.putAway = job.began;
    const over = this.looked && job !== null && !running && (this.job?.began !== job.began || this.job.status === "running");
    this.looked = true;
    this.job = job;
    this.root.hidden = job === null || job.began === this.putAway;
    if (job === null) return;
    setText(this.text, told(job));
    this.bar.style.width = `${job.total ? Math.round((job.done / job.total) * 100) : running ? 0 : 100}%`;
    this.root.dataset["status"] = job.status;
    this.button.replaceChildren(icon(running ? "stop" : "close"), running ? "Stop" : "Close");
    const failed = running ? [] : job.failed;
    this.left.replaceChildren(...failed.map(([name, why]) => h("li", {}, h("b", {}, name), ` ${reason(why)}`)));
    if (over) this.ended(told(job));
  }

  private press(): void {
    if (this.job?.status === "running") return this.stop();
    this.putAway = this.job?.began ?? 0;
    this.root.hidden = true;
  }
}
