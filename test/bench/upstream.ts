/**
 * Two servers that do nothing: an echo, whose rate is what HTTP alone allows, and a model that answers
 * every call after a fixed time with the same words. A process of its own; it says where both listen.
 */
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** Milliseconds until the model's first byte, and between two events of a stream. */
const FIRST_MS = 20;
const EVENT_MS = 2;
const EVENTS = 20;

const ANSWER = Buffer.from(
  JSON.stringify({
    id: 'chatcmpl-bench',
    object: 'chat.completion',
    model: 'gpt-4o-mini-2024-07-18',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'Well. '.repeat(60) },
        finish_reason: 'stop',
      },
    ],
    usage: { prompt_tokens: 180, completion_tokens: 120, total_tokens: 300 },
  }),
);

function event(delta: object, finish: string | null): string {
  const choices = [{ index: 0, delta, finish_reason: finish }];
  const chunk = {
    id: 'chatcmpl-bench',
    object: 'chat.completion.chunk',
    model: 'gpt-4o-mini',
    choices,
  };
  return `data: ${JSON.stringify(chunk)}\n\n`;
}

/** What held streams wait for. */
let released = Promise.withResolvers<void>();

const model: RequestListener = (req, res) => {
  const parts: Buffer[] = [];
  req.on('data', (part: Buffer) => parts.push(part));
  req.on('end', () => {
    if (req.url === '/release') {
      released.resolve();
      released = Promise.withResolvers();
      res.end();
      return;
    }
    const body = Buffer.concat(parts);
    const stream = body.includes('"stream":true');
    const isHeld = body.includes('"hold":true');
    void (async () => {
      await delay(FIRST_MS);
      if (!stream) {
        res.setHeader('content-type', 'application/json');
        res.setHeader('content-length', ANSWER.length);
        res.end(ANSWER);
        return;
      }
      res.setHeader('content-type', 'text/event-stream');
      for (let i = 0; i < EVENTS; i++) {
        if (i === 1 && isHeld) await released.promise;
        if (i > 0) await delay(EVENT_MS);
        res.write(event({ content: 'Well. ' }, null));
      }
      res.end(`${event({}, 'stop')}data: [DONE]\n\n`);
    })();
  });
};

const echo: RequestListener = (req, res) => {
  const parts: Buffer[] = [];
  req.on('data', (part: Buffer) => parts.push(part));
  req.on('end', () => {
    res.setHeader('content-type', 'application/octet-stream');
    res.end(parts.length === 1 ? parts[0] : Buffer.concat(parts));
  });
};

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer({ noDelay: true, keepAliveTimeout: 65_000 }, listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

process.send?.({ model: await serve(model), echo: await serve(echo) });
process.on('disconnect', () => process.exit(0));
