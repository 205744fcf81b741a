/**
 * Which of a log's own keys sign, and with whose hands?
 *
 * Which ones is a matter of the log's control records alone (`verify/key-history.ts`), those of the batch
 * that is being signed included; the keyring only brings the private halves. Nothing here remembers what was
 * decided before: after a crash the same records say the same.
 */
import { utf8 } from '../core/bytes.ts';
import { hasCode, invariant, SteleError } from '../core/errors.ts';
import { LOG_KEY_PURPOSES, type LogKeyPurpose, logVerifierKey } from '../core/log-key.ts';
import { formatNote, parseNote, type VerifierKey } from '../core/note.ts';
import type { LogKeyring } from '../keys/log-keyring.ts';
import { type NoteSigner, signNote } from '../keys/log-keys.ts';
import type { Signer } from '../keys/signer.ts';
import type { Head } from '../storage/store.ts';
import type { KeyHistory, LogKey } from '../verify/key-history.ts';
import type { Control } from './append.ts';
import type { Registry } from './registry.ts';

export interface OwnKeysOptions {
  readonly origin: string;
  readonly keys: LogKeyring;
  readonly registry: Registry;
}

export class OwnKeys {
  readonly #options: OwnKeysOptions;
  /** By key ID, opened when first needed. */
  readonly #signers = new Map<string, Promise<Signer>>();
  /** The key of tree heads, as long as the log does not name it: logs of early builds began without one. */
  #unnamed: Signer | undefined;

  constructor(options: OwnKeysOptions) {
    this.#options = options;
  }

  get history(): KeyHistory {
    const { history } = this.#options.registry;
    invariant(history !== undefined, 'genesis is the first entry');
    return history;
  }

  /** The newest key of a purpose, which readers who ask now should have; nothing if there is none. */
  newest(purpose: LogKeyPurpose): VerifierKey | undefined {
    const { origin } = this.#options;
    const newest = this.history.live(purpose).at(-1)?.key;
    if (newest !== undefined || purpose !== 'sth' || this.#unnamed === undefined) return newest;
    return logVerifierKey('sth', origin, this.#unnamed.publicKey);
  }

  /**
   * Makes, or finds, the first keys of a log that has no entry yet: what its genesis names. One whose keys
   * are held by somebody who has none for tree heads does without those.
   */
  async first(): Promise<readonly string[]> {
    const { origin, keys } = this.#options;
    const named: string[] = [];
    for (const purpose of LOG_KEY_PURPOSES) {
      try {
        const { publicKey } = await keys.next(purpose, []);
        named.push(logVerifierKey(purpose, origin, publicKey).text);
      } catch (error) {
        if (purpose !== 'sth' || !hasCode(error, 'not_found')) throw error;
      }
    }
    return named;
  }

  /** The key of a purpose that would be announced next: made now, unless it is there. */
  async next(purpose: LogKeyPurpose): Promise<Signer> {
    const announced = this.history.ofPurpose(purpose).map(({ publicKey }) => publicKey);
    return this.#options.keys.next(purpose, announced);
  }

  /** Opens every key that signs now. Rejects with `storage` if one of them is missing. */
  async open(): Promise<void> {
    for (const purpose of LOG_KEY_PURPOSES) {
      for (const key of this.history.live(purpose)) await this.#signer(key, this.history);
    }
  }

  /** What signs tree heads of RFC 6962. */
  async treeHeadSigner(): Promise<Signer> {
    const key = this.history.live('sth').at(-1);
    if (key !== undefined) return this.#signer(key, this.history);
    this.#unnamed ??= await this.next('sth');
    return this.#unnamed;
  }

  /** The note of a head with a line of each identity key that signs its size. */
  async sign(text: string, size: number, last: Control | undefined): Promise<string> {
    const { registry } = this.#options;
    // The record that ends the batch counts for the batch's own head.
    const history =
      last === undefined ? this.history : registry.historyWith(last.entry, last.index);
    invariant(history !== undefined, 'genesis is the first entry');
    const lines = await this.#lines('identity', size, history);
    invariant(lines.length > 0, `a key signs the head of size ${size}`);
    return formatNote(await signNote(text, lines));
  }

  /** A published head's note: the lines as they were signed, and those of the anchor keys. */
  async countersign({ checkpoint, size }: Head): Promise<string> {
    const note = parseNote(utf8(checkpoint));
    const lines = await this.#lines('anchor', size, this.history);
    const { signatures } = await signNote(note.text, lines);
    return formatNote({ text: note.text, signatures: [...note.signatures, ...signatures] });
  }

  async #lines(
    purpose: LogKeyPurpose,
    size: number,
    history: KeyHistory,
  ): Promise<readonly NoteSigner[]> {
    const lines: NoteSigner[] = [];
    for (const key of history.signing(purpose, size)) {
      lines.push({ key: key.key, signer: await this.#signer(key, history) });
    }
    return lines;
  }

  #signer({ purpose, publicKey }: LogKey, history: KeyHistory): Promise<Signer> {
    const known = this.#signers.get(publicKey.keyid);
    if (known !== undefined) return known;
    const ofPurpose = history.ofPurpose(purpose);
    const number = 1 + ofPurpose.findIndex((one) => one.publicKey.keyid === publicKey.keyid);
    const signer = this.#options.keys.open(purpose, number, publicKey).catch((cause: unknown) => {
      this.#signers.delete(publicKey.keyid);
      if (!(cause instanceof SteleError)) throw cause;
      throw new SteleError('storage', cause.message, { cause });
    });
    this.#signers.set(publicKey.keyid, signer);
    return signer;
  }
}
