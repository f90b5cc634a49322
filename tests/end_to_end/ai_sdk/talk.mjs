// node talk.mjs <address> <scenario> [host]: plays one scenario with the real transports and prints what a user would see, as JSON.
import { WorkflowChatTransport } from '@ai-sdk/workflow/client';
import { AbstractChat, DefaultChatTransport, lastAssistantMessageIsCompleteWithToolCalls, readUIMessageStream } from 'ai';

const [address, scenario, host] = process.argv.slice(2);
const api = `${address}/api/chat`;
const FAST = 'sim: tokens=40 ttft_ms=0 interval_ms=0';
const PACED = 'sim: tokens=80 ttft_ms=0 interval_ms=2';
const SLOW = 'sim: tokens=5000 ttft_ms=0 interval_ms=5';

const ask = (text, chatId = 'chat-1') => ({
  chatId,
  trigger: 'submit-message',
  messageId: undefined,
  messages: [{ id: 'u1', role: 'user', parts: [{ type: 'text', text }] }],
});

async function collect(stream, onChunk = () => {}) {
  const chunks = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
    await onChunk(chunk, chunks);
  }
  return chunks;
}

async function message(chunks) {
  let last;
  const stream = new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
  for await (const seen of readUIMessageStream({ stream, onError: () => {} })) last = seen;
  return last;
}

const said = chunks => chunks.filter(c => c.type === 'text-delta').map(c => c.delta).join('');
const kinds = chunks => chunks.map(c => c.type);
const stop = id => fetch(`${api}/${id}/stop`, { method: 'POST' }).then(r => r.json());

/** What useChat keeps, without React. */
class Chat extends AbstractChat {
  constructor(init) {
    super({
      ...init,
      state: {
        status: 'ready',
        error: undefined,
        messages: init.messages ?? [],
        pushMessage(m) { this.messages = [...this.messages, m]; },
        popMessage() { this.messages = this.messages.slice(0, -1); },
        replaceMessage(i, m) { this.messages = this.messages.with(i, m); },
        snapshot: structuredClone,
      },
    });
  }
}

/** A fetch that counts, notes addresses, and breaks the body of chosen answers after some bytes. */
function faulty(cuts = {}) {
  const calls = [];
  const fake = async (url, init) => {
    const n = calls.push({ url: String(url).replace(address, ''), method: init?.method ?? 'GET' });
    const response = await fetch(url, init);
    const limit = cuts[n];
    if (limit === undefined || response.body === null) return response;
    let bytes = 0;
    const body = response.body.pipeThrough(
      new TransformStream({
        transform(piece, controller) {
          bytes += piece.length;
          if (bytes > limit) controller.error(new Error('the network broke'));
          else controller.enqueue(piece);
        },
      }),
    );
    return new Response(body, { status: response.status, headers: response.headers });
  };
  return { calls, fetch: fake };
}

const scenarios = {
  async streams() {
    const transport = new DefaultChatTransport({ api });
    const chunks = await collect(await transport.sendMessages(ask(FAST)));
    return { kinds: kinds(chunks), said: said(chunks), message: await message(chunks) };
  },

  async chats() {
    const data = [];
    let finished;
    const chat = new Chat({
      id: 'chat-2',
      transport: new DefaultChatTransport({ api }),
      onData: part => data.push(part),
      onFinish: f => (finished = { finishReason: f.finishReason, isAbort: f.isAbort, isError: f.isError }),
    });
    await chat.sendMessage({ text: `sim: tokens=5 thinking=3 ttft_ms=0 interval_ms=0` });
    await chat.sendMessage({ text: FAST });
    return { messages: chat.messages, status: chat.status, data, finished };
  },

  async resumes() {
    const chatId = 'chat-3';
    const first = new AbortController();
    const transport = new DefaultChatTransport({ api });
    const stream = await transport.sendMessages({ ...ask('Half of it first', chatId), abortSignal: first.signal });
    const before = await collect(stream, (_, all) => { if (all.length === 10) first.abort(); }).catch(e => e.name);
    const again = await transport.reconnectToStream({ chatId });
    await fetch(`${host}/go`); // the answer goes on to its end
    const chunks = await collect(again);
    return { before, said: said(chunks), kinds: kinds(chunks), nothing: await transport.reconnectToStream({ chatId }) };
  },

  async survives() {
    const net = faulty({ 1: 2500, 2: 1500 });
    const ends = [];
    const transport = new WorkflowChatTransport({ api, fetch: net.fetch, onChatEnd: e => ends.push(e) });
    const chunks = await collect(await transport.sendMessages(ask(PACED)));
    return { calls: net.calls, said: said(chunks), kinds: kinds(chunks), ends };
  },

  async tail() {
    let run;
    const net = faulty();
    const first = new WorkflowChatTransport({
      api,
      fetch: net.fetch,
      onChatSendMessage: r => (run = r.headers.get('x-workflow-run-id')),
    });
    const chunks = await collect(await first.sendMessages(ask(FAST)));
    const second = new WorkflowChatTransport({ api, initialStartIndex: -4 });
    const last = await collect(await second.reconnectToStream({ chatId: run }));
    return { all: kinds(chunks), last: kinds(last), posts: net.calls.length };
  },

  async stops() {
    const net = faulty();
    let run;
    const transport = new WorkflowChatTransport({
      api,
      fetch: net.fetch,
      onChatSendMessage: r => (run = r.headers.get('x-workflow-run-id')),
    });
    let answer;
    const chunks = await collect(await transport.sendMessages(ask(SLOW)), async (_, all) => {
      if (all.length === 12) answer = await stop(run);
    });
    return { kinds: kinds(chunks).slice(-3), calls: net.calls.length, answer, again: await stop(run) };
  },

  async calls() {
    const chat = new Chat({
      id: 'chat-4',
      transport: new DefaultChatTransport({ api, body: { tools: [{ name: 'weather', inputSchema: { type: 'object' } }] } }),
      sendAutomaticallyWhen: ({ messages }) => messages.at(-1).parts.at(-1)?.state === 'output-available',
      onToolCall: ({ toolCall }) => {
        chat.addToolOutput({ tool: toolCall.toolName, toolCallId: toolCall.toolCallId, output: { celsius: 12 } });
      },
    });
    await chat.sendMessage({ text: 'sim: tool=weather tokens=6 ttft_ms=0 interval_ms=0' });
    while (chat.status !== 'ready') await new Promise(r => setTimeout(r, 2));
    return { messages: chat.messages };
  },

  async served() {
    let asked = 0;
    const chat = new Chat({
      id: 'chat-6',
      transport: new DefaultChatTransport({ api }),
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
      onToolCall: () => { asked += 1; },
    });
    await chat.sendMessage({ text: 'sim: tool=weather tokens=6 ttft_ms=0 interval_ms=0' });
    await chat.sendMessage({ text: FAST });
    return { messages: chat.messages, asked, error: chat.error?.message ?? null };
  },

  async fails() {
    const chat = new Chat({ id: 'chat-5', transport: new DefaultChatTransport({ api }), onError: () => {} });
    await chat.sendMessage({ text: 'sim: tokens=20 fail_after=5 error=cut ttft_ms=0 interval_ms=1' });
    const midway = { status: chat.status, error: chat.error.message, parts: chat.messages.at(-1).parts };
    const refused = new Chat({ id: 'bad id', transport: new DefaultChatTransport({ api }), onError: () => {} });
    await refused.sendMessage({ text: FAST });
    return { midway, refused: { status: refused.status, error: refused.error.message } };
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
process.exit(0);
