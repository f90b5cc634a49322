// The button that changes between light and dark.

import { byId } from "./dom.ts";
import { icon } from "./icons.ts";
import { isDark, onThemeChange, toggleTheme } from "./theme.ts";

export function themeButton(): void {
  const button = byId("theme");
  const dress = (): void => {
    const label = isDark() ? "Use light colours" : "Use dark colours";
    button.replaceChildren(icon(isDark() ? "sun" : "moon"));
    button.setAttribute("aria-label", label);
    button.title = label;
  };
  button.addEventListener("click", () => {
    toggleTheme();
    dress();
  });
  onThemeChange(dress);
  dress();
}
