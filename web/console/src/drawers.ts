// The two side panels: columns where there is room, drawers over the page where there is not.

import { byId } from "./dom.ts";

type Side = "history" | "inspector";
const OPEN = "tidewire.inspector";
/** The documents page has one of the two. */
const SIDES = (["history", "inspector"] as const).filter((side) => document.getElementById(side));
const WIDE = { history: matchMedia("(min-width: 860px)"), inspector: matchMedia("(min-width: 1180px)") };

export class Drawers {
  private readonly app = byId("app");
  private readonly open: Record<Side, boolean> = { history: false, inspector: false };

  constructor(private readonly changed: (inspector: boolean) => void) {
    for (const button of document.querySelectorAll<HTMLElement>("[data-drawer]")) {
      button.addEventListener("click", () => this.toggle(button.dataset["drawer"] as Side));
    }
    byId("veil").addEventListener("click", () => this.closeAll());
    for (const side of SIDES) WIDE[side].addEventListener("change", () => this.apply());
    try {
      this.open.inspector = WIDE.inspector.matches && localStorage.getItem(OPEN) === "open";
    } catch {
      // Closed, as at first.
    }
    this.apply();
  }

  toggle(side: Side, open = !this.open[side]): void {
    const before = document.activeElement;
    this.open[side] = open;
    if (open) for (const other of SIDES) if (other !== side && !WIDE[side].matches) this.open[other] = false;
    if (side === "inspector" && WIDE.inspector.matches) {
      try {
        localStorage.setItem(OPEN, open ? "open" : "closed");
      } catch {
        // Holds for this page.
      }
    }
    this.apply();
    if (open && !WIDE[side].matches) byId(side).querySelector<HTMLElement>("button, a")?.focus();
    else if (!open && before && byId(side).contains(before)) document.querySelector<HTMLElement>(`main [data-drawer="${side}"]`)?.focus();
  }

  /** Closes what lies over the page; true where something did. */
  closeAll(): boolean {
    const over = SIDES.filter((side) => this.open[side] && !WIDE[side].matches);
    for (const side of over) this.toggle(side, false);
    return over.length > 0;
  }

  private apply(): void {
    for (const side of SIDES) {
      const visible = side === "history" ? WIDE.history.matches || this.open.history : this.open.inspector;
      this.app.classList.toggle(`with-${side}`, this.open[side]);
      byId(side).inert = !visible;
      for (const button of document.querySelectorAll(`[data-drawer="${side}"]`)) button.setAttribute("aria-expanded", String(visible));
    }
    const over = SIDES.some((side) => this.open[side] && !WIDE[side].matches);
    byId("veil").hidden = !over;
    this.changed(this.open.inspector);
  }
}
