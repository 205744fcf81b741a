/**
 * Which tree head did Rekor sign?
 *
 *     rekor.example.org - 1193050959916656506        v1: host and tree ID          v2: rekor-2026.example.org
 *     22
 *     qiHWbBus1kRPPYmy9X7johP5Yvzve1SvWl/260o3vlU=
 *
 *     — rekor.example.org pv7TMj…                    the name is the host, in v1 and in v2
 *
 * Of v2 it is a checkpoint as others have it. That of v1 is older than the rules: its origin and the name
 * in its line differ, and its key ID is of the SPKI whatever the key. An instance is pinned by its whole
 * key ID, of which a line has four bytes. For Ed25519 in v2 that ID is a hash of name and key, so it says
 * what the name has to be; otherwise the name has to be that of the instance's address.
 *
 * Exactly one line has to be by the instance, and it has to hold. Others, of witnesses and of keys that are
 * not pinned, are not looked at.
 *
 * [sigstore/rekor, pkg/util/checkpoint.go] [C2SP tlog-checkpoint] [C2SP signed-note]
 */
import { concat, equalBytes, sha256, toHex, utf8 } from '../bytes.ts';
import { SteleError, shown, unverified } from '../errors.ts';
import { rawEd25519 } from '../keys.ts';
import { parseNote } from '../note.ts';
import { checkSignature, type SignatureCheck } from '../signature.ts';
import { type Checkpoint, parseCheckpoint } from '../tree-head.ts';
import { NOTE_ED25519 } from '../verifier-key.ts';
import type { RekorVersion } from './hashedrekord.ts';
import type { UsableLog } from './trusted-root.ts';

export interface RekorCheckpoint extends Checkpoint {
  /** What it is called in its line. */
  readonly name: string;
}

const WHAT = 'rekor checkpoint';

/** An origin of v1: the host, and the number of the shard's tree. */
const ORIGIN_V1 = /^(\S+) - ([1-9][0-9]{0,19})$/;

/** The tree ID in a checkpoint of v1; throws `unverified` where there is none. */
export function treeIdOf({ origin }: Checkpoint): string {
  const [, , treeId] = ORIGIN_V1.exec(origin) ?? [];
  if (treeId === undefined) {
    throw unverified(WHAT, `origin ${shown(origin)} is not a host and a tree ID`);
  }
  return treeId;
}

/** Verifies and reads a checkpoint of an instance; throws `malformed` or `unverified`. */
export function openRekorCheckpoint(
  envelope: string,
  version: RekorVersion,
  log: UsableLog,
  check: SignatureCheck = checkSignature,
): RekorCheckpoint {
  const note = parseNote(utf8(envelope));
  // Rekor v1 once had a line with a time after the root; it is signed with the rest.
  const checkpoint = parseCheckpoint(note.text, { extensions: true });
  const name = version === 1 ? hostOf(checkpoint) : checkpoint.origin;
  checkName(name, log);
  const keyId = toHex(log.keyId.subarray(0, 4));
  const lines = note.signatures.filter((line) => line.name === name && line.keyId === keyId);
  const [line, another] = lines;
  if (line === undefined) throw unverified(WHAT, `no line is by ${name}+${keyId}`);
  if (another !== undefined)
    throw unverified(WHAT, `${lines.length} lines are by ${name}+${keyId}`);
  try {
    check(log.key, utf8(note.text), line.signature);
  } catch (cause) {
    if (!(cause instanceof SteleError)) throw cause;
    throw unverified(`${WHAT}: line of ${name}+${keyId}`, cause.message, { cause });
  }
  return { ...checkpoint, name };
}

function hostOf(checkpoint: Checkpoint): string {
  treeIdOf(checkpoint);
  return checkpoint.origin.slice(0, checkpoint.origin.lastIndexOf(' - '));
}

/** Throws unless an instance may be called this. */
function checkName(name: string, log: UsableLog): void {
  if (log.key.alg === 'ed25519' && equalBytes(namedKeyId(name, log), log.keyId)) return;
  // The ID of an ECDSA key is of the key alone, so it does not bind a name.
  const isOfKey = equalBytes(sha256(log.key.spki), log.keyId);
  if (isOfKey && log.baseUrls.some((url) => names(url).includes(name))) return;
  throw unverified(
    WHAT,
    isOfKey
      ? `it is of ${shown(name)} where the log at ${shown(log.baseUrl)} is expected`
      : `${shown(name)} and the key do not make the key ID of the log at ${shown(log.baseUrl)}`,
  );
}

/** SPEC: the key ID of an Ed25519 key is SHA-256 of name ‖ LF ‖ 0x01 ‖ key; here all of it. */
function namedKeyId(name: string, log: UsableLog): Uint8Array {
  return sha256(concat(utf8(`${name}\n`), Uint8Array.of(NOTE_ED25519), rawEd25519(log.key)));
}

/** What a log at this address may be called: its host, and its address without the scheme. */
function names(baseUrl: string): readonly string[] {
  const address = baseUrl.replace(/^https?:\/\//, '').replace(/\/+$/, '');
  return [address.replace(/\/.*$/, ''), address];
}
