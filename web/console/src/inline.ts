// Inline Markdown as flat runs of text. Pure: no DOM, and every character stays text whatever it is.

export interface Run {
  /** Where the run's text lies in the block's source. */
  start: number;
  end: number;
  text: string;
  bold?: true;
  italic?: true;
  code?: true;
  href?: string;
}

const SPECIAL = /[*_`[\\]|https?:\/\//g;
const BARE_URL = /^https?:\/\/[^\s<>"'`]+[^\s<>"'`.,;:!?)\]}*_]/;
const LINK = /^\[([^\]\n]{1,500})\]\((\S{1,2000}?)(?:\s+"[^"\n]*")?\)/;

/** A link that may be followed, or undefined: http and https only. */
export function safeUrl(text: string | undefined): string | undefined {
  if (!text || !/^https?:\/\//i.test(text)) return undefined;
  try {
    return new URL(text).href;
  } catch {
    return undefined;
  }
}

/** The runs of a block's text. growing: more may come, so an opener without its closer already counts. */
export function inline(text: string, growing = false): Run[] {
  const runs: Run[] = [];
  const active = new Set<string>(); // emphasis now open
  let at = 0;
  let from = 0;
  const style = (): Partial<Run> => ({
    ...(active.has("**") && { bold: true as const }),
    ...(active.has("*") && { italic: true as const }),
  });
  const put = (start: number, end: number, more: Partial<Run> = {}): void => {
    if (end <= start) return;
    const last = runs.at(-1);
    const run: Run = { start, end, text: text.slice(start, end), ...style(), ...more };
    if (last && last.end === start && same(last, run)) {
      last.text += run.text;
      last.end = end;
    } else runs.push(run);
  };
  const step = (to: number): void => {
    from = at = to;
  };
  while (at < text.length) {
    SPECIAL.lastIndex = at;
    const found = SPECIAL.exec(text);
    if (!found) break;
    at = found.index;
    const mark = found[0];
    if (mark === "\\") {
      if (/[\\`*_[\]()#+\-.!>|~{}]/.test(text[at + 1] ?? "")) {
        put(from, at);
        put(at + 1, at + 2);
        step(at + 2);
      } else at += 1;
    } else if (mark === "`") {
      const ticks = /^`+/.exec(text.slice(at, at + 32))?.[0] ?? "`";
      let close = closing(text, at + ticks.length, ticks);
      if (close < 0 && growing && text.length > at + ticks.length) close = text.length;
      if (close < 0) at += ticks.length;
      else {
        put(from, at);
        put(at + ticks.length, close, { code: true });
        step(Math.min(text.length, close + ticks.length));
      }
    } else if (mark === "[") {
      const link = LINK.exec(text.slice(at, at + 3000));
      const href = safeUrl(link?.[2]);
      if (link && href) {
        put(from, at);
        const label = link[1] ?? "";
        put(at + 1, at + 1 + label.length, { href });
        step(at + link[0].length);
      } else at += 1;
    } else if (mark.startsWith("http")) {
      const url = /[\p{L}\p{N}]/u.test(text[at - 1] ?? "") ? undefined : BARE_URL.exec(text.slice(at, at + 2000))?.[0];
      const href = safeUrl(url);
      if (url && href) {
        put(from, at);
        put(at, at + url.length, { href });
        step(at + url.length);
      } else at += mark.length;
    } else {
      const double = text[at + 1] === mark;
      const token = mark + (double ? mark : "");
      const kind = double ? "**" : "*";
      const before = text[at - 1] ?? " ";
      const after = text[at + token.length] ?? " ";
      const word = mark === "_" && /\w/.test(before) && /\w/.test(after); // snake_case is no emphasis
      const opens = !active.has(kind) && /\S/.test(after) && !word && !(mark === "_" && /\w/.test(before));
      const closes = active.has(kind) && /\S/.test(before) && !word;
      if (closes || (opens && (growing || ahead(text, at + token.length, token)))) {
        put(from, at);
        if (closes) active.delete(kind);
        else active.add(kind);
        step(at + token.length);
      } else at += token.length;
    }
  }
  put(from, text.length);
  return runs;
}

function same(a: Run, b: Run): boolean {
  return a.bold === b.bold && a.italic === b.italic && a.code === b.code && a.href === b.href;
}

/** Where exactly these ticks stand next, or -1. */
function closing(text: string, from: number, ticks: string): number {
  for (let at = text.indexOf(ticks, from); at >= 0; ) {
    let end = at + ticks.length;
    while (text[end] === "`") end += 1;
    if (end - at === ticks.length) return at;
    at = text.indexOf(ticks, end);
  }
  return -1;
}

/** Whether the token stands again where it could close. */
function ahead(text: string, from: number, token: string): boolean {
  for (let at = text.indexOf(token, from); at >= 0; at = text.indexOf(token, at + token.length)) {
    if (token.length === 1 && (text[at + 1] === token || text[at - 1] === token)) continue;
    if (at > from && /\S/.test(text[at - 1] ?? " ")) return true;
  }
  return false;
}
