// The protocol counts characters as Unicode code points, the page as UTF-16 units.

/** Turns code point offsets of a growing text into UTF-16 offsets; looks at each character once. */
export class CodePoints {
  private astral: number[] = []; // code point offsets of characters that take two units
  private read = 0;
  private points = 0;

  grow(text: string): void {
    for (; this.read < text.length; this.points++) {
      const wide = (text.codePointAt(this.read) ?? 0) > 0xffff;
      if (wide) this.astral.push(this.points);
      this.read += wide ? 2 : 1;
    }
  }

  get length(): number {
    return this.points;
  }

  utf16(point: number): number {
    let extra = 0;
    while (extra < this.astral.length && (this.astral[extra] ?? 0) < point) extra += 1;
    return point + extra;
  }
}
