/**
 * Whose cosignatures does a reader ask for?
 *
 *     log       VKEY [URL]                        a log that the reader knows
 *     witness   NAME VKEY [URL]                   a cosigner
 *     group     NAME all|any|K MEMBER…            K of these, witnesses or groups from further up
 *     quorum    NAME|none                         what a checkpoint must have; exactly once
 *
 * A policy always comes from the reader and never from what it judges. Names are opaque octets, so the
 * file is read as bytes: to decode it first would make two names one. Witness keys are of the
 * cosignature types, and no log of the policy is its own witness: an ML-DSA line of a log looks just
 * like a witness'.
 *
 * [C2SP tlog-policy]
 */
import { parseUtf8 } from './bytes.ts';
import { parseDecimal } from './decimal.ts';
import { malformed, shown } from './errors.ts';
import {
  isSameMaterial,
  NOTE_COSIGNATURE,
  NOTE_MLDSA,
  parseVerifierKey,
  type VerifierKey,
} from './verifier-key.ts';

/** Bytes of a policy: 256 ML-DSA keys with names and URLs. */
export const POLICY_BYTES_MAX = 524_288;

/** Logs, and witnesses, and groups [C2SP tlog-policy wants at least 32 of each]. */
export const POLICY_ITEMS_MAX = 256;

export interface PolicyLog {
  readonly key: VerifierKey;
  readonly url: string | undefined;
}

export interface PolicyWitness {
  readonly name: string;
  readonly key: VerifierKey;
  readonly url: string | undefined;
}

/** At least `threshold` of `members`, each a witness or a group that stands above this one. */
export interface PolicyGroup {
  readonly name: string;
  readonly threshold: number;
  readonly members: readonly string[];
}

export interface Policy {
  readonly logs: readonly PolicyLog[];
  readonly witnesses: readonly PolicyWitness[];
  readonly groups: readonly PolicyGroup[];
  /** The witness or group that a checkpoint must satisfy; nothing where the file says `none`. */
  readonly quorum: string | undefined;
}

/**
 * Whether these keys, each of which was verified on one checkpoint, satisfy the policy. Keys are
 * compared whole, by name, type and material; keys of no witness count for nothing.
 */
export function isQuorumMet(policy: Policy, verified: readonly VerifierKey[]): boolean {
  return policy.quorum === undefined || metBy(policy, verified).has(policy.quorum);
}

/** The names of all witnesses and groups that these keys satisfy. */
export function metBy(policy: Policy, verified: readonly VerifierKey[]): ReadonlySet<string> {
  const texts = new Set(verified.map((key) => key.text));
  const met = new Set(policy.witnesses.filter((w) => texts.has(w.key.text)).map((w) => w.name));
  // In the file's order: a group's members stand above it.
  for (const { name, threshold, members } of policy.groups) {
    if (members.filter((member) => met.has(member)).length >= threshold) met.add(name);
  }
  return met;
}

/** Throws `malformed` if one of these witnesses is a log: it would vouch for itself. */
export function checkWitnesses(
  witnesses: readonly PolicyWitness[],
  logKeys: readonly VerifierKey[],
): void {
  for (const { name, key } of witnesses) {
    if (logKeys.some((log) => log.name === key.name || isSameMaterial(log, key))) {
      throw malformed('policy', `witness ${shown(name)} has the name or the key of a log`);
    }
  }
}

/** Reads a policy file; throws `malformed` with the line. */
export function parsePolicy(bytes: Uint8Array): Policy {
  if (bytes.length > POLICY_BYTES_MAX) {
    throw malformed(
      'policy',
      `${bytes.length} bytes where at most ${POLICY_BYTES_MAX} are allowed`,
    );
  }
  const policy = new Draft();
  let number = 0;
  for (const line of toLatin1(bytes).split('\n')) {
    number++;
    const words = line.split(/[ \t]+/).filter((word) => word !== '');
    const [keyword] = words;
    // SPEC: a comment is a whole line; after anything else a # is part of a word.
    if (keyword === undefined || keyword.startsWith('#')) continue;
    policy.add(`policy line ${number}`, keyword, words.slice(1));
  }
  return policy.finish();
}

/** One character per byte, so that every octet stays itself. */
function toLatin1(bytes: Uint8Array): string {
  const characters: string[] = [];
  bytes.forEach((byte, i) => {
    const control = byte < 0x20 && byte !== 0x09 && byte !== 0x0a;
    if (control || byte === 0x7f) throw malformed('policy', `octet ${byte} at ${i} is not allowed`);
    characters.push(String.fromCharCode(byte));
  });
  return characters.join('');
}

/** A policy while it is read: every rule that needs what stands further up. */
class Draft {
  readonly #logs: PolicyLog[] = [];
  readonly #witnesses: PolicyWitness[] = [];
  readonly #groups: PolicyGroup[] = [];
  readonly #names = new Set<string>();
  readonly #members = new Set<string>();
  #quorum: string | undefined;

  add(what: string, keyword: string, words: readonly string[]): void {
    switch (keyword) {
      case 'log':
        this.#addLog(what, words);
        break;
      case 'witness':
        this.#addWitness(what, words);
        break;
      case 'group':
        this.#addGroup(what, words);
        break;
      case 'quorum':
        this.#setQuorum(what, words);
        break;
      default:
        throw malformed(what, `${shown(keyword)} is not log, witness, group or quorum`);
    }
  }

  finish(): Policy {
    if (this.#quorum === undefined) throw malformed('policy', 'no quorum line');
    checkWitnesses(
      this.#witnesses,
      this.#logs.map(({ key }) => key),
    );
    return {
      logs: this.#logs,
      witnesses: this.#witnesses,
      groups: this.#groups,
      quorum: this.#quorum === 'none' ? undefined : this.#quorum,
    };
  }

  #addLog(what: string, words: readonly string[]): void {
    const [vkey, url, ...rest] = words;
    if (vkey === undefined || rest.length > 0) throw malformed(what, 'not log VKEY [URL]');
    const key = this.#parseKey(what, vkey, this.#logs);
    this.#logs.push({ key, url });
  }

  #addWitness(what: string, words: readonly string[]): void {
    const [name, vkey, url, ...rest] = words;
    if (name === undefined || vkey === undefined || rest.length > 0) {
      throw malformed(what, 'not witness NAME VKEY [URL]');
    }
    this.#define(what, name);
    const key = this.#parseKey(what, vkey, this.#witnesses);
    if (key.type !== NOTE_COSIGNATURE && key.type !== NOTE_MLDSA) {
      throw malformed(what, `a witness key is of type 0x04 or 0x06 and not 0x0${key.type}`);
    }
    this.#witnesses.push({ name, key, url });
  }

  #addGroup(what: string, words: readonly string[]): void {
    const [name, rule, ...members] = words;
    if (name === undefined || rule === undefined || members.length === 0) {
      throw malformed(what, 'not group NAME all|any|K MEMBER…');
    }
    if (this.#groups.length >= POLICY_ITEMS_MAX) throw tooMany(what, 'groups');
    for (const member of members) {
      if (!this.#names.has(member)) {
        throw malformed(what, `${shown(member)} is not a witness or group further up`);
      }
      if (this.#members.has(member)) {
        throw malformed(what, `${shown(member)} is already a member of a group`);
      }
      this.#members.add(member);
    }
    this.#define(what, name);
    this.#groups.push({ name, threshold: thresholdOf(what, rule, members.length), members });
  }

  #setQuorum(what: string, words: readonly string[]): void {
    const [name, ...rest] = words;
    if (name === undefined || rest.length > 0) throw malformed(what, 'not quorum NAME|none');
    if (this.#quorum !== undefined) throw malformed(what, 'a second quorum line');
    if (name !== 'none' && !this.#names.has(name)) {
      throw malformed(what, `${shown(name)} is not a witness or group further up`);
    }
    this.#quorum = name;
  }

  /** Witnesses and groups share one name space, in which `none` is taken. */
  #define(what: string, name: string): void {
    if (name === 'none' || this.#names.has(name)) {
      throw malformed(what, `the name ${shown(name)} is taken`);
    }
    this.#names.add(name);
  }

  #parseKey(
    what: string,
    vkey: string,
    others: readonly { readonly key: VerifierKey }[],
  ): VerifierKey {
    if (others.length >= POLICY_ITEMS_MAX) throw tooMany(what, 'keys of this kind');
    // A key's name is UTF-8, unlike the policy's own names.
    const octets = Uint8Array.from(vkey, (character) => character.charCodeAt(0));
    const key = parseVerifierKey(parseUtf8(octets, what));
    // SPEC: the same public key twice is an error, under whatever names and types.
    if (others.some((other) => isSameMaterial(other.key, key))) {
      throw malformed(what, 'the same public key stands further up');
    }
    return key;
  }
}

function thresholdOf(what: string, rule: string, members: number): number {
  if (rule === 'all') return members;
  if (rule === 'any') return 1;
  const threshold = parseDecimal(rule, what);
  if (threshold < 1 || threshold > members) {
    throw malformed(what, `${threshold} of ${members} members can never be, or always is, met`);
  }
  return threshold;
}

function tooMany(what: string, kind: string) {
  return malformed(what, `more than ${POLICY_ITEMS_MAX} ${kind}`);
}
