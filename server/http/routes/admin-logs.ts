/** `/v1/admin/logs` and the gateways of each, `/v1/admin/keys`. */
import * as v from 'valibot';
import { parseBase64, parseHex, toBase64 } from '../../core/bytes.ts';
import { hasCode, malformed, SteleError, shown } from '../../core/errors.ts';
import { ALGORITHMS, parsePublicKey } from '../../core/keys.ts';
import { RECORD_LIST_MAX, SOURCE_ID_MAX } from '../../core/limits.ts';
import { CONTINUITIES } from '../../core/record/control.ts';
import { HASH_BYTES } from '../../core/units.ts';
import { timestamp } from '../../log/clock.ts';
import { LOG_NAME } from '../../log/logs.ts';
import type { RegisteredKey } from '../../log/registry.ts';
import { VISIBILITIES } from '../../storage/instance.ts';
import { sendJson } from '../answer.ts';
import type { Parts } from '../app.ts';
import { type Call, type InstanceRoute, type Log, param } from '../call.ts';
import { unknownLog } from '../errors.ts';
import { isBound } from '../roles.ts';
import { closed, readObject } from './admin-body.ts';

/** Like those of a genesis record, which judges them again. */
const PayloadTypes = v.pipe(
  v.array(v.pipe(v.string(), v.regex(/^[\x21-\x7e]{1,255}$/, 'not a payload type'))),
  v.minLength(1),
  v.maxLength(RECORD_LIST_MAX),
  v.check((types) => new Set(types).size === types.length, 'the same payload type twice'),
);

export const NewLog = closed({
  name: v.pipe(v.string(), v.regex(LOG_NAME, `not a name of the form ${LOG_NAME.source}`)),
  visibility: v.exactOptional(v.picklist(VISIBILITIES)),
  rules: v.exactOptional(
    closed({
      payload_types: v.exactOptional(PayloadTypes),
      continuity: v.exactOptional(v.picklist(CONTINUITIES)),
    }),
  ),
});

export const NewGateway = closed({
  alg: v.picklist(ALGORITHMS),
  spki: v.pipe(v.string(), v.description('PEM as openssl prints it, or the DER in base64.')),
  source: v.exactOptional(
    v.pipe(
      v.string(),
      v.regex(/^[\x21-\x7e]+$/, 'not visible ASCII characters'),
      v.maxLength(SOURCE_ID_MAX),
      v.description(
        'The source that the key is for; one that had another key is handed over to it.',
      ),
    ),
  ),
});

export function adminLogRoutes(parts: Parts): readonly InstanceRoute[] {
  const base = { on: 'instance' } as const;
  const gateways = '/v1/admin/logs/{log}/gateways';
  return [
    {
      ...base,
      method: 'POST',
      pattern: '/v1/admin/logs',
      access: 'admin',
      handle: (call) => createLog(parts, call),
    },
    {
      ...base,
      method: 'GET',
      pattern: '/v1/admin/logs',
      access: 'admin',
      handle: (call) => listLogs(parts, call),
    },
    {
      ...base,
      method: 'GET',
      pattern: '/v1/admin/logs/{log}',
      access: 'admin',
      handle: (call) => showLog(parts, call),
    },
    {
      ...base,
      method: 'POST',
      pattern: gateways,
      access: 'keys',
      handle: (call) => registerGateway(parts, call),
    },
    {
      ...base,
      method: 'GET',
      pattern: gateways,
      access: 'keys',
      handle: (call) => listGateways(parts, call),
    },
    {
      ...base,
      method: 'DELETE',
      pattern: `${gateways}/{keyid}`,
      access: 'keys',
      handle: (call) => revokeGateway(parts, call),
    },
    {
      ...base,
      method: 'GET',
      pattern: '/v1/admin/keys',
      access: 'keys',
      handle: (call) => listKeys(parts, call),
    },
  ];
}

async function createLog(parts: Parts, call: Call): Promise<void> {
  const wanted = await readObject(parts, call, NewLog);
  const { name } = wanted;
  if (call.token === undefined || !isBound(call.token, name)) {
    throw new SteleError('forbidden', `token ${call.token?.id} is not bound to log ${name}`);
  }
  const log = await parts.logs.create(wanted);
  sendJson(call, describe(log), 201);
}

function boundLogs(parts: Parts, call: Call) {
  const { token } = call;
  return parts.logs.list().filter(({ name }) => token !== undefined && isBound(token, name));
}

function listLogs(parts: Parts, call: Call): void {
  const logs = boundLogs(parts, call);
  sendJson(call, {
    logs: logs.map(({ name, origin, visibility }) => ({ name, origin, visibility })),
  });
}

/** The log that the path names; to a token that is not bound to it, it does not exist. */
async function openBound(parts: Parts, call: Call): Promise<Log> {
  const name = param(call, 0);
  if (call.token === undefined || !isBound(call.token, name)) throw unknownLog(name);
  try {
    return await parts.logs.get(name);
  } catch (error) {
    throw hasCode(error, 'not_found') ? unknownLog(name) : error;
  }
}

async function showLog(parts: Parts, call: Call): Promise<void> {
  sendJson(call, describe(await openBound(parts, call)));
}

function describe(log: Log) {
  const { size, root, timeMs } = log.head();
  const { identity, anchor } = log.verifierKeys();
  return {
    name: log.name,
    origin: log.origin,
    visibility: log.visibility,
    size,
    root: toBase64(root),
    time: timestamp(timeMs),
    rules: log.rules,
    keys: [
      { purpose: 'identity', vkey: identity.text },
      { purpose: 'anchor', vkey: anchor.text },
    ],
  };
}

async function registerGateway(parts: Parts, call: Call): Promise<void> {
  const log = await openBound(parts, call);
  const { alg, spki, ...options } = await readObject(parts, call, NewGateway);
  // A control record that gave one of these away would lock the log out of its own source.
  if (options.source?.startsWith('_')) {
    throw new SteleError('forbidden', `source ${shown(options.source)} is the log's own`);
  }
  const key = parsePublicKey(alg, parseSpki(spki));
  const index = await log.registerGateway(key, options);
  sendJson(call, { keyid: key.keyid, alg: key.alg, index }, 201);
}

const PEM = /^\s*-----BEGIN PUBLIC KEY-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END PUBLIC KEY-----\s*$/;

/** PEM as `openssl pkey -pubout` prints it, or the DER in base64. */
function parseSpki(text: string): Uint8Array {
  const pem = PEM.exec(text)?.[1];
  if (pem === undefined && text.includes('-----BEGIN')) {
    throw malformed('body.spki', `${shown(text, 40)} is not the PEM of one public key`);
  }
  return parseBase64(pem === undefined ? text : pem.replace(/[\r\n]/g, ''), 'body.spki');
}

async function listGateways(parts: Parts, call: Call): Promise<void> {
  const log = await openBound(parts, call);
  sendJson(call, { gateways: log.keys().map(describeKey) });
}

async function revokeGateway(parts: Parts, call: Call): Promise<void> {
  const log = await openBound(parts, call);
  const keyid = param(call, 1);
  parseHex(keyid, 'keyid', HASH_BYTES);
  sendJson(call, { keyid, index: await log.revokeGateway(keyid) });
}

async function listKeys(parts: Parts, call: Call): Promise<void> {
  const keys = [];
  for (const { name } of boundLogs(parts, call)) {
    for (const key of (await parts.logs.get(name)).keys()) {
      keys.push({ log: name, ...describeKey(key) });
    }
  }
  sendJson(call, { keys });
}

function describeKey(key: RegisteredKey) {
  const { keyid, alg, spki, purpose, registered, revoked } = key;
  return {
    keyid,
    alg,
    spki: toBase64(spki),
    purpose,
    registered,
    ...(revoked === undefined ? {} : { revoked }),
  };
}
