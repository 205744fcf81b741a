/** Custody: only the proxy has the provider's key, so that nobody calls the model past it. */

import { once } from 'node:events';
import { chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ProviderKey } from '../../server/proxy/custody/provider-key.ts';
import { ownExchange } from '../replay/exchanges.ts';
import { type Replay, startReplay } from '../replay/replay.ts';
import { CHAT, chatProvider, REQUEST } from './calls.ts';
import { custodyOf, type Place, plantedKey } from './custody-place.ts';
import { ask, gate, RawClient, temporaryFolder } from './harness.ts';

async function bothProviders(): Promise<Replay> {
  const isStream = (body: unknown) => (body as { stream?: boolean }).stream === true;
  const provider = await startReplay({
    exchanges: [
      ownExchange('openai-chat.sse', { when: isStream }),
      ownExchange('openai-chat.json'),
      ownExchange('anthropic-messages.sse', { when: isStream }),
      ownExchange('anthropic-messages.json'),
    ],
  });
  onTestFinished(() => provider.close());
  return provider;
}

const PATIENT = { timeout: 30_000 };

/** As a list Node adds nothing to them. */
const HEAD = ['host', 'proxy', 'content-type', 'application/json'];

/** The same where one of them is sent anew. */
const headOf = (more: readonly string[]) =>
  more.includes('content-type') ? HEAD.slice(0, 2) : HEAD;

const messages = [{ role: 'user' as const, content: 'a question' }];
const chat = { model: 'gpt-test', messages };
const message = { model: 'claude-test', max_tokens: 10, messages };

describe('the official clients, holding Stele tokens', () => {
  test('call with the provider’s key, where the provider wants it, and the record says who', async () => {
    const provider = await bothProviders();
    const place = await custodyOf(provider);
    const { id, token } = place.callers.add({ kind: 'agent' });
    const said = await place.openai(token).chat.completions.create(chat);
    expect(said.choices).toHaveLength(1);
    for await (const _ of await place.openai(token).chat.completions.create({
      ...chat,
      stream: true,
    }));
    await place.anthropic(token).messages.create(message);
    // As its earlier versions sent it.
    const older = new Anthropic({
      baseURL: `${place.proxy.url}/anthropic`,
      apiKey: null,
      defaultHeaders: { 'x-api-key': token },
    });
    for await (const _ of await older.messages.create({ ...message, stream: true }));
    const keys = provider.requests.map(({ headers }) => [
      headers.authorization,
      headers['x-api-key'],
    ]);
    expect(keys).toEqual([
      [`Bearer ${place.key}`, undefined],
      [`Bearer ${place.key}`, undefined],
      [`Bearer ${place.key}`, undefined],
      [undefined, place.key],
    ]);
    const records = await place.log.untilCalls(4);
    expect(records.map(({ auth }) => auth)).toEqual([
      { tenant: 'team-a', method: 'bearer', principal_type: 'agent', credential: id },
      { tenant: 'team-a', method: 'bearer', principal_type: 'agent', credential: id },
      { tenant: 'team-a', method: 'bearer', principal_type: 'agent', credential: id },
      { tenant: 'team-a', method: 'api-key', principal_type: 'agent', credential: id },
    ]);
    const [first] = records;
    expect(place.log.of(first?.record_id ?? '').disclosures.get('principal.id')).toBe(
      'a holder nobody else should read',
    );
    await place.proxy.close();
    expect(place.everything().includes(place.key), 'the key').toBe(false);
    expect(place.everything().includes(token), 'the token').toBe(false);
    for (const { rawHeaders, body } of provider.requests) {
      expect(`${rawHeaders.join()}${Buffer.from(body)}`).not.toContain('stele_');
    }
  });

  test('are told by their own errors what was refused, and do not ask again', async () => {
    const provider = await bothProviders();
    const place = await custodyOf(provider);
    const { token } = place.callers.add({ models: ['gpt-4o*'] });
    const wrong = token.replace(/.$/, (last) => (last === 'A' ? 'E' : 'A'));
    await expect(place.openai(wrong).chat.completions.create(chat)).rejects.toSatisfy(
      (error) =>
        error instanceof OpenAI.AuthenticationError &&
        error.message === '401 this token is not known here' &&
        error.code === 'unauthenticated',
    );
    await expect(place.anthropic(wrong).messages.create(message)).rejects.toSatisfy(
      (error) =>
        error instanceof Anthropic.AuthenticationError &&
        error.type === 'authentication_error' &&
        error.message.includes('this token is not known here'),
    );
    await expect(place.openai(token).chat.completions.create(chat)).rejects.toSatisfy(
      (error) =>
        error instanceof OpenAI.PermissionDeniedError &&
        error.message === '403 model "gpt-test" is not one of those that this token is for',
    );
    await expect(place.anthropic(token).messages.create(message)).rejects.toSatisfy(
      (error) =>
        error instanceof Anthropic.PermissionDeniedError &&
        error.type === 'permission_error' &&
        error.message.includes('claude-test'),
    );
    expect(provider.requests).toHaveLength(0);
    // Strangers leave no record; a caller's call that was refused does.
    const records = await place.log.untilCalls(2);
    expect(records.map(({ outcome, model }) => [outcome, model.requested])).toEqual([
      [{ status: 'blocked', error_type: 'forbidden' }, 'gpt-test'],
      [{ status: 'blocked', error_type: 'forbidden' }, 'claude-test'],
    ]);
    await place.proxy.close();
    expect(place.log.calls).toHaveLength(2);
  });
});

describe('whoever tries to get past', () => {
  const json = { 'content-type': 'application/json' };
  const attempts: Record<
    string,
    (token: string, place: Place) => { path?: string; method?: string; headers: string[] }
  > = {
    'no token': () => ({ headers: [] }),
    'a key of one’s own': () => ({ headers: ['authorization', 'Bearer sk-my-own-key'] }),
    'a key of one’s own in another header': () => ({ headers: ['x-api-key', 'sk-my-own-key'] }),
    'Basic in place of Bearer': (token) => ({ headers: ['authorization', `Basic ${token}`] }),
    'a token and something behind it': (token) => ({
      headers: ['authorization', `Bearer ${token}, Bearer sk-x`],
    }),
    'a token that nobody gave out': (token) => ({
      headers: ['authorization', `Bearer ${token.slice(0, 30)}${'A'.repeat(35)}`],
    }),
    'two tokens': (token, { callers }) => ({
      headers: ['authorization', `Bearer ${token}`, 'x-api-key', callers.add().token],
    }),
    'a revoked token': (_, { callers }) => {
      const { id, token } = callers.add();
      callers.revoke(id);
      return { headers: ['authorization', `Bearer ${token}`] };
    },
    'a token that has ended': (_, { callers }) => ({
      headers: ['x-api-key', callers.add({ expires: '2026-01-01T00:00:00.000000Z' }).token],
    }),
    'a token in the query': (token) => ({ path: `${CHAT}?key=${token}`, headers: [] }),
    'a key in the query beside a token': (token) => ({
      path: `${CHAT}?%6bey=sk-my-own-key`,
      headers: ['authorization', `Bearer ${token}`],
    }),
    'a key in the query as Google spells it too': (token) => ({
      path: `${CHAT}?$key=sk-my-own-key`,
      headers: ['authorization', `Bearer ${token}`],
    }),
    'a key in the query behind a semicolon': (token) => ({
      path: `${CHAT}?a=1;api-key=sk-my-own-key`,
      headers: ['authorization', `Bearer ${token}`],
    }),
    'a signature of AWS': () => ({
      headers: ['authorization', 'AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=00'],
    }),
    'a presigned URL': (token) => ({
      path: `${CHAT}?X-Amz-Signature=00`,
      headers: ['authorization', `Bearer ${token}`],
    }),
  };

  test.each(Object.entries(attempts))('with %s gets 401', async (_, attempt) => {
    const provider = await chatProvider();
    const place = await custodyOf(provider);
    const { token } = place.callers.add();
    const { path = CHAT, headers } = attempt(token, place);
    const answer = await ask(`${place.proxy.url}${path}`, {
      headers: [...HEAD, ...headers],
      body: REQUEST,
    });
    expect(answer.status).toBe(401);
    expect(answer.headers['www-authenticate']).toBe('Bearer');
    expect(JSON.parse(answer.body.toString())).toMatchObject({
      code: 'unauthenticated',
      error: { type: 'authentication_error' },
    });
    expect(answer.body.toString()).not.toMatch(/sk-my-own|stele_|AKIA/);
    expect(answer.recordId).toBe('');
    await place.proxy.close();
    expect(provider.requests).toHaveLength(0);
    expect(place.log.calls).toHaveLength(0);
    for (const secret of place.callers.tokens) expect(place.everything()).not.toContain(secret);
  });

  test('is told of SigV4 what to do', async () => {
    const place = await custodyOf(await chatProvider());
    const headers = { ...json, authorization: 'AWS4-HMAC-SHA256 Credential=AKIA' };
    const answer = await ask(`${place.proxy.url}${CHAT}`, { headers, body: REQUEST });
    expect(answer.body.toString()).toContain('SigV4');
  });

  test('at an upstream that the token is not for, or that has no key, gets 403', async () => {
    const provider = await bothProviders();
    const place = await custodyOf(provider);
    const { token } = place.callers.add({ upstreams: ['anthropic'] });
    await expect(place.openai(token).chat.completions.create(chat)).rejects.toThrow(
      '403 this token is not for upstream "openai"',
    );
    const keyless = await custodyOf(provider, { upstreamOptions: { key: undefined } });
    await expect(
      keyless.openai(keyless.callers.add().token).chat.completions.create(chat),
    ).rejects.toThrow('403 upstream "openai" has no key');
    expect(provider.requests).toHaveLength(0);
  });

  test('with TRACE does not get the key back', async () => {
    const provider = await chatProvider();
    const place = await custodyOf(provider);
    const { token } = place.callers.add();
    const client = new RawClient(place.proxy.url);
    client.socket.write(
      `TRACE ${CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nConnection: close\r\n\r\n`,
    );
    await client.closed();
    expect(client.text).toContain('HTTP/1.1 403');
    expect(provider.requests).toHaveLength(0);
  });

  test.each([
    '/realtime/client_secrets',
    '/%72ealtime%2Fclient_secrets?x=y',
    '/Realtime//sessions/',
    '/realtime/calls',
    '/openai/realtimeapi/sessions',
    '/v1alpha/auth_tokens',
    '/v1alpha/authTokens:create',
  ])('with %s gets no way past the proxy', async (path) => {
    const provider = await chatProvider();
    const place = await custodyOf(provider);
    const { token } = place.callers.add();
    const headers = [...HEAD, 'authorization', `Bearer ${token}`];
    const answer = await ask(`${place.proxy.url}/openai/v1${path}`, { headers, body: '{}' });
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body.toString()).detail).toContain('leads past the proxy');
    expect(provider.requests).toHaveLength(0);
  });

  test('sends nothing of a credential on, whatever else it sends', async () => {
    const provider = await chatProvider();
    const place = await custodyOf(provider);
    const { token } = place.callers.add();
    const answer = await ask(`${place.proxy.url}${CHAT}?api-version=1`, {
      headers: [
        ...[
          'Host',
          'x',
          'Content-Type',
          'application/json',
          'Api-Key',
          token,
          'Authorization',
          'Bearer sk-mine',
        ],
        ...['X-Api-Key', 'sk-mine', 'Cookie', 'session=sk-mine', 'X-Other', 'kept'],
        ...['Connection', 'close, api-key'],
      ],
      body: REQUEST,
    });
    expect(answer.status).toBe(200);
    const [request] = provider.requests;
    expect(request?.rawHeaders.join(' ')).not.toContain('sk-mine');
    expect(request?.headers).toMatchObject({ 'api-key': place.key, 'x-other': 'kept' });
    expect(request?.headers.authorization).toBeUndefined();
  });

  test('is in the log, without a word of what was presented, and not more often than a line a second', async () => {
    const provider = await chatProvider();
    let ms = Date.parse('2026-09-01T10:00:00Z');
    const clock = { nowUs: () => ms * 1_000, maxErrorUs: () => 0 };
    const place = await custodyOf(provider, { clock });
    const headers = { ...json, authorization: 'Bearer sk-my-own-key' };
    const attempt = () => ask(`${place.proxy.url}${CHAT}`, { headers, body: REQUEST });
    for (let i = 0; i < 5; i++) await attempt();
    ms += 1_000;
    await attempt();
    const said = place.lines.filter((line) => line.includes('was not let in'));
    expect(said.map((line) => JSON.parse(line))).toMatchObject([
      { count: 1, address: '127.0.0.1' },
      { count: 5, address: '127.0.0.1' },
    ]);
    expect(said.join()).not.toContain('sk-my-own');
  });

  test('gets the provider’s key where the settings say, wherever the token was', async () => {
    const provider = await chatProvider();
    const place = await custodyOf(provider, { upstreamOptions: { keyHeader: 'api-key' } });
    await ask(`${place.proxy.url}${CHAT}`, {
      headers: { ...json, authorization: `Bearer ${place.callers.add().token}` },
      body: REQUEST,
    });
    expect(provider.requests[0]?.headers).toMatchObject({ 'api-key': place.key });
    expect(provider.requests[0]?.headers.authorization).toBeUndefined();
  });

  test('is let in without a key where the upstream wants none', async () => {
    const provider = await chatProvider();
    const place = await custodyOf(provider, { upstreamOptions: { key: 'none' } });
    const { token } = place.callers.add();
    const headers = { ...json, authorization: `Bearer ${token}` };
    await ask(`${place.proxy.url}${CHAT}`, { headers, body: REQUEST });
    expect(provider.requests.map((r) => r.headers.authorization)).toEqual([undefined]);
    expect((await ask(`${place.proxy.url}${CHAT}`, { headers: json, body: REQUEST })).status).toBe(
      401,
    );
  });
});

describe('what a token is for', () => {
  test('ends when it is revoked, while the proxy runs, and so does what was begun with it', async () => {
    const held = gate();
    const provider = await chatProvider({
      beforePiece: (sent) => (sent > 0 ? held.passed : Promise.resolve()),
    });
    const place = await custodyOf(provider);
    const { id, token } = place.callers.add();
    const other = place.callers.add();
    const call = (by: string) =>
      ask(`${place.proxy.url}${CHAT}`, {
        headers: { 'content-type': 'application/json', authorization: `Bearer ${by}` },
        body: REQUEST,
      });
    const running = call(token);
    const others = call(other.token);
    await expect.poll(() => provider.requests.length, PATIENT).toBe(2);
    place.callers.revoke(id);
    const refused = await call(token);
    expect(refused.status).toBe(401);
    expect(refused.body.toString()).toContain(`token ${id} has been revoked`);
    const cut = await running;
    expect(cut.isWhole).toBe(false);
    const [record] = await place.log.untilCalls(1);
    expect(record).toMatchObject({
      record_id: cut.recordId,
      outcome: { status: 'blocked', error_type: 'unauthenticated', http_status: 200 },
    });
    held.open();
    expect((await others).isWhole).toBe(true);
    expect(await place.log.untilCalls(2)).toHaveLength(2);
  });

  test('ends a WebSocket that was opened with it, and no key of the caller’s went over', async () => {
    const seen: IncomingMessage[] = [];
    const server = createServer();
    server.on('upgrade', (req: IncomingMessage, socket: Socket) => {
      seen.push(req);
      socket.on('error', () => {});
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nHELLO',
      );
      onTestFinished(() => void socket.destroy());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const place = await custodyOf({ url }, { upstreamOptions: { websocket: 'record' } });
    const { id, token } = place.callers.add();
    const client = new RawClient(place.proxy.url);
    client.socket.write(
      `GET /openai/v1/realtime HTTP/1.1\r\nHost: proxy\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer ${token}\r\n` +
        'Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-mine, openai-beta.realtime-v1\r\n\r\n',
    );
    await client.until((c) => c.text.endsWith('HELLO'));
    expect(seen[0]?.headers).toMatchObject({
      authorization: `Bearer ${place.key}`,
      'sec-websocket-protocol': 'realtime, openai-beta.realtime-v1',
    });
    place.callers.revoke(id);
    await client.closed();
    const [record] = await place.log.untilCalls(1);
    expect(record).toMatchObject({
      source: { completeness: 'metadata-only' },
      outcome: { status: 'blocked', error_type: 'unauthenticated', http_status: 101 },
    });
    await place.log.until(() => place.log.gaps.length === 1);
  });

  test('ends before a request has come, and then nothing goes on', async () => {
    const provider = await chatProvider();
    let ms = Date.parse('2026-09-01T10:00:00Z');
    const clock = { nowUs: () => ms * 1_000, maxErrorUs: () => 0 };
    const place = await custodyOf(provider, { clock });
    const { token } = place.callers.add({ expires: '2026-09-01T10:00:05.000000Z' });
    const client = new RawClient(place.proxy.url);
    client.socket.write(
      `POST ${CHAT} HTTP/1.1\r\nHost: x\r\nX-Api-Key: ${token}\r\nExpect: 100-continue\r\n` +
        'Content-Length: 2\r\nConnection: close\r\n\r\n',
    );
    await client.until((c) => c.text.includes('100 Continue'));
    ms += 6_000;
    client.socket.write('{}');
    await client.closed();
    expect(client.text).toContain('HTTP/1.1 401');
    expect(provider.requests).toHaveLength(0);
  });

  const spellings: Record<string, { path?: string; body: string | Buffer; headers?: string[] }> = {
    'a model': { body: '{"model":"gpt-5"}' },
    'a longer name': { body: '{"model":"gpt-4o"}' },
    'a second model': { body: '{"model":"good","model":"gpt-5"}' },
    'a second model, first': { body: '{"model":"gpt-5","model":"good"}' },
    'another case': { body: '{"model":"good","Model":"gpt-5"}' },
    'an escape': { body: '{"model":"good","mod\\u0065l":"gpt-5"}' },
    'a list of models': { body: '{"model":"good","models":["gpt-5"]}' },
    'models to fall back to': { body: '{"model":"good","fallbacks":["gpt-5"]}' },
    'a model that is no text': { body: '{"model":{"name":"good"}}' },
    'no model': { body: '{"messages":[]}' },
    'no JSON': { body: 'model=good' },
    'UTF-16': { body: Buffer.from('{"model":"good"}', 'utf16le') },
    nothing: { body: '' },
    'a deployment': {
      path: '/openai/v1/openai/deployments/gpt-5/chat/completions',
      body: '{"model":"good"}',
    },
    'a deployment, encoded': {
      path: '/openai/v1/deployments/g%70t-5/chat/completions',
      body: '{}',
    },
    'a model of Gemini': { path: '/openai/v1/models/gpt-5:generateContent', body: '{}' },
    'a model of Bedrock': { path: '/openai/v1/model/gpt-5/converse', body: '{}' },
    'a word that is encoded without need': {
      path: '/openai/v1/openai/%64eployments/gpt-5/chat/completions',
      body: '{"model":"good"}',
    },
    'a word in capitals': {
      path: '/openai/v1/openai/Deployments/gpt-5/chat/completions',
      body: '{"model":"good"}',
    },
    'an encoded slash': {
      path: '/openai/v1/openai/deployments%2Fgpt-5/chat/completions',
      body: '{"model":"good"}',
    },
    'a slash the other way': {
      path: '/openai/v1/model%5Cgpt-5/converse',
      body: '{"model":"good"}',
    },
    'a slash too many': {
      path: '/openai/v1/openai/deployments//gpt-5/chat/completions',
      body: '{"model":"good"}',
    },
    'a slash at the end': {
      path: '/openai/v1/models/gpt-5:generateContent/',
      body: '{"model":"good"}',
    },
    'a colon in the name': {
      path: '/openai/v1/models/gpt:5:generateContent',
      body: '{"model":"good"}',
    },
    'an engine': { path: '/openai/v1/engines/gpt-5/completions', body: '{"model":"good"}' },
    'a tuned model': {
      path: '/openai/v1/tunedModels/gpt-5:generateContent',
      body: '{"model":"good"}',
    },
    'the query': { path: `${CHAT}?%4dodel=gpt-5`, body: '{"model":"good"}' },
    'an encoded colon': {
      path: '/openai/v1/tunedModels/gpt-5%3AgenerateContent',
      body: '{"model":"good"}',
    },
    'an endpoint': {
      path: '/openai/v1/projects/p/locations/l/endpoints/gpt-5/chat/completions',
      body: '{"model":"good"}',
    },
    'a serving endpoint': {
      path: '/openai/v1/serving-endpoints/gpt-5/invocations',
      body: '{"model":"good"}',
    },
    'a serving endpoint, its slash encoded': {
      path: '/openai/v1/serving-endpoints%2fgpt-5/invocations',
      body: '{"model":"good"}',
    },
    'one of an endpoint’s models': {
      path: '/openai/v1/serving-endpoints/good/served-models/gpt-5/invocations',
      body: '{}',
    },
    'a model behind ai/run': {
      path: '/openai/v1/accounts/a/ai/run/@cf/gpt-5',
      body: '{"model":"good"}',
    },
    'a tool’s model': {
      body: '{"model":"good","tools":[{"type":"image_generation","model":"gpt-image"}]}',
    },
    'a session’s model': { body: '{"model":"good","session":{"type":"x","model":"gpt-5"}}' },
    'the model of an input that is no list': { body: '{"model":"good","input":{"model":"gpt-5"}}' },
    'a tool’s model alone': { body: '{"tools":[{"type":"x","model":"good"}]}' },
    'models of a configuration': { body: '{"model":"good","user_config":{"model_list":[]}}' },
    'batches behind an encoded slash': {
      path: '/openai/v1/messages%2Fbatches',
      body: '{"model":"good","requests":[]}',
    },
    'a name that is given away': {
      path: '/openai/v1/api/copy',
      body: '{"model":"good","source":"gpt-5","destination":"good-2"}',
    },
    'a name that a lenient reader understands': { body: '{"model":"good","mo\\del":"gpt-5"}' },
    'a form that looks like JSON': {
      body: '{"model":"good","x":"&model=gpt-5&prompt=hello&"}',
      headers: ['content-type', 'application/x-www-form-urlencoded'],
    },
    'another charset': {
      body: '{"model":"good","x":"+ACI-,+ACI-model+ACI-:+ACI-gpt-5"}',
      headers: ['content-type', 'application/json; charset=utf-7'],
    },
    'a batch': { path: '/openai/v1/messages/batches', body: '{"model":"good","requests":[]}' },
    'a compressed body': {
      body: gzipSync('{"model":"gpt-5"}'),
      headers: ['content-encoding', 'gzip'],
    },
    'two codings': {
      body: '{"model":"good"}',
      headers: ['content-encoding', 'identity', 'content-encoding', 'gzip'],
    },
    'an unknown coding': { body: '{"model":"good"}', headers: ['content-encoding', 'snappy'] },
    'a large body': { body: `{"x":"${'x'.repeat(200_000)}","model":"gpt-5"}` },
  };

  test.each(Object.entries(spellings))(
    'are models: %s is judged before it is forwarded',
    async (_, one) => {
      const provider = await chatProvider();
      const place = await custodyOf(provider, { limits: { memoryBytes: 100_000 } });
      const { token } = place.callers.add({ models: ['good', 'good-*'] });
      const answer = await ask(`${place.proxy.url}${one.path ?? CHAT}`, {
        headers: [...headOf(one.headers ?? []), 'x-api-key', token, ...(one.headers ?? [])],
        body: one.body,
      });
      expect(answer.status).toBe(403);
      expect(JSON.parse(answer.body.toString())).toMatchObject({ code: 'forbidden' });
      expect(provider.requests).toHaveLength(0);
      const [record] = await place.log.untilCalls(1);
      expect(record).toMatchObject({
        record_id: answer.recordId,
        outcome: { status: 'blocked', error_type: 'forbidden' },
      });
      expect(record?.output).toBeUndefined();
    },
  );

  test.each([
    [CHAT, '{"model":"good"}', []],
    [CHAT, '{"messages":[{"model":"gpt-5"}],"model":"good-2"}', []],
    [CHAT, '{"model":"good","contents":[{"model":"x"}],"input":[{"model":"x"}]}', []],
    [CHAT, '{"model":"good","tools":[{"function":{"parameters":{"model":"x"}}}]}', []],
    [CHAT, '{"model":"good","tools":[{"type":"image_generation","model":"good-2"}]}', []],
    ['/openai/v1/serving-endpoints/good/invocations', '{"messages":[]}', []],
    ['/openai/v1/serving-endpoints/chat/completions', '{"model":"good"}', []],
    ['/openai/v1/projects/p/locations/l/endpoints/good:predict', '{"instances":[]}', []],
    [
      '/openai/v1/projects/p/locations/l/endpoints/openapi/chat/completions',
      '{"model":"good"}',
      [],
    ],
    ['/openai/v1/models/good:batchEmbedContents', '{"requests":[{"model":"models/good"}]}', []],
    ['/openai/v1/model/good-%3Ainference-profile%2Fx/converse', '{}', []],
    [CHAT, gzipSync('{"model":"good"}'), ['content-encoding', 'gzip']],
    [CHAT, `{"model":"good","x":"${'x'.repeat(200_000)}"}`, []],
    [CHAT, '{"model":"good"}', ['content-type', 'application/json; charset="UTF-8"']],
    ['/openai/v1/deployments/good/chat/completions', '{}', []],
    ['/openai/v1/model/good%2D1/converse', '{}', []],
    ['/openai/v1/tunedModels/good:generateContent', '{"contents":[]}', []],
    ['/openai/v1/models/good:generateContent', '{"contents":[]}', []],
  ])('are models: %s is let through where it is good', async (path, body, headers) => {
    const provider = await startReplay({
      exchanges: [{ path: `/v1${path.slice(10)}`, body: '{}' }],
    });
    onTestFinished(() => provider.close());
    const place = await custodyOf(provider, { limits: { memoryBytes: 100_000 } });
    const { token } = place.callers.add({ models: ['good', 'good-*'] });
    const answer = await ask(`${place.proxy.url}${path}`, {
      headers: [...headOf(headers), 'x-api-key', token, ...headers],
      body,
    });
    expect(answer.status).toBe(200);
    expect(Buffer.from(provider.requests[0]?.body ?? []).equals(Buffer.from(body))).toBe(true);
  });

  test('are so many calls a minute, and the client hears when to come again', async () => {
    const provider = await bothProviders();
    let ms = Date.parse('2026-09-01T10:00:00Z');
    const clock = { nowUs: () => ms * 1_000, maxErrorUs: () => 0 };
    const place = await custodyOf(provider, { clock });
    const { id, token } = place.callers.add({ calls_per_minute: 2 });
    const client = new OpenAI({
      baseURL: `${place.proxy.url}/openai/v1`,
      apiKey: token,
      maxRetries: 0,
    });
    const call = () => client.chat.completions.create(chat);
    await call();
    await call();
    await expect(call()).rejects.toSatisfy(
      (error) =>
        error instanceof OpenAI.RateLimitError &&
        error.headers?.get('retry-after') === '30' &&
        error.message === `429 caller ${id}: 2 calls a minute are its limit`,
    );
    ms += 29_000;
    await expect(call()).rejects.toSatisfy(
      (error) =>
        error instanceof OpenAI.RateLimitError && error.headers?.get('retry-after') === '1',
    );
    ms += 1_000;
    await call();
    await expect(call()).rejects.toThrow('429');
    // Another caller's calls are its own.
    await place.openai(place.callers.add().token).chat.completions.create(chat);
    ms += 600_000;
    await call();
    await call();
    await expect(call()).rejects.toThrow('429');
  });

  test('are so many calls at once', async () => {
    const held = gate();
    const provider = await chatProvider({ beforePiece: () => held.passed });
    const place = await custodyOf(provider);
    const { token } = place.callers.add({ calls_at_once: 1 });
    const call = () =>
      ask(`${place.proxy.url}${CHAT}`, {
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: REQUEST,
      });
    const first = call();
    await expect.poll(() => provider.requests.length, PATIENT).toBe(1);
    const second = await call();
    expect(second.status).toBe(429);
    expect(second.headers['retry-after']).toBe('1');
    held.open();
    expect((await first).isWhole).toBe(true);
    let third = await call();
    // The first is over for the proxy a moment after it is for its client.
    while (third.status === 429) third = await call();
    expect(third.status).toBe(200);
  });
});

describe('the provider’s key', () => {
  test('is taken anew when its file is replaced, and the old one serves while the new one is no good', async () => {
    const provider = await bothProviders();
    const place = await custodyOf(provider);
    const { token } = place.callers.add();
    const call = () => place.openai(token).chat.completions.create(chat);
    const used = () => provider.requests.at(-1)?.headers.authorization;
    await call();
    const next = plantedKey();
    writeFileSync(`${place.keyFile}.new`, next, { mode: 0o600 });
    renameSync(`${place.keyFile}.new`, place.keyFile);
    await call();
    expect(used()).toBe(`Bearer ${next}`);
    writeFileSync(place.keyFile, '');
    await call();
    expect(used()).toBe(`Bearer ${next}`);
    const last = plantedKey();
    writeFileSync(place.keyFile, `${last}\r\n`);
    await call();
    expect(used()).toBe(`Bearer ${last}`);
    await place.log.untilCalls(4);
    await place.proxy.close();
    const everything = place.everything();
    for (const key of [place.key, next, last]) expect(everything.includes(key)).toBe(false);
    expect(everything.toString('latin1')).toContain('there is no key in it');
  });

  test.each([
    ['', /no key in it/],
    ['sk-one\nsk-two\n', /no key in it/],
    ['sk with blanks', /no key in it/],
    ['sk-ümlaut', /no key in it/],
    ['x'.repeat(20_000), /20000 bytes/],
  ])('in a file with %j is refused, and not shown', (text, rule) => {
    const path = `${temporaryFolder()}/key`;
    writeFileSync(path, text, { mode: 0o600 });
    const open = () => new ProviderKey({ from: 'file', path }, () => {});
    expect(open).toThrow(rule);
    expect(open).not.toThrow(/sk-/);
  });

  test('that everybody can read is refused', () => {
    const path = `${temporaryFolder()}/key`;
    writeFileSync(path, 'sk-x');
    chmodSync(path, 0o644);
    expect(() => new ProviderKey({ from: 'file', path }, () => {})).toThrow(
      /everybody can read it/,
    );
  });

  test('of a variable that is not set is missed at once', () => {
    const source = {
      from: 'environment',
      name: 'upstreams.openai.key_env',
      value: undefined,
    } as const;
    expect(() => new ProviderKey(source, () => {})).toThrow(
      'upstreams.openai.key_env: there is no key',
    );
  });

  test('does not get into an error when the provider cannot be reached or breaks off', async () => {
    const server = createServer((req: IncomingMessage) => req.socket.destroy());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const place = await custodyOf({ url: `http://127.0.0.1:${port}` });
    const { token } = place.callers.add();
    const answer = await ask(`${place.proxy.url}${CHAT}`, {
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: REQUEST,
    });
    expect(answer.status).toBe(502);
    await place.log.untilCalls(1);
    await place.proxy.close();
    expect(`${answer.body}${answer.rawHeaders}`).not.toContain(place.key);
    expect(place.everything().includes(place.key)).toBe(false);
  });
});

describe('the file of callers', () => {
  test('that is no good lets nobody in, and the proxy says why and is not ready', async () => {
    const provider = await bothProviders();
    const place = await custodyOf(provider);
    const { token } = place.callers.add();
    await place.openai(token).chat.completions.create(chat);
    // As if somebody had put the token where its hash belongs.
    const text = readFileSync(place.callers.path, 'utf8').replace(
      /"hash":"[^"]*"/,
      `"hash":"${token}"`,
    );
    writeFileSync(place.callers.path, text);
    const answer = await ask(`${place.proxy.url}${CHAT}`, {
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: REQUEST,
    });
    expect(answer.status).toBe(503);
    expect(answer.body.toString()).not.toContain(token.slice(7, 40));
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
    const ready = await ask(`${place.proxy.url}/readyz`, { method: 'GET' });
    expect(ready.status).toBe(503);
    expect(ready.body.toString()).not.toContain(token.slice(7, 40));
    expect(JSON.parse(ready.body.toString())).toMatchObject({
      status: 'not ready',
      reasons: [expect.stringContaining('callers[0]')],
    });
    expect(provider.requests).toHaveLength(1);
  });

  test('that is missing has no callers', async () => {
    const place = await custodyOf(await chatProvider());
    const ready = await ask(`${place.proxy.url}/readyz`, { method: 'GET' });
    expect(ready.status).toBe(200);
    const answer = await ask(`${place.proxy.url}${CHAT}`, { body: REQUEST });
    expect(answer.status).toBe(401);
  });
});
