// node talk.mjs <address> <scenario>: plays one scenario with the real HttpAgent and prints what an app would see, as JSON.
import { HttpAgent } from '@ag-ui/client';

const [address, scenario] = process.argv.slice(2);
const warned = []; // the client warns of whatever it does not know or has to remove
console.warn = said => warned.push(said);
const url = `${address}/agui`;
const FAST = 'sim: tokens=40 ttft_ms=0 interval_ms=0';
const PACED = 'sim: tokens=80 ttft_ms=0 interval_ms=2';
const SLOW = 'sim: tokens=5000 ttft_ms=0 interval_ms=5';

const user = (content, id = 'u1') => ({ id, role: 'user', content });

/** A run, with the events that its subscribers saw. onEvent may act on one of them. */
async function run(agent, parameters = {}, onEvent = () => {}) {
  const events = [];
  let error;
  const done = await agent
    .runAgent(parameters, {
      onEvent: ({ event }) => {
        events.push(event);
        onEvent(event, events);
      },
      onRunFailed: ({ error: e }) => (error = e.message),
    })
    .catch(e => ({ thrown: e.message, status: e.status, payload: e.payload }));
  return { ...done, error, events, kinds: events.map(e => e.type), messages: agent.messages };
}

/** The same agent coming back: it asks for the run that it lost. */
class Returning extends HttpAgent {
  constructor(config) {
    super(config);
    this.lost = config.lost;
  }
  run(input) {
    this.url = `${url}/${this.lost}`;
    return super.run(input);
  }
  requestInit() {
    return { method: 'GET', headers: { accept: 'text/event-stream' }, signal: this.abortController.signal };
  }
}

const scenarios = {
  async streams() {
    const agent = new HttpAgent({ url, threadId: 'thread-1', initialMessages: [user(FAST)] });
    const seen = await run(agent, { runId: 'run-1', forwardedProps: { model: 'simulated' } });
    return { ...seen, events: [seen.events[0], seen.events.at(-1)] };
  },

  async chats() {
    const agent = new HttpAgent({ url, initialMessages: [user('sim: tokens=5 thinking=3 ttft_ms=0 interval_ms=0')] });
    await run(agent);
    agent.addMessage(user(FAST, 'u2'));
    const seen = await run(agent);
    return { roles: agent.messages.map(m => m.role), messages: seen.messages, fresh: seen.newMessages.length };
  },

  async calls() {
    const tools = [{ name: 'weather', description: 'The weather', parameters: { type: 'object' } }];
    const agent = new HttpAgent({ url, initialMessages: [user('sim: tool=weather,tides tokens=6 ttft_ms=0 interval_ms=0')] });
    const first = await run(agent, { tools });
    for (const [n, call] of agent.messages.at(-1).toolCalls.entries())
      agent.addMessage({ id: `t${n}`, role: 'tool', toolCallId: call.id, content: '12' });
    const second = await run(agent, { tools });
    return { outcome: first.events.at(-1).outcome, asked: first.newMessages, roles: agent.messages.map(m => m.role), kinds: second.kinds };
  },

  async fails() {
    const midway = await run(new HttpAgent({ url, initialMessages: [user('sim: tokens=20 fail_after=5 error=cut ttft_ms=0 interval_ms=1')] }));
    const before = await run(new HttpAgent({ url, initialMessages: [user('sim: error=overloaded ttft_ms=0')] }));
    const refused = await run(new HttpAgent({ url, initialMessages: [user(FAST)] }), { forwardedProps: { maxTokens: 0 } });
    return { midway: { ...midway, last: midway.events.at(-1) }, before: before.events.at(-1), refused };
  },

  async stops() {
    const agent = new HttpAgent({ url, headers: { 'x-tidewire-on-disconnect': 'cancel' }, initialMessages: [user(SLOW)] });
    const seen = await run(agent, { runId: 'run-9' }, (event, all) => {
      if (all.length === 12) agent.abortRun();
    });
    let meta;
    do meta = await fetch(`${address}/v1/streams/run-9`).then(r => r.json());
    while (!meta.ended);
    const again = await run(new Returning({ url, lost: 'run-9' }));
    return { kinds: seen.kinds, last: again.events.at(-1) };
  },

  async cancels() {
    const agent = new HttpAgent({ url, initialMessages: [user(SLOW)] });
    const seen = await run(agent, { runId: 'run-8' }, (event, all) => {
      if (all.length === 12) fetch(`${address}/v1/streams/run-8/cancel`, { method: 'POST' });
    });
    return { last: seen.events.at(-1), thrown: seen.thrown };
  },

  async edits() {
    const agent = new HttpAgent({ url, initialMessages: [user('What is Rome?')] });
    const forwardedProps = { model: 'sharp', edits: true };
    const seen = await run(agent, { forwardedProps });
    agent.addMessage(user('Is it old?', 'u2'));
    const again = await run(agent, { forwardedProps });
    return { kinds: seen.kinds, first: agent.messages[1].content, ids: agent.messages.map(m => m.id), last: again.messages.at(-1) };
  },

  async resumes() {
    const agent = new HttpAgent({ url, threadId: 'thread-7', initialMessages: [user(PACED)] });
    const before = await run(agent, { runId: 'run-7' }, (event, all) => {
      if (all.length === 10) agent.abortRun();
    });
    const again = await run(new Returning({ url, lost: 'run-7' }));
    const behind = async after => (await fetch(`${url}/run-7?after=${after}`)).text();
    const whole = await behind(0);
    const tail = await behind(10);
    const count = whole.match(/^id: /gm).length;
    const end = await fetch(`${url}/run-7?after=${count}`);
    const ahead = await fetch(`${url}/run-7?after=${count + 1}`);
    return { before: before.kinds, kinds: again.kinds, messages: again.messages, joined: whole.endsWith(tail), end: end.status, ahead: ahead.status, missing: (await fetch(`${url}/never`)).status };
  },
};

console.log(JSON.stringify(await scenarios[scenario]()));
for (const said of warned) console.error(said);
process.exit(warned.length ? 1 : 0);
