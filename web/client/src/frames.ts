// Paint rate: whatever arrives between two frames is handed over in one piece.

export interface FrameClock {
  frame: (run: () => void) => number;
  dropFrame: (id: number) => void;
  timer: (run: () => void, ms: number) => unknown;
  dropTimer: (id: unknown) => void;
}

export const browserFrames: FrameClock = {
  frame: (run) => requestAnimationFrame(run),
  dropFrame: (id) => cancelAnimationFrame(id),
  timer: (run, ms) => setTimeout(run, ms),
  dropTimer: (id) => clearTimeout(id as ReturnType<typeof setTimeout>),
};

/** Collects items and flushes them at most once a frame; a hidden page has no frames, so there a timer flushes. */
export class FrameBatch<T> {
  private items: T[] = [];
  private frame: number | undefined;
  private timer: unknown;

  constructor(
    private readonly flushed: (items: T[]) => void,
    private readonly clock: FrameClock = browserFrames,
    private readonly hiddenMs = 500,
  ) {}

  push(items: readonly T[]): void {
    for (const item of items) this.items.push(item);
    if (this.frame !== undefined || !this.items.length) return;
    this.frame = this.clock.frame(() => this.flush());
    this.timer = this.clock.timer(() => this.flush(), this.hiddenMs);
  }

  /** Hand over now what is waiting. */
  flush(): void {
    if (this.frame === undefined) return;
    this.clock.dropFrame(this.frame);
    this.clock.dropTimer(this.timer);
    this.frame = undefined;
    const items = this.items;
    this.items = [];
    this.flushed(items);
  }
}
