// Server-Sent Events from bytes, however they are cut. After the WHATWG HTML standard, section 9.2.

export interface Frame {
  event: string;
  data: string;
  id: string;
}

/** Reads a byte stream as SSE: feed(bytes) gives the frames that these bytes complete. */
export class SseDecoder {
  /** The server's last `retry:` value in milliseconds, where it sent one. */
  retry: number | undefined;
  private readonly utf8 = new TextDecoder("utf-8");
  private rest = "";
  private cut = false; // the last character was CR: a LF that follows belongs to it
  private data: string[] = [];
  private event = "";
  private id = "";

  feed(bytes: Uint8Array): Frame[] {
    let text = this.utf8.decode(bytes, { stream: true }); // also swallows a byte order mark
    if (!text) return [];
    if (this.cut && text.startsWith("\n")) text = text.slice(1);
    this.cut = text.endsWith("\r");
    if (text.includes("\r")) text = text.replace(/\r\n?/g, "\n");
    const lines = text.split("\n");
    lines[0] = this.rest + lines[0];
    this.rest = lines.pop() ?? "";
    const frames: Frame[] = [];
    for (const line of lines) this.line(line, frames);
    return frames;
  }

  private line(line: string, frames: Frame[]): void {
    if (!line) {
      if (this.data.length) frames.push({ event: this.event, data: this.data.join("\n"), id: this.id });
      this.data = [];
      this.event = "";
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "data") this.data.push(value);
    else if (field === "event") this.event = value;
    else if (field === "id") this.id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }
}
