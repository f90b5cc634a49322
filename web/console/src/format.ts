// Figures as people read them.

export function duration(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

export function rate(perSecond: number): string {
  return `${perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString("en")} tokens/s`;
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

const STEPS: [number, string][] = [
  [60, "second"],
  [3600, "minute"],
  [86_400, "hour"],
  [86_400 * 30, "day"],
  [86_400 * 365, "month"],
  [Number.POSITIVE_INFINITY, "year"],
];

/** Seconds as a rough age: "3 days". */
export function age(seconds: number): string {
  let unit = 1;
  for (const [limit, name] of STEPS) {
    if (seconds < limit) return count(Math.max(1, Math.floor(seconds / unit)), name);
    unit = limit;
  }
  return "";
}

/** Unix milliseconds as a place in the recent past, short enough for a list. */
export function ago(then: number, now: number): string {
  const seconds = Math.max(0, (now - then) / 1000);
  return seconds < 45 ? "just now" : `${age(seconds)} ago`;
}
