/**
 * Does this receipt hold, for a reader who trusts these keys?
 *
 *     receipt     the form: one spelling                                       core/receipt.ts
 *     log         the trust file knows the log's identity key
 *     checkpoint  signed by it; other known lines verify                       head.ts
 *     witness     one for each that the trust file's policy names: did it cosign, and when?
 *     witnesses   the quorum that the policy asks for
 *     inclusion   the entry's leaf hash leads to the checkpoint's root
 *     record      the payload is a record, made for this log
 *     keys        the operator registered the signers' keys, before the entry  signers.ts
 *     signatures  of the entry, by those keys
 *     content     disclosures and bodies fit the record's commitments          content.ts
 *     rekor, rfc3161   what parties outside say of heads that cover the entry     anchors.ts
 *
 * It runs offline, in Node and in a browser, and asks nobody. Every step that can be judged is, so a
 * reader sees all that is wrong at once. What the server admits holds here (P5).
 */

import { cosignatureTime } from '../core/cosignature.ts';
import { decodeEntry, type Entry, RECORD_TYPE } from '../core/entry.ts';
import { malformed, shown, unverified } from '../core/errors.ts';
import { metBy, type Policy, type PolicyWitness } from '../core/policy.ts';
import { parseReceipt, type Receipt } from '../core/receipt.ts';
import { isControlKind, parseRecord, type Record } from '../core/record.ts';
import type { SignatureCheck } from '../core/signature.ts';
import type { Trust, TrustedLog } from '../core/trust.ts';
import { judgeAnchor } from './anchors.ts';
import { type Content, openContent, type ReadBody } from './content.ts';
import { isIdentity, nameOf, type OpenedHead, openHead } from './head.ts';
import { checkIncluded, checkSignatures, openSigners, type Signers } from './signers.ts';
import { type Bound, type Field, type StepName, Steps, type Verdict } from './verdict.ts';

export type { ReadBody } from './content.ts';
export type { Bound, Field, Step, StepName, StepStatus, Verdict } from './verdict.ts';

export interface VerifyOptions {
  /** Where larger bodies are, by the name that the receipt gives. */
  readonly body?: ReadBody;
  /** The engine; the portable one unless a server brings a faster. */
  readonly check?: SignatureCheck;
  /** What the receipt has to carry, by somebody whom the trust file knows. */
  readonly require?: readonly ('rekor' | 'rfc3161')[];
}

/** What no receipt can do without; a policy with a quorum adds `witnesses`. */
const REQUIRED: readonly StepName[] = [
  'receipt',
  'log',
  'checkpoint',
  'inclusion',
  'keys',
  'signatures',
];

const NOT_JUDGED = 'not judged, since an earlier step gave nothing to judge it by.';

/** The verdict on a stranger's receipt. Never throws because of what the receipt says. */
export function verifyReceipt(
  bytes: Uint8Array,
  trust: Trust,
  options: VerifyOptions = {},
): Verdict {
  const steps = new Steps();
  for (const step of [...REQUIRED, ...(options.require ?? [])]) steps.require(step);
  const receipt = steps.run(
    'receipt',
    () => parseReceipt(bytes),
    ({ index, origin }) => `It is a receipt for entry ${index} of ${origin}.`,
  );
  if (receipt === undefined) {
    return { holds: false, steps: steps.list(), notes: [], fields: [], bounds: [] };
  }
  return new Verification(steps, receipt, trust, options).verdict();
}

class Verification {
  readonly #steps: Steps;
  readonly #receipt: Receipt;
  readonly #trust: Trust;
  readonly #options: VerifyOptions;
  readonly #notes: string[] = [];

  constructor(steps: Steps, receipt: Receipt, trust: Trust, options: VerifyOptions) {
    this.#steps = steps;
    this.#receipt = receipt;
    this.#trust = trust;
    this.#options = options;
  }

  verdict(): Verdict {
    const log = this.#log();
    const head = log && this.#head(log);
    this.#witnesses(head);
    const entry = this.#inclusion(head);
    const record = entry && this.#record(entry);
    const readable = entry !== undefined && (record !== undefined || !isRecord(entry));
    const signers = readable && head && this.#keys(head, entry, record);
    if (log && head && entry && signers) this.#signatures(log, head, entry, signers);
    else this.#notJudged();
    const fields = this.#content(record);
    const bounds = this.#anchors(head);
    const { origin, index } = this.#receipt;
    return {
      holds: this.#steps.hold(),
      origin,
      index,
      steps: this.#steps.list(),
      notes: this.#notes,
      fields,
      // An entry that is not the head's has nothing of what was said of the head.
      bounds: entry === undefined ? [] : bounds,
      ...(record === undefined ? {} : { record }),
    };
  }

  #log(): TrustedLog | undefined {
    const { origin } = this.#receipt;
    const log = this.#trust.logs.find((known) => known.origin === origin);
    if (log?.keys.some(({ key }) => isIdentity(key)) !== true) {
      const what = log === undefined ? 'does not know this log' : 'has no identity key of this log';
      this.#steps.add('log', 'no-trust', `The trust file ${what}, ${shown(origin)}.`);
      return undefined;
    }
    this.#steps.add('log', 'valid', `The trust file knows ${origin}.`);
    return log;
  }

  #head(log: TrustedLog): OpenedHead | undefined {
    const head = this.#steps.run(
      'checkpoint',
      () => openHead(this.#receipt.checkpoint, log, this.#trust, this.#options.check),
      (opened) =>
        opened === undefined
          ? { status: 'no-trust', detail: 'No line is by a log key that the trust file knows.' }
          : `Of size ${opened.checkpoint.size}, signed by ${opened.verified.map(nameOf).join(', ')}.`,
    );
    for (const { name, keyId } of head?.unknown ?? []) {
      this.#steps.add('line', 'no-trust', `The trust file does not know key ${name}+${keyId}.`);
    }
    return head;
  }

  /** Only asked for where the trust file has a policy with a quorum. */
  #witnesses(head: OpenedHead | undefined): void {
    const policy = this.#trust.policy?.parsed;
    if (policy === undefined) {
      this.#steps.add('witnesses', 'absent', 'No quorum of witnesses is asked for.');
      return;
    }
    const seen = policy.witnesses.filter((witness) => this.#witness(witness, head));
    const who =
      seen.length === 0 ? 'no witness that is known' : seen.map(({ name }) => name).join(', ');
    if (policy.quorum === undefined) {
      const status = seen.length === 0 ? 'absent' : 'valid';
      this.#steps.add('witnesses', status, `Cosigned by ${who}; no quorum is asked for.`);
      return;
    }
    this.#steps.require('witnesses');
    const met = metBy(policy, head?.verified ?? []);
    const isMet = met.has(policy.quorum);
    this.#steps.add(
      'witnesses',
      isMet ? 'valid' : 'absent',
      `Cosigned by ${who}: quorum ${policy.quorum} is ${isMet ? '' : 'not '}met${groupsOf(policy, met)}.`,
    );
  }

  /** Whether a witness cosigned, with its step. */
  #witness({ name, key }: PolicyWitness, head: OpenedHead | undefined): boolean {
    const at = head?.verified.findIndex(({ text }) => text === key.text) ?? -1;
    const line = head?.signatures[at];
    const who = `Witness ${name}, key ${nameOf(key)},`;
    if (line === undefined) {
      this.#steps.add('witness', 'absent', `${who} did not cosign it.`);
      return false;
    }
    const time = cosignatureTime(line.signature);
    this.#steps.add('witness', 'valid', `${who} cosigned it at ${timeOf(time)} by its own clock.`);
    return true;
  }

  #inclusion(head: OpenedHead | undefined): Entry | undefined {
    const receipt = this.#receipt;
    const entry = this.#steps.run(
      'inclusion',
      () => {
        const decoded = decodeEntry(receipt.entry);
        if (head !== undefined) checkIncluded(receipt, head.checkpoint);
        return decoded;
      },
      () =>
        head === undefined
          ? { status: 'absent', detail: `Inclusion was ${NOT_JUDGED}` }
          : `It is entry ${receipt.index} of the ${head.checkpoint.size} under the checkpoint.`,
    );
    return entry;
  }

  #record(entry: Entry): Record | undefined {
    const { origin, index } = this.#receipt;
    if (!isRecord(entry)) {
      const type = shown(entry.payloadType);
      this.#steps.add('record', 'absent', `The payload is opaque bytes of type ${type}.`);
      this.#notes.push(
        'The payload is not an audit record, so the statement is not bound to a log: the same signed ' +
          'bytes could be shown in another log.',
      );
      return undefined;
    }
    return this.#steps.run(
      'record',
      () => {
        const record = parseRecord(entry.payload, origin);
        checkSourceName(record, index);
        return record;
      },
      ({ kind, record_id }) => `It is the ${kind} record ${record_id}, made for this log.`,
    );
  }

  #keys(head: OpenedHead, entry: Entry, record: Record | undefined): Signers | undefined {
    return this.#steps.run(
      'keys',
      () => openSigners(this.#receipt, entry, record, head.checkpoint, this.#options.check),
      ({ signers }) => {
        const [first] = signers;
        if (first?.role === 'operator') return 'Genesis names the operator key, which signs this.';
        const places = signers.map(({ key, registered }) => `${key.keyid} at ${registered}`);
        return `The operator that genesis names registered ${places.join(', ')}.`;
      },
    );
  }

  #signatures(
    log: TrustedLog,
    head: OpenedHead,
    entry: Entry,
    { genesis, signers }: Signers,
  ): void {
    this.#steps.run(
      'signatures',
      () => checkSignatures(entry, log.origin, signers, this.#options.check),
      () => `${signers.map((signer) => describe(signer, log)).join('; ')}.`,
    );
    if (!genesis.logKeys.some(({ text }) => text === head.identity.text)) {
      this.#notes.push(
        `The checkpoint is signed by ${nameOf(head.identity)}, which genesis does not list: it came ` +
          'later, and the trust file alone vouches for it.',
      );
    }
    if (signers.some(({ role }) => role === 'gateway')) {
      this.#notes.push(
        `Whether a gateway key was revoked before entry ${this.#receipt.index} cannot be checked from ` +
          'a receipt: an audit or a monitor of the log does that.',
      );
    }
  }

  #notJudged(): void {
    const done = new Set(this.#steps.list().map(({ step }) => step));
    for (const step of ['checkpoint', 'record', 'keys', 'signatures'] as const) {
      if (!done.has(step)) this.#steps.add(step, 'absent', `It was ${NOT_JUDGED}`);
    }
  }

  #content(record: Record | undefined): readonly Field[] {
    const { disclosures = [] } = this.#receipt;
    const content = openContent(disclosures, record, this.#options.body);
    if (disclosures.length === 0) {
      this.#steps.add('content', 'absent', 'Nothing is disclosed.');
    } else if (content.flaws.length > 0) {
      this.#steps.add('content', 'invalid', `${content.flaws.join('; ')}.`);
    } else {
      this.#steps.add('content', 'valid', contentSentence(content));
    }
    return content.fields;
  }

  #anchors(head: OpenedHead | undefined): Bound[] {
    const { anchors } = this.#receipt;
    const found = anchors.map((anchor) =>
      judgeAnchor(anchor, this.#receipt, head?.checkpoint, this.#trust),
    );
    for (const { step, status, detail } of found) this.#steps.add(step, status, detail);
    if (found.length === 0) this.#steps.add('anchors', 'absent', 'There are none.');
    for (const type of this.#options.require ?? []) {
      if (found.some(({ step, status }) => step === type && status === 'valid')) continue;
      this.#steps.add(type, 'absent', 'One is asked for, and there is none that counts.');
    }
    const bounds = found.flatMap(({ bound }) => (bound === undefined ? [] : [bound]));
    return bounds.sort((a, b) => a.latestMs - b.latestMs);
  }
}

/** How far each group is from what it asks for; nothing where the quorum is one witness. */
function groupsOf({ groups }: Policy, met: ReadonlySet<string>): string {
  if (groups.length === 0) return '';
  const each = groups.map(({ name, members, threshold }) => {
    const have = members.filter((member) => met.has(member)).length;
    return `${name} ${have} of ${members.length} where ${threshold} ${threshold === 1 ? 'is' : 'are'} needed`;
  });
  return ` (${each.join('; ')})`;
}

/** Seconds since 1970 as a date, where there is one: a verified line may have any number. */
function timeOf(seconds: number): string {
  const date = new Date(seconds * 1_000);
  return Number.isNaN(date.getTime()) ? `second ${seconds}` : date.toISOString();
}

function isRecord(entry: Entry): boolean {
  return entry.payloadType === RECORD_TYPE;
}

/** Names that begin with "_" are the log's own, and what is not control is not the log's. */
function checkSourceName(record: Record, index: number): void {
  if (index === 0 && record.kind !== 'genesis') {
    throw unverified('record', `entry 0 is a ${record.kind} record and not genesis`);
  }
  if (isControlKind(record.kind) || !record.source.id.startsWith('_')) return;
  throw malformed(
    'record',
    `source.id: ${shown(record.source.id)} is reserved for control records`,
  );
}

function describe({ key, role, registered }: Signers['signers'][number], log: TrustedLog): string {
  if (role === 'operator') return `Signed by the operator key ${key.keyid}`;
  const pinned = log.gateways.some(({ keyid }) => keyid === key.keyid);
  const how = pinned ? 'pinned in the trust file' : `registered by the log at ${registered}`;
  return `Signed by gateway key ${key.keyid}, ${how}`;
}

function contentSentence({ disclosed, bodies, fields }: Content): string {
  return `${disclosed} of ${fields.length} fields are disclosed, ${bodies} with their bodies, and fit.`;
}
