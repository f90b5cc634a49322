// The page follows the answer downwards until the reader scrolls away from its end.

import { byId } from "./dom.ts";

/** Pixels from the end that still count as being there. */
const NEAR = 64;

export class Scrolling {
  private readonly area = byId("scroll");
  private readonly jump = byId<HTMLButtonElement>("jump");
  private following = true;
  private top = 0;

  constructor() {
    this.area.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.jump.addEventListener("click", () => this.toEnd());
  }

  /** After new content: one write, no reading back. */
  grew(): void {
    if (this.following) this.area.scrollTop = this.area.scrollHeight;
    else this.jump.hidden = false;
  }

  /** After something beside the content has taken or given room. */
  settle(): void {
    if (this.following) this.area.scrollTop = this.area.scrollHeight;
  }

  toEnd(): void {
    this.following = true;
    this.jump.hidden = true;
    this.area.scrollTop = this.area.scrollHeight;
  }

  private scrolled(): void {
    const { scrollTop, clientHeight, scrollHeight } = this.area;
    const near = scrollTop + clientHeight >= scrollHeight - NEAR;
    if (near) this.jump.hidden = this.following = true;
    else if (scrollTop < this.top) this.following = false; // upwards: only a person does that
    this.top = scrollTop;
  }
}
