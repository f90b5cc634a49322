// Light or dark: the system's choice, unless the button was used. Runs before the first paint, from the head of the page.

const NAME = "tidewire.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function chosen(): string | null {
  try {
    return localStorage.getItem(NAME);
  } catch {
    return null;
  }
}

export function isDark(): boolean {
  const theme = document.documentElement.dataset["theme"];
  return theme ? theme === "dark" : system.matches;
}

function apply(theme: string | null): void {
  if (theme === "dark" || theme === "light") document.documentElement.dataset["theme"] = theme;
  else delete document.documentElement.dataset["theme"];
}

export function applyTheme(): void {
  apply(chosen());
}

/** The other one of the two. Choosing what the system has gives the choice back to the system. */
export function toggleTheme(): void {
  const dark = !isDark();
  const theme = dark === system.matches ? null : dark ? "dark" : "light";
  apply(theme);
  try {
    if (theme) localStorage.setItem(NAME, theme);
    else localStorage.removeItem(NAME);
  } catch {
    // Holds for this page.
  }
}

export function onThemeChange(run: () => void): void {
  system.addEventListener("change", run);
}
