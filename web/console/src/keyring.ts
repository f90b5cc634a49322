// The API key: kept for this tab alone, asked for when the server wants one.

import { byId } from "./dom.ts";

const NAME = "tidewire.key";
let key: string | undefined;
try {
  key = sessionStorage.getItem(NAME) ?? undefined;
} catch {
  // Storage is switched off: the key lives as long as the page.
}

export function headers(): Record<string, string> {
  return key ? { authorization: `Bearer ${key}` } : {};
}

let asking: Promise<boolean> | undefined;

/** Asks for the key; true once one was entered. Several callers share one question. */
export function askForKey(): Promise<boolean> {
  asking ??= new Promise<boolean>((resolve) => {
    const dialog = byId<HTMLDialogElement>("key-dialog");
    const field = byId<HTMLInputElement>("key-field");
    byId("key-note").textContent = key ? "The key that this tab has was refused." : "This server answers only with its API key.";
    field.value = "";
    dialog.returnValue = "";
    dialog.addEventListener(
      "close",
      () => {
        asking = undefined;
        const entered = dialog.returnValue === "use" ? field.value.trim() : "";
        if (entered) remember(entered);
        resolve(entered !== "");
      },
      { once: true },
    );
    dialog.showModal();
    field.focus();
  });
  return asking;
}

function remember(entered: string): void {
  key = entered;
  try {
    sessionStorage.setItem(NAME, entered);
  } catch {
    // As above.
  }
}
