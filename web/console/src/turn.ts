// One question and its answer as it stands: reads the stream, keeps what the panels show, and tells of changes once a frame.

import {
  type Answer,
  type Connection,
  EMPTY,
  FrameBatch,
  type StartRequest,
  type StreamEvent,
  StreamReader,
  cancel,
  fold,
} from "@tidewire/client";
import { headers } from "./keyring.ts";

/** Events that the inspector can still show. */
export const LOGGED = 200;

export interface TurnInit {
  stream: string;
  chat: string;
  question: string;
  model: string;
  /** Unix milliseconds. */
  created: number;
  ttft?: number;
}

export class Turn {
  readonly stream: string;
  readonly chat: string;
  readonly question: string;
  model: string;
  readonly created: number;
  answer: Answer = EMPTY;
  connection: Connection = { state: "connecting" };
  /** The last events, newest last. */
  readonly log: StreamEvent[] = [];
  /** `at` of each text and thinking delta. */
  readonly beats: number[] = [];
  /** Time to the first text in ms as this page saw it. */
  ttft: number | undefined;
  reconnects = 0;
  stopping = false;
  private readonly reader: StreamReader;
  private readonly batch: FrameBatch<StreamEvent>;
  private asked: number | undefined;

  constructor(
    init: TurnInit,
    private readonly changed: (turn: Turn, events: StreamEvent[]) => void,
    request?: StartRequest,
  ) {
    this.stream = init.stream;
    this.chat = init.chat;
    this.question = init.question;
    this.model = init.model;
    this.created = init.created;
    this.ttft = init.ttft;
    this.batch = new FrameBatch((events) => this.take(events));
    const options = {
      headers,
      onEvents: (events: StreamEvent[]) => this.arrived(events),
      onConnection: (connection: Connection) => this.connected(connection),
    };
    this.reader = new StreamReader(init.stream, options, request);
    if (request) this.asked = performance.now();
  }

  get running(): boolean {
    return !this.answer.closed && this.connection.state !== "refused";
  }

  read(): Promise<void> {
    return this.reader.run();
  }

  release(): void {
    this.reader.release();
  }

  nudge(): void {
    this.reader.nudge();
  }

  async stop(): Promise<void> {
    if (!this.running || this.stopping) return;
    this.stopping = true;
    this.changed(this, []);
    try {
      await cancel(this.stream, { headers });
    } finally {
      this.stopping = false;
      this.changed(this, []);
    }
  }

  private arrived(events: StreamEvent[]): void {
    if (this.asked !== undefined && events.some((event) => event.type === "delta")) {
      // Before the fold, because the fold waits for a frame.
      const first = fold(this.answer, events).firstText;
      if (first !== undefined) {
        this.ttft = performance.now() - this.asked;
        this.asked = undefined;
      }
    }
    this.batch.push(events);
  }

  private take(events: StreamEvent[]): void {
    this.answer = fold(this.answer, events);
    for (const event of events) {
      this.log.push(event);
      if (event.type === "delta") this.beats.push(event.at);
      if (event.type === "opened") this.model = event.model;
    }
    if (this.log.length > LOGGED) this.log.splice(0, this.log.length - LOGGED);
    this.changed(this, events);
  }

  private connected(connection: Connection): void {
    if (connection.state === "live" && this.connection.state !== "connecting") this.reconnects += 1;
    this.connection = connection;
    if (connection.state === "refused") this.batch.flush(); // what came before the refusal is painted before it
    this.changed(this, []);
  }
}
