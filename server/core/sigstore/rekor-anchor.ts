/**
 * Is this head in Rekor, and since when?
 *
 *     signature    by the anchor key, over the note text; the bundle's digest is that of the text
 *     body         the entry of exactly this digest, signature and key, in its canonical spelling
 *     checkpoint   signed by the instance that the entry names, which is pinned (rekor-checkpoint.ts)
 *     inclusion    the entry is in the tree of that checkpoint
 *     promise      v1: Rekor's own word on the index over all shards, and on the time
 *     time         v1: Rekor's, by the promise; besides, each time stamp over the signature
 *     validity     the instance was good at that time
 *
 * An entry in Rekor does not bind what it is about: many bundles with flawless proofs are about another
 * digest, another signature or another key. So the entry is made again from the head and compared.
 *
 * What the trust does not know is `NoTrust`: it counts for nothing, and is no flaw of the head. What breaks
 * a rule is `malformed` or `unverified`, with the place.
 */
import { equalBytes, sha256, toBase64, toHex } from '../bytes.ts';
import { NoTrust, SteleError, shown, unverified } from '../errors.ts';
import type { PublicKey } from '../keys.ts';
import { leafHash } from '../merkle.ts';
import { checkInclusion } from '../proof.ts';
import { checkSignature, type SignatureCheck } from '../signature.ts';
import { type Hash, type LeafIndex, treeSize } from '../units.ts';
import {
  checkHashedRekord,
  ENTRY_KIND,
  ENTRY_VERSIONS,
  hashedRekord,
  type RekorVersion,
} from './hashedrekord.ts';
import { openRekorCheckpoint, type RekorCheckpoint } from './rekor-checkpoint.ts';
import type { SigstoreBundle } from './sigstore-bundle.ts';
import { promiseMessage, type TlogEntry } from './tlog-entry.ts';
import {
  formatMs,
  formatPeriods,
  isWithin,
  type TrustedRoot,
  type UsableLog,
} from './trusted-root.ts';

/** The moment that a time stamp proves, and who says so. */
export interface Stamped {
  readonly timeMs: number;
  /** The same, with what its clock may have been wrong by. */
  readonly latestMs: number;
  /** The authority's name, for people. */
  readonly authority: string;
}

/**
 * Holds a time-stamping authority's response to the data that it is of and to those authorities that the
 * caller pins. Throws `NoTrust` where it is by none of them, else `malformed` or `unverified`.
 */
export type TimestampCheck = (response: Uint8Array, data: Uint8Array) => Stamped;

export interface RekorCheckOptions {
  /** The engine; the portable one unless a server brings a faster. */
  readonly check?: SignatureCheck;
  /** Without it time stamps prove nothing. */
  readonly checkTimestamp?: TimestampCheck;
  /** Now; without it no time is taken for one that is still to come. */
  readonly nowMs?: number;
}

/** What was proven of an entry, whatever it is about. */
export interface LoggedEntry {
  readonly log: UsableLog;
  readonly api: RekorVersion;
  /** As Rekor counts it for everybody: in v1 over all its shards. */
  readonly index: LeafIndex;
  readonly checkpoint: RekorCheckpoint;
  /** When Rekor says that it took the entry up; v1 alone. */
  readonly integratedMs?: number;
}

export interface RekorAnchored extends LoggedEntry {
  readonly stamps: readonly Stamped[];
  /** Time stamps by nobody that is pinned. */
  readonly unknownStamps: number;
  /** The head is at least as old as this; nothing where nobody says when. */
  readonly timeMs?: number;
  /** One sentence. */
  readonly detail: string;
}

/**
 * How far the clocks of Rekor, of an authority and ours may be apart. None of them promises more than
 * that it is kept right, and an anchor that is refused for a slow clock is refused for ever.
 */
export const CLOCKS_APART_MS = 600_000;

const WHAT = 'rekor anchor';

/** Checks a bundle against the note text that it has to be about; throws, or says what it proves. */
export function checkRekorAnchor(
  bundle: SigstoreBundle,
  head: { readonly text: Uint8Array },
  anchorKeys: readonly PublicKey[],
  trust: TrustedRoot,
  options: RekorCheckOptions = {},
): RekorAnchored {
  const { signature, digest } = bundle;
  const key = keyOf(bundle.hint, anchorKeys);
  if (!equalBytes(digest, sha256(head.text))) {
    throw unverified(`${WHAT}: digest`, `${toHex(digest)} is not that of the head's text`);
  }
  at('signature', () => (options.check ?? checkSignature)(key, head.text, signature));
  const api = versionOf(bundle.entry);
  const body = hashedRekord(api, { digest, signature, key });
  const logged = checkLogged(bundle.entry, body, trust, options);
  const { stamps, unknown } = checkStamps(bundle, options);
  checkTimes(logged, stamps, options.nowMs);
  const times = stamps.map(({ timeMs }) => timeMs);
  if (logged.integratedMs !== undefined) times.push(logged.integratedMs);
  const timed = times.length === 0 ? {} : { timeMs: Math.min(...times) };
  const anchored = { ...logged, stamps, unknownStamps: unknown, ...timed };
  return { ...anchored, detail: sentence(anchored) };
}

/** Checks that an entry is the expected one, and in a log that is pinned; its time is not yet judged. */
export function checkLogged(
  entry: TlogEntry,
  body: Uint8Array,
  trust: TrustedRoot,
  { check = checkSignature }: RekorCheckOptions = {},
): LoggedEntry {
  const api = versionOf(entry);
  at('body', () => checkHashedRekord(entry.body, body));
  const log = logOf(entry, trust);
  const checkpoint = at('checkpoint', () =>
    openRekorCheckpoint(entry.proof.checkpoint, api, log, check),
  );
  checkProof(entry, api, checkpoint);
  const logged = { log, api, index: entry.index, checkpoint };
  if (api === 2) {
    if (entry.promise !== undefined) {
      throw unverified(`${WHAT}: promise`, 'an entry of rekor v2 has none');
    }
    // SPEC: a time without a promise is nobody's word, and is not looked at.
    return logged;
  }
  const { promise } = entry;
  if (promise === undefined) {
    throw unverified(`${WHAT}: promise`, 'an entry of rekor v1 needs it: it proves index and time');
  }
  at('promise', () => check(log.key, promiseMessage(entry), promise));
  return { ...logged, integratedMs: entry.integratedTime * 1_000 };
}

/** The anchor key that a bundle says it was signed by, if it is one that is trusted. */
function keyOf(hint: Hash, keys: readonly PublicKey[]): PublicKey {
  const keyid = toHex(hint);
  const key = keys.find((one) => one.keyid === keyid);
  if (key === undefined) throw new NoTrust(WHAT, `anchor key ${keyid} is not known here`);
  if (key.alg !== 'ecdsa-p256') {
    throw unverified(WHAT, `key ${keyid} is ${key.alg} where an anchor key is ecdsa-p256`);
  }
  return key;
}

function versionOf({ kind, version }: TlogEntry): RekorVersion {
  if (kind === ENTRY_KIND && version === ENTRY_VERSIONS[1]) return 1;
  if (kind === ENTRY_KIND && version === ENTRY_VERSIONS[2]) return 2;
  throw unverified(
    `${WHAT}: entry`,
    `kind ${shown(kind)} in version ${shown(version)} is not hashedrekord 0.0.1 or 0.0.2`,
  );
}

/** The pinned instance that an entry names. */
function logOf({ keyId }: TlogEntry, trust: TrustedRoot): UsableLog {
  const named = trust.logs.filter((log) => equalBytes(log.keyId, keyId));
  const usable = named.find((log) => log.usable);
  if (usable !== undefined) return usable;
  const [unusable] = named;
  if (unusable === undefined || unusable.usable) {
    throw new NoTrust(WHAT, `no log with the key ID ${toBase64(keyId)} is in the trusted root`);
  }
  const { baseUrl, flaw } = unusable;
  throw new NoTrust(WHAT, `the log at ${shown(baseUrl)} cannot be used: ${flaw}`);
}

function checkProof(entry: TlogEntry, api: RekorVersion, checkpoint: RekorCheckpoint): void {
  const { proof, index } = entry;
  const { size, root } = checkpoint;
  // Both are said again beside the checkpoint, and other readers may believe the one that is not signed.
  if (proof.treeSize !== size) {
    throw unverified(`${WHAT}: treeSize`, `${proof.treeSize}, and ${size} in the checkpoint`);
  }
  if (!equalBytes(proof.rootHash, root)) {
    throw unverified(
      `${WHAT}: rootHash`,
      `${toBase64(proof.rootHash)}, and ${toBase64(root)} in the checkpoint`,
    );
  }
  if (api === 2 && proof.index !== index) {
    throw unverified(`${WHAT}: logIndex`, `${proof.index} in the proof, and ${index} beside it`);
  }
  const claim = { index: proof.index, size: treeSize(size), leafHash: leafHash(entry.body), root };
  at('inclusion', () => checkInclusion({ ...claim, proof: proof.hashes }));
}

function checkStamps(
  { timestamps, signature }: SigstoreBundle,
  { checkTimestamp }: RekorCheckOptions,
): { readonly stamps: readonly Stamped[]; readonly unknown: number } {
  if (checkTimestamp === undefined) return { stamps: [], unknown: timestamps.length };
  const stamps: Stamped[] = [];
  for (const [i, response] of timestamps.entries()) {
    try {
      stamps.push(at(`time stamp ${i}`, () => checkTimestamp(response, signature)));
    } catch (error) {
      if (!(error instanceof NoTrust)) throw error;
    }
  }
  return { stamps, unknown: timestamps.length - stamps.length };
}

function checkTimes(
  { log, integratedMs }: LoggedEntry,
  stamps: readonly Stamped[],
  nowMs: number | undefined,
): void {
  const stamped = stamps.map(({ timeMs }) => timeMs);
  for (const ms of integratedMs === undefined ? stamped : [...stamped, integratedMs]) {
    if (nowMs !== undefined && ms > nowMs + CLOCKS_APART_MS) {
      throw unverified(`${WHAT}: time`, `${formatMs(ms)} is still to come`);
    }
  }
  // The signature is stamped once Rekor has answered, so a stamp of long before belies Rekor's clock.
  for (const ms of stamped) {
    if (integratedMs !== undefined && integratedMs > ms + CLOCKS_APART_MS) {
      throw unverified(
        `${WHAT}: time`,
        `rekor says ${formatMs(integratedMs)}, after the time stamp of ${formatMs(ms)}`,
      );
    }
  }
  checkValidity(log, integratedMs ?? (stamped.length === 0 ? undefined : Math.min(...stamped)));
}

/** An instance counts for what is of its time. */
function checkValidity(log: UsableLog, ms: number | undefined): void {
  if (ms === undefined) {
    if (log.validFor.some(({ endMs }) => endMs === undefined)) return;
    throw new NoTrust(
      WHAT,
      `the log at ${shown(log.baseUrl)} was good ${formatPeriods(log.validFor)}, and nothing says when the entry was made`,
    );
  }
  if (isWithin(log.validFor, ms)) return;
  throw unverified(
    `${WHAT}: validity`,
    `${formatMs(ms)} is not in the time of the log at ${shown(log.baseUrl)}, ${formatPeriods(log.validFor)}`,
  );
}

function sentence(anchored: Omit<RekorAnchored, 'detail'>): string {
  const { log, api, index, checkpoint, integratedMs, stamps, unknownStamps } = anchored;
  const said = [
    `entry ${index} of ${log.baseUrl} (rekor v${api}), in its tree of ${checkpoint.size}`,
    integratedMs === undefined ? undefined : `taken up ${formatMs(integratedMs)} by its own word`,
    ...stamps.map(({ timeMs, authority }) => `stamped ${formatMs(timeMs)} by ${authority}`),
    unknownStamps === 0 ? undefined : `${unknownStamps} time stamps by nobody that is known here`,
    anchored.timeMs === undefined ? 'nothing says when' : undefined,
  ];
  return said.filter((part) => part !== undefined).join('; ');
}

/** Runs a check and says where it failed. */
function at<T>(place: string, check: () => T): T {
  try {
    return check();
  } catch (cause) {
    if (cause instanceof NoTrust || !(cause instanceof SteleError)) throw cause;
    throw new SteleError(cause.code, `${WHAT}: ${place}: ${cause.message}`, { cause });
  }
}
