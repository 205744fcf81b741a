/**
 * Acts on gateway keys: whose signatures a log takes.
 *
 * A registration proves that its key is at hand, by a signature over a challenge of this server
 * (`core/possession.ts`): else a key could be registered by somebody who only saw its public half.
 */
import * as v from 'valibot';
import { parseBase64, parseHex, toBase64 } from '../core/bytes.ts';
import { SteleError, shown, unverified } from '../core/errors.ts';
import { KEY_TEXT_MAX, parseKeyText } from '../core/key-text.ts';
import { type Algorithm, type PublicKey, parsePublicKey } from '../core/keys.ts';
import { SOURCE_ID_MAX } from '../core/limits.ts';
import { HASH_BYTES } from '../core/units.ts';
import type { Registration } from '../log/own-records.ts';
import type { Act, Asking, World } from './act.ts';
import { closed, millisOf, Time } from './wanted.ts';

const Source = v.pipe(
  v.string(),
  v.regex(/^[\x21-\x7e]+$/, 'not visible ASCII characters'),
  v.maxLength(SOURCE_ID_MAX),
);

const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

const NewGateway = closed({
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

type NewGateway = v.InferOutput<typeof NewGateway>;

/** A key that was judged, and what its registration says of it. */
type Registering = {
  readonly keyid: string;
  readonly alg: Algorithm;
  /** Base64. */
  readonly spki: string;
  readonly source?: string;
  readonly not_before_ms?: number;
  readonly not_after_ms?: number;
};

export const registerGateway: Act<NewGateway, Registering> = {
  name: 'gateway.register',
  wanted: NewGateway,
  async plan(world, asking) {
    const { log: name, wanted } = asking;
    // A control record that gave one of these away would lock the log out of its own source.
    if (wanted.source?.startsWith('_')) {
      throw new SteleError('forbidden', `source ${shown(wanted.source)} is the log's own`);
    }
    const { key, ...proposed } = parseKeyText(wanted.key);
    const registration = registrationOf(wanted, proposed);
    const args = registeringOf(key, registration);
    // Asked for again, perhaps since the answer was lost, it says nothing new and proves nothing.
    const { origin, isDone } = await world.logs.use(name, (log) => ({
      origin: log.origin,
      isDone: log.registeredGateway(key, registration) !== undefined,
    }));
    const plan = { args, takesTwo: true };
    if (isDone) return { args };
    const { challenge, proof } = wanted;
    if (challenge !== undefined && proof !== undefined) {
      const given = { challenge, proof };
      return { ...plan, guarded: (work) => world.possession.proven(origin, key, given, work) };
    }
    if ((challenge ?? proof) === undefined && !needsProof(world, asking)) return plan;
    throw unverified(
      'proof',
      `key ${key.keyid} is registered with a challenge of /v1/admin/logs/${name}/gateways/challenge ` +
        "and the key's signature over it, both of them",
    );
  },
  async perform({ logs }, name, args) {
    const { keyid, alg } = args;
    const key = parsePublicKey(alg, parseBase64(args.spki, 'spki'));
    const registration = {
      source: args.source,
      notBeforeMs: args.not_before_ms,
      notAfterMs: args.not_after_ms,
    };
    const index = await logs.use(name, (log) => log.registerGateway(key, registration));
    return { keyid, alg, index };
  },
};

/** Whoever has the files has the operator's key, and nothing to prove. */
function needsProof({ requirePossession }: World, { actor }: Asking<unknown>): boolean {
  return requirePossession && actor.token !== undefined;
}

/** A period that is given wins over the one in a certificate. */
function registrationOf(
  { source, not_before, not_after }: NewGateway,
  { notBeforeMs, notAfterMs }: { readonly notBeforeMs?: number; readonly notAfterMs?: number },
): Registration {
  return {
    source,
    notBeforeMs: not_before === undefined ? notBeforeMs : millisOf(not_before, 'not_before'),
    notAfterMs: not_after === undefined ? notAfterMs : millisOf(not_after, 'not_after'),
  };
}

function registeringOf(
  { keyid, alg, spki }: PublicKey,
  { source, notBeforeMs, notAfterMs }: Registration,
): Registering {
  return {
    keyid,
    alg,
    spki: toBase64(spki),
    ...(source === undefined ? {} : { source }),
    ...(notBeforeMs === undefined ? {} : { not_before_ms: notBeforeMs }),
    ...(notAfterMs === undefined ? {} : { not_after_ms: notAfterMs }),
  };
}

const RevokedGateway = closed({ keyid: v.string() });

type RevokedGateway = v.InferOutput<typeof RevokedGateway>;

export const revokeGateway: Act<RevokedGateway, RevokedGateway> = {
  name: 'gateway.revoke',
  wanted: RevokedGateway,
  plan(_world, { wanted }) {
    parseHex(wanted.keyid, 'keyid', HASH_BYTES);
    return { args: wanted, takesTwo: true };
  },
  async perform({ logs }, name, { keyid }) {
    return { keyid, index: await logs.use(name, (log) => log.revokeGateway(keyid)) };
  },
};
