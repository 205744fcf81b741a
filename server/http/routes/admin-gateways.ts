/**
 * `/v1/admin/logs/{log}/gateways` and `/v1/admin/keys`: whose signatures a log takes.
 *
 * A registration proves that its key is at hand, by a signature over a challenge of this server
 * (`core/possession.ts`): else a key could be registered by somebody who only saw its public half.
 */
import * as v from 'valibot';
import { parseHex } from '../../core/bytes.ts';
import { SteleError, shown, unverified } from '../../core/errors.ts';
import { KEY_TEXT_MAX, parseKeyText } from '../../core/key-text.ts';
import { SOURCE_ID_MAX } from '../../core/limits.ts';
import { HASH_BYTES } from '../../core/units.ts';
import { timestamp } from '../../log/clock.ts';
import { describeKey } from '../../log/describe.ts';
import type { Registration } from '../../log/own-records.ts';
import { sendJson } from '../answer.ts';
import type { Parts } from '../app.ts';
import { type Call, type InstanceRoute, type Log, param } from '../call.ts';
import { closed, millisOf, readObject, Time } from './admin-body.ts';
import { boundLogs, onLog } from './admin-bound.ts';

const Source = v.pipe(
  v.string(),
  v.regex(/^[\x21-\x7e]+$/, 'not visible ASCII characters'),
  v.maxLength(SOURCE_ID_MAX),
);

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

export const NewGateway = closed({
  key: v.pipe(
    v.string(),
    v.maxLength(KEY_TEXT_MAX),
    v.description(
      'A public key or a certificate in PEM, a JSON Web Key as text, or the DER of the key in base64.',
    ),
  ),
  source: v.exactOptional(
    v.pipe(
      Source,
      v.description(
        'The source that the key is for; one that had another key is handed over to it.',
      ),
    ),
  ),
  not_before: v.exactOptional(
    v.pipe(Time, v.description('From when on it is admitted. A certificate brings its own.')),
  ),
  not_after: v.exactOptional(
    v.pipe(Time, v.description('Until when it is admitted. A certificate brings its own.')),
  ),
  challenge: v.exactOptional(v.pipe(v.string(), v.regex(BASE64, 'not base64'), v.maxLength(64))),
  proof: v.exactOptional(
    v.pipe(
      v.string(),
      v.regex(BASE64, 'not base64'),
      v.maxLength(1_024),
      v.description('The key’s signature over the challenge, in base64.'),
    ),
  ),
});

const GATEWAYS = '/v1/admin/logs/{log}/gateways';

export function adminGatewayRoutes(parts: Parts): readonly InstanceRoute[] {
  const base = { on: 'instance', access: 'keys' } as const;
  return [
    {
      ...base,
      method: 'POST',
      pattern: `${GATEWAYS}/challenge`,
      handle: (call) => challenge(parts, call),
    },
    {
      ...base,
      method: 'POST',
      pattern: GATEWAYS,
      handle: (call) => registerGateway(parts, call),
    },
    { ...base, method: 'GET', pattern: GATEWAYS, handle: (call) => listGateways(parts, call) },
    {
      ...base,
      method: 'DELETE',
      pattern: `${GATEWAYS}/{keyid}`,
      handle: (call) => revokeGateway(parts, call),
    },
    {
      ...base,
      method: 'GET',
      pattern: '/v1/admin/keys',
      handle: (call) => listKeys(parts, call),
    },
  ];
}

async function challenge(parts: Parts, call: Call): Promise<void> {
  const origin = await onLog(parts, call, (log) => log.origin);
  const { challenge: text, expiresMs } = parts.possession.challenge(origin, call.token?.id ?? '');
  sendJson(call, { origin, challenge: text, expires: timestamp(expiresMs) }, 201);
}

function registerGateway(parts: Parts, call: Call): Promise<void> {
  return onLog(parts, call, (log) => registerWith(parts, call, log));
}

async function registerWith(parts: Parts, call: Call, log: Log): Promise<void> {
  const wanted = await readObject(parts, call, NewGateway);
  // A control record that gave one of these away would lock the log out of its own source.
  if (wanted.source?.startsWith('_')) {
    throw new SteleError('forbidden', `source ${shown(wanted.source)} is the log's own`);
  }
  const { key, ...proposed } = parseKeyText(wanted.key);
  const registration = registrationOf(wanted, proposed);
  const register = () => log.registerGateway(key, registration);
  // Asked for again, perhaps since the answer was lost, it says nothing new and proves nothing.
  const done = log.registeredGateway(key, registration);
  const index = done ?? (await proven());
  sendJson(call, { keyid: key.keyid, alg: key.alg, index }, 201);

  function proven() {
    const { challenge: text, proof } = wanted;
    if (text !== undefined && proof !== undefined) {
      return parts.possession.proven(log.origin, key, { challenge: text, proof }, register);
    }
    if ((text ?? proof) === undefined && !parts.settings.requirePossession) return register();
    throw unverified(
      'body.proof',
      `key ${key.keyid} is registered with a challenge of ${GATEWAYS}/challenge and the key's ` +
        'signature over it, both of them',
    );
  }
}

/** A period that is given wins over the one in a certificate. */
function registrationOf(
  wanted: v.InferOutput<typeof NewGateway>,
  { notBeforeMs, notAfterMs }: { readonly notBeforeMs?: number; readonly notAfterMs?: number },
): Registration {
  const { source, not_before, not_after } = wanted;
  return {
    source,
    notBeforeMs: not_before === undefined ? notBeforeMs : millisOf(not_before, 'body.not_before'),
    notAfterMs: not_after === undefined ? notAfterMs : millisOf(not_after, 'body.not_after'),
  };
}

async function listGateways(parts: Parts, call: Call): Promise<void> {
  const gateways = await onLog(parts, call, (log) => log.keys().map(describeKey));
  sendJson(call, { gateways });
}

async function revokeGateway(parts: Parts, call: Call): Promise<void> {
  const keyid = param(call, 1);
  const index = await onLog(parts, call, (log) => {
    parseHex(keyid, 'keyid', HASH_BYTES);
    return log.revokeGateway(keyid);
  });
  sendJson(call, { keyid, index });
}

async function listKeys(parts: Parts, call: Call): Promise<void> {
  const keys = [];
  for (const { name } of boundLogs(parts, call)) {
    const ofLog = await parts.logs.use(name, (log) => log.keys());
    keys.push(...ofLog.map((key) => ({ log: name, ...describeKey(key) })));
  }
  sendJson(call, { keys });
}
