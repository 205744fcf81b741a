/**
 * Makes `server/http/openapi/examples.json`: requests, and what a server of this version answers them.
 *
 *     node test/http/record-examples.ts
 *
 * To be run when an answer's form changes; `openapi.test.ts` says so. The keys are made for this and
 * thrown away. Two passes: the server's own description, which is asked for, holds what the first wrote.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { toBase64, toBase64url, toHex } from '../../server/core/bytes.ts';
import { makeDisclosure } from '../../server/core/disclosure.ts';
import { decodeEntry, encodeEntry } from '../../server/core/entry.ts';
import { formatEnvelopeJson } from '../../server/core/envelope.ts';
import type { Json } from '../../server/core/json.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { CHALLENGE_BYTES, possessionMessage } from '../../server/core/possession.ts';
import { useNativePrimitives } from '../../server/native.ts';
import { EVENTS, OTLP_PROTOBUF, PAYLOAD, SPANS } from '../ingest/examples.ts';
import { makeSigner } from '../log/make.ts';
import { OtherLog } from '../witness/other-log.ts';
import { call, type Place, placesOf, type Wanted } from './api.ts';
import { roleToken, setUp } from './replay.ts';
import { type Answer, World } from './world.ts';

const FILE = new URL('../../server/http/openapi/examples.json', import.meta.url);

const FIGURE_LINES = 20;

interface Examples {
  values: Record<string, string>;
  requests: Record<string, { value: Json } | { base64: string }>;
  answers: Record<string, Record<string, Record<string, { value: Json } | { base64: string }>>>;
}

useNativePrimitives();
const known = JSON.parse(readFileSync(FILE, 'utf8')) as Examples;
const made = process.argv[2] === 'answers' ? await recordAnswers(known) : await makeRequests();
writeFileSync(FILE, `${JSON.stringify(made, undefined, 2)}\n`);
if (process.argv[2] !== 'answers') {
  const { execFileSync } = await import('node:child_process');
  execFileSync(process.execPath, [import.meta.filename, 'answers'], { stdio: 'inherit' });
}

/** Entries that any log of this name and origin takes from this key. */
async function makeRequests(): Promise<Examples> {
  const world = await World.start();
  const { gateway } = await world.log('team-a');
  const entry = await gateway.make();
  const body = 'What is the capital of France?';
  const sha256 = toBase64url(createHash('sha256').update(body).digest());
  const values: Record<string, Json> = {
    'principal.id': 'alice@example.com',
    'request.body': { bytes: body.length, media_type: 'text/plain', sha256 },
  };
  const fields = Object.entries(values).map(([name, value]) => ({
    name,
    ...makeDisclosure(name, value, randomBytes(16)),
  }));
  const commitments = Object.fromEntries(fields.map(({ name, digest }) => [name, digest]));
  const withContent = await gateway.make({ commitments });
  const envelopes = [];
  for (let i = 0; i < 2; i++) envelopes.push((await gateway.make()).entry);
  const messages = [(await gateway.make()).bytes, (await gateway.make()).bytes];
  const { publicKey } = gateway.signer;
  const challenge = new Uint8Array(randomBytes(CHALLENGE_BYTES));
  const { origin } = (await world.logs.lease('team-a')).log;
  const proven = possessionMessage(origin, publicKey.keyid, challenge);
  await world.stop();
  return {
    values: {
      leaf_hash: toHex(leafHash(entry.bytes)),
      record_id: withContent.recordId,
      keyid: publicKey.keyid,
      token_id: '1f2e3d4c5b6a7988',
    },
    requests: {
      entry: { base64: toBase64(entry.bytes) },
      envelope: { value: JSON.parse(formatEnvelopeJson(entry.entry)) },
      multipart: {
        value: {
          entry: JSON.parse(formatEnvelopeJson(withContent.entry)),
          disclosure: fields.map(({ disclosure }) => disclosure),
          'body; field=request.body': body,
        },
      },
      lines: { value: envelopes.map((one) => `${formatEnvelopeJson(one)}\n`).join('') },
      messages: { base64: delimited(messages) },
      checkpoint: { value: new OtherLog().ask(4, { old: 4 }) },
      spans: { value: SPANS },
      'spans in protobuf': { base64: OTLP_PROTOBUF.spans },
      events: { value: EVENTS },
      payload: { value: PAYLOAD },
      'payload lines': { value: `${JSON.stringify(PAYLOAD)}\n` },
      'events in protobuf': { base64: OTLP_PROTOBUF.events },
      log: { value: { name: 'team-a', visibility: 'proofs', rules: { continuity: 'flag' } } },
      change: { value: { visibility: 'proofs', rules: { entries_per_second: 500 } } },
      freeze: { value: { reason: 'the team was dissolved' } },
      roll: { value: { name: 'team-c-2027' } },
      retire: { value: { name: 'team-b' } },
      key: { value: { purpose: 'anchor' } },
      'own key': { value: { purpose: 'access' } },
      'ended key': { value: { purpose: 'anchor', compromised: true } },
      gateway: {
        value: {
          key: toBase64(publicKey.spki),
          source: 'gateway-1',
          not_after: '2030-01-01T00:00:00Z',
          challenge: toBase64(challenge),
          proof: toBase64(await gateway.signer.sign(proven)),
        },
      },
      token: {
        value: {
          holder: 'ci',
          roles: ['submit'],
          logs: ['team-a'],
          expires: '2030-01-01T00:00:00Z',
        },
      },
    },
    answers: {},
  };
}

function delimited(entries: readonly Uint8Array[]): string {
  const pieces = entries.map((bytes) => {
    const { length } = encodeEntry(decodeEntry(bytes));
    return [Buffer.from([(length & 127) | 128, length >> 7]), bytes];
  });
  return Buffer.concat(pieces.flat()).toString('base64');
}

/** Figures for Prometheus go on for hundreds of lines that say the same of other things. */
function shortened({ text, headers }: Answer): string {
  if (!headers['content-type']?.includes('version=')) return text;
  return `${text.split('\n').slice(0, FIGURE_LINES).join('\n')}\n`;
}

async function recordAnswers(examples: Examples): Promise<Examples> {
  const world = await World.start();
  const document = (await world.get('/openapi.json')).json();
  const answers: Examples['answers'] = {};
  const record = async (place: Place, wanted: Wanted = {}, asked = world, refused = 0) => {
    const token = roleToken(asked, place);
    const answer = await call(asked, place, { token, ...wanted });
    const type = answer.headers['content-type'] ?? '';
    if (answer.status >= 300 && answer.status !== refused)
      throw new Error(`${place.id}: ${answer.status} ${answer.text}`);
    const media = ((answers[place.id] ??= {})[answer.status] ??= {});
    const isText = /json|text|html/.test(type);
    // The description itself would hold itself.
    if (['getDescription', 'getReference'].includes(place.id)) return;
    media[type] = !isText
      ? { base64: answer.bytes.toString('base64') }
      : { value: /\bjson$|\+json$/.test(type) ? JSON.parse(answer.text) : shortened(answer) };
  };
  const places = placesOf(document);
  await setUp(world, places, record);
  // Where a log goes on can be asked once it does.
  const later = ['getNext', 'listRequests'];
  const reading = places.filter(({ method, id }) => method === 'GET' && !later.includes(id));
  for (const place of reading) await record(place);
  const byId = (id: string) => places.find((place) => place.id === id)!;
  await record(byId('submitEntry'));
  await record(byId('addCheckpoint'));
  const late = new OtherLog().ask(4, { old: 3 });
  await record(byId('addCheckpoint'), { body: late }, world, 409);
  await record(byId('ingestLitellm'), { type: 'application/json' });
  await record(byId('ingestLines'), { type: 'application/x-ndjson' });
  for (const id of ['ingestTraces', 'ingestLogs']) {
    for (const type of ['application/json', 'application/x-protobuf']) {
      await record(byId(id), { type });
    }
  }
  await record(byId('getReceipt'), { values: { format: 'tlog-proof' } });
  await record(byId('getAnchor'), { values: { target: 'own-tsa' } });
  await record(byId('createToken'));
  const { value } = answers.createToken!['201']!['application/json'] as { value: { id: string } };
  await record(byId('revokeToken'), { values: { id: value.id } });
  for (const id of [
    'anchorLog',
    'witnessLog',
    'rotateLogKey',
    'retireLogKey',
    'rotateOwnKey',
    'changeLog',
    'freezeLog',
    'rollLog',
    'getNext',
    'retireLog',
    'unretireLog',
    'revokeGateway',
  ]) {
    await record(byId(id));
  }
  for (const id of ['getDescription', 'getReference']) delete answers[id];
  await recordWaiting(byId, record);
  await world.stop();
  return { ...examples, answers };
}

/** What is answered where acts on keys take two persons. */
async function recordWaiting(
  byId: (id: string) => Place,
  record: (place: Place, wanted: Wanted, asked: World) => Promise<void>,
): Promise<void> {
  const world = await World.start({ settings: { twoPersons: true, requirePossession: false } });
  await world.log('team-a');
  const ask = (id: string, wanted: Wanted = {}) => record(byId(id), wanted, world);
  const id = () => world.instance.listRequests()[0]?.id ?? '';
  const keys = { holder: 'alice', roles: ['keys'], logs: ['team-a'] };
  const gateway = { key: toBase64(makeSigner().publicKey.spki), source: 'gateway-1' };
  const token = world.token({ holder: 'alice', roles: ['admin'] });
  const approve = world.token({ holder: 'bob', roles: ['approve'] });
  await ask('registerGateway', { token, body: JSON.stringify(gateway) });
  await ask('listRequests', { token });
  await ask('approveRequest', { token: approve, values: { id: id() } });
  await ask('createToken', { token, body: JSON.stringify(keys) });
  await ask('rejectRequest', { token, values: { id: id() } });
  for (const one of ['revokeGateway', 'rotateLogKey', 'retireLogKey', 'rotateOwnKey'])
    await ask(one, { token });
  const [admin] = world.instance.listTokens();
  await ask('revokeToken', { token, values: { id: admin?.id ?? '' } });
  await world.stop();
}
