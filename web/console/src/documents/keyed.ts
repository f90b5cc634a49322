// A list that changes without flicker: what is the same stays the element it was, so that focus, selection and scrolling stay.

interface Row {
  element: HTMLElement;
  said: string;
}

const FOCUSABLE = "a, button, input, summary";

export class Keyed<T> {
  private readonly rows = new Map<string, Row>();

  constructor(
    private readonly parent: HTMLElement,
    private readonly key: (item: T) => string,
    private readonly make: (item: T) => HTMLElement,
  ) {}

  show(items: readonly T[]): void {
    const wanted = new Set(items.map(this.key));
    for (const [key, row] of this.rows) {
      if (wanted.has(key)) continue;
      row.element.remove();
      this.rows.delete(key);
    }
    items.forEach((item, n) => {
      const element = this.element(item);
      const there = this.parent.children[n];
      if (there !== element) this.parent.insertBefore(element, there ?? null);
    });
  }

  private element(item: T): HTMLElement {
    const key = this.key(item);
    const said = JSON.stringify(item);
    const before = this.rows.get(key);
    if (before?.said === said) return before.element;
    const element = this.make(item);
    this.rows.set(key, { element, said });
    if (before) {
      const at = [...before.element.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement ?? before.element);
      before.element.replaceWith(element);
      if (at >= 0) element.querySelectorAll<HTMLElement>(FOCUSABLE)[at]?.focus();
    }
    return element;
  }
}
