// How long to wait before the next try.

/** Milliseconds before try number `attempt` (from 1): `first` doubled each time up to `limit`, of which a random half is taken off. */
export function backoff(attempt: number, first: number, limit: number, random: () => number): number {
  const full = Math.min(limit, first * 2 ** Math.min(attempt - 1, 30));
  return full * (0.5 + random() / 2);
}
