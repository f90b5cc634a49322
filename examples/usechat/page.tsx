'use client';

import { useChat } from '@ai-sdk/react';
import { DefaultChatTransport } from 'ai';
import { useState } from 'react';

const server = 'http://127.0.0.1:8400';
const transport = new DefaultChatTransport({ api: `${server}/api/chat`, body: { model: 'extractive' } });

export default function Page() {
  const [question, setQuestion] = useState('');
  const { id, messages, sendMessage, status, stop } = useChat({ id: 'chat-1', resume: true, transport });

  async function halt() {
    await fetch(`${server}/api/chat/${id}/stop`, { method: 'POST' });
    await stop();
  }

  return (
    <main>
      {messages.map((message) => (
        <p key={message.id}>
          <b>{message.role}</b> {message.parts.map((part) => (part.type === 'text' ? part.text : '')).join('')}
        </p>
      ))}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void sendMessage({ text: question });
          setQuestion('');
        }}
      >
        <input value={question} onChange={(event) => setQuestion(event.target.value)} />
        {status === 'streaming' ? <button type="button" onClick={halt}>Stop</button> : <button>Ask</button>}
      </form>
    </main>
  );
}
