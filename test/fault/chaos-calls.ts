/**
 * A crowd of calls through a proxy that may die at any moment.
 *
 * A call is made until an attempt of it came to the end that it was meant for. Each attempt has a name of its own, which
 * its record has in clear, so that the log alone says which attempts it knows. An attempt that no connection
 * took never was.
 */
import { Agent, type ClientRequest, request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { ATTEMPT_HEADER, type ChaosProvider, FATE_HEADER, type Fate } from './chaos-provider.ts';
import type { Random } from './random.ts';

export interface Attempt {
  readonly name: string;
  readonly fate: Fate;
  /** Ended as it was meant to: no other attempt of its call was made. */
  readonly isLast: boolean;
  /** The client has the whole answer, and its connection ended well. */
  readonly isWhole: boolean;
  readonly status: number;
  readonly recordId: string | undefined;
}

export interface Crowd {
  readonly calls: number;
  readonly clients: number;
  readonly random: Random;
  readonly provider: ChaosProvider;
  /** Where the proxy is now. */
  readonly proxy: () => string;
  /** Told of each call that is over; the client's next one waits for the promise. */
  readonly over: (done: number) => Promise<void>;
}

/** Calls in a hundred that the provider fails, and that their clients leave. */
const ERRORS = 0.01;
const ABORTS = 0.01;

/** Pause before a proxy that is not there is tried again, in milliseconds. */
const AGAIN_MS = 50;

/** Attempts at one call beyond which something else is wrong. */
const ATTEMPTS_MAX = 500;

/** Makes all calls and returns every attempt that a connection took. */
export async function makeCalls(crowd: Crowd): Promise<Attempt[]> {
  const attempts: Attempt[] = [];
  const agent = new Agent({ keepAlive: true, maxSockets: crowd.clients });
  const fates = Array.from({ length: crowd.calls }, () => fateOf(crowd.random));
  let next = 0;
  let done = 0;
  const client = async (): Promise<void> => {
    for (let call = next++; call < crowd.calls; call = next++) {
      await makeCall(crowd, agent, call, fates[call] as Fate, attempts);
      await crowd.over(++done);
    }
  };
  try {
    await Promise.all(Array.from({ length: crowd.clients }, client));
  } finally {
    agent.destroy();
  }
  return attempts;
}

function fateOf(random: Random): Fate {
  const drawn = random.next();
  if (drawn < ERRORS) return (['error', 'error-event', 'cut'] as const)[random.int(0, 3)] ?? 'cut';
  if (drawn < ERRORS + ABORTS) return 'abort';
  return random.chance(0.5) ? 'plain' : 'stream';
}

async function makeCall(
  crowd: Crowd,
  agent: Agent,
  call: number,
  fate: Fate,
  attempts: Attempt[],
): Promise<void> {
  let taken = 0;
  for (let n = 0; n < ATTEMPTS_MAX; n++) {
    const name = `call-${call}.${taken}`;
    const attempt = await attemptAt(crowd, agent, name, fate);
    if (attempt === undefined) {
      await pause(AGAIN_MS);
      continue;
    }
    taken++;
    attempts.push(attempt);
    if (attempt.isLast) return;
  }
  throw new Error(`call ${call} did not end in ${ATTEMPTS_MAX} attempts`);
}

/** One attempt; nothing if no connection took it. */
function attemptAt(
  { provider, proxy, random }: Crowd,
  agent: Agent,
  name: string,
  fate: Fate,
): Promise<Attempt | undefined> {
  const { promise, resolve } = Promise.withResolvers<Attempt | undefined>();
  const seen = { status: 0, recordId: undefined as string | undefined };
  const over = (isWhole: boolean) => {
    const isMeant = seen.status === (fate === 'error' ? 500 : 200);
    const isLast = isWhole ? isMeant : meantToBreak(fate, name);
    resolve({ name, fate, isLast, isWhole, ...seen });
  };
  // The provider ends such a call in the middle, or its client does: it is over if it ever got there.
  const meantToBreak = (of: Fate, attempt: string) =>
    (of === 'cut' || of === 'abort') && provider.reached.has(attempt);
  const body = Buffer.from(
    JSON.stringify({
      model: 'gpt-test',
      stream: fate !== 'plain' && fate !== 'error',
      messages: [{ role: 'user', content: `${name} ${'x'.repeat(random.int(0, 2_000))}` }],
    }),
  );
  let req: ClientRequest;
  try {
    req = request(`${proxy()}/openai/v1/chat/completions`, {
      method: 'POST',
      agent,
      headers: {
        'content-type': 'application/json',
        'content-length': body.length,
        [FATE_HEADER]: fate,
        [ATTEMPT_HEADER]: name,
      },
    });
  } catch {
    // Nothing says where the proxy is.
    return Promise.resolve(undefined);
  }
  req.on('response', (res) => {
    const id = res.headers['x-stele-record-id'];
    seen.status = res.statusCode ?? 0;
    seen.recordId = typeof id === 'string' ? id : undefined;
    res.on('error', () => over(false));
    res.on('close', () => over(res.complete));
    res.resume();
  });
  req.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNREFUSED') resolve(undefined);
    else over(false);
  });
  if (fate === 'abort') {
    void provider.untilReached(name).then(async () => {
      await pause(random.int(0, 20));
      req.destroy();
    });
  }
  req.end(body);
  return promise;
}
