// What this browser remembers of the questions it asked: the server keeps the answers. Shared by all tabs.

export interface Asked {
  stream: string;
  chat: string;
  question: string;
  model: string;
  /** Unix milliseconds. */
  created: number;
  /** How it ended, once this browser has seen the end. */
  ended?: string;
  /** Time to the first text in ms as this browser saw it. */
  ttft?: number;
}

const NAME = "tidewire.asked";
const KEPT = 300;
let fallback: Asked[] = []; // where storage is switched off

export function all(): Asked[] {
  try {
    const raw = localStorage.getItem(NAME);
    const value: unknown = raw === null ? fallback : JSON.parse(raw);
    return Array.isArray(value) ? value.filter(isAsked) : [];
  } catch {
    return fallback;
  }
}

function isAsked(value: unknown): value is Asked {
  const asked = value as Partial<Asked> | null;
  return typeof asked?.stream === "string" && typeof asked.chat === "string" && typeof asked.question === "string";
}

function store(list: Asked[]): void {
  fallback = list.slice(-KEPT);
  for (let kept = fallback; ; kept = kept.slice(Math.ceil(kept.length / 2))) {
    try {
      localStorage.setItem(NAME, JSON.stringify(kept));
      return;
    } catch {
      if (kept.length <= 1) return; // full or switched off: memory of this page alone
    }
  }
}

export function find(stream: string): Asked | undefined {
  return all().find((asked) => asked.stream === stream);
}

export function ofChat(chat: string): Asked[] {
  return all().filter((asked) => asked.chat === chat);
}

export function remember(asked: Asked): void {
  store([...all().filter((other) => other.stream !== asked.stream), asked]);
}

export function amend(stream: string, more: Partial<Asked>): void {
  const list = all();
  const asked = list.find((one) => one.stream === stream);
  if (!asked) return;
  Object.assign(asked, more);
  store(list);
}

export function forget(streams: ReadonlySet<string>): void {
  store(all().filter((asked) => !streams.has(asked.stream)));
}

/** The newest question whose answer had not ended when this browser last looked. */
export function running(): Asked | undefined {
  const day = 86_400_000; // an older one has surely ended: nobody wants to be taken back to it
  return all().findLast((asked) => !asked.ended && Date.now() - asked.created < day);
}
