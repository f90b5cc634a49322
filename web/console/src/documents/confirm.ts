// One question before what cannot be taken back.

import { byId } from "../dom.ts";

/** True where it was answered with yes. */
export function confirmed(title: string, note: string, yes: string): Promise<boolean> {
  return new Promise((resolve) => {
    const dialog = byId<HTMLDialogElement>("confirm");
    byId("confirm-title").textContent = title;
    byId("confirm-note").textContent = note;
    byId("confirm-yes").textContent = yes;
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
  });
}
