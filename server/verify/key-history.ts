/**
 * Which of a log's own keys had to sign a head of this size? What the log itself says of it, in its genesis
 * and in the key records that follow.
 *
 *     entry      0          r                         v
 *                genesis    key: rotate               key: revoke
 *                names old  announces new             ends old, last_size v+1
 *
 *     size       1 … r      r+1 … v+1                 v+2 …
 *     signed by  old        old and new               new
 *
 * A control record ends its batch, so a head of size r+1 is the one that integrates entry r. A head that
 * lacks a line which it had to have, or has one by a key that was never announced, is not what the log says
 * of itself; an audit looks for both. A verifier of one receipt does not see these records: its trust file
 * says the same, with `until_size`.
 *
 * A history is a value: what a record would change is asked of another one.
 */
import { parseBase64 } from '../core/bytes.ts';
import { unverified } from '../core/errors.ts';
import { type PublicKey, parsePublicKey } from '../core/keys.ts';
import { type LogKeyPurpose, logVerifierKey, purposeOf } from '../core/log-key.ts';
import { parseVerifierKey, type VerifierKey } from '../core/note.ts';
import type { GenesisRecord, KeyRecord } from '../core/record.ts';

export interface LogKey {
  readonly purpose: LogKeyPurpose;
  readonly key: VerifierKey;
  readonly publicKey: PublicKey;
  /** The entry that names it first, and the time that it gives for itself. */
  readonly announced: number;
  readonly announcedMs: number;
  /** The entry that ended it, and the last size that it signs. */
  readonly ended?: { readonly index: number; readonly lastSize: number };
}

/** Keys of one purpose that sign at once: a key, its successor, and one more while both are in doubt. */
const LIVE_MAX = 3;

export class KeyHistory {
  readonly #origin: string;
  readonly #keys: readonly LogKey[];

  private constructor(origin: string, keys: readonly LogKey[]) {
    this.#origin = origin;
    this.#keys = keys;
  }

  /** The history that begins with entry 0; keys of other purposes than a log's are left out. */
  static of({ genesis, time }: GenesisRecord): KeyHistory {
    const keys = genesis.log_keys.flatMap((text): LogKey[] => {
      const key = parseVerifierKey(text);
      const purpose = purposeOf(key);
      if (purpose === undefined) return [];
      const publicKey = key.publicKey ?? parsePublicKey('ecdsa-p256', key.key);
      return [{ purpose, key, publicKey, announced: 0, announcedMs: Date.parse(time.received) }];
    });
    return new KeyHistory(genesis.origin, keys);
  }

  /** Every key that there ever was, in the order in which they were announced. */
  all(): readonly LogKey[] {
    return this.#keys;
  }

  /** The keys of a purpose, in the order in which they were announced. */
  ofPurpose(purpose: LogKeyPurpose): readonly LogKey[] {
    return this.#keys.filter((key) => key.purpose === purpose);
  }

  /** The keys that signed, or sign, heads of this size: the newest last. */
  signing(purpose: LogKeyPurpose, size: number): readonly LogKey[] {
    return this.#keys.filter(
      (key) =>
        key.purpose === purpose &&
        key.announced < size &&
        size <= (key.ended?.lastSize ?? Number.POSITIVE_INFINITY),
    );
  }

  /** The keys that have no end yet: the newest last. */
  live(purpose: LogKeyPurpose): readonly LogKey[] {
    return this.#keys.filter((key) => key.purpose === purpose && key.ended === undefined);
  }

  /** What the log's history is once entry `index` is this record; throws `unverified` if it may not be. */
  with({ key: said, time }: KeyRecord, index: number): KeyHistory {
    const { action, purpose, alg, spki, keyid, last_size } = said;
    if (purpose === 'gateway') return this;
    const what = `key record at ${index}`;
    const known = this.#keys.find(({ publicKey }) => publicKey.keyid === keyid);
    const live = this.live(purpose);
    if (action !== 'revoke') {
      if (known !== undefined) {
        throw unverified(
          what,
          `key ${keyid} was the log's ${known.purpose} key from entry ${known.announced} on, and a key is announced once`,
        );
      }
      if (live.length >= LIVE_MAX) {
        throw unverified(what, `${live.length} ${purpose} keys sign already: one has to end first`);
      }
      const publicKey = parsePublicKey(alg, parseBase64(spki, 'key.spki'));
      const key = logVerifierKey(purpose, this.#origin, publicKey);
      this.#checkKeyId(what, key);
      const announcedMs = Date.parse(time.received);
      const added = { purpose, key, publicKey, announced: index, announcedMs };
      return new KeyHistory(this.#origin, [...this.#keys, added]);
    }
    if (known?.purpose !== purpose || known.ended !== undefined) {
      throw unverified(what, `key ${keyid} is no ${purpose} key of the log that could end`);
    }
    if (live.length === 1) {
      throw unverified(
        what,
        `key ${keyid} is the log's only ${purpose} key: another has to follow it`,
      );
    }
    if (last_size !== index + 1) {
      throw unverified(
        what,
        `last_size is ${last_size} where the head that integrates this very record has ${index + 1} entries`,
      );
    }
    const ended = { ...known, ended: { index, lastSize: last_size } };
    return new KeyHistory(
      this.#origin,
      this.#keys.map((key) => (key === known ? ended : key)),
    );
  }

  /** Four bytes name a key on a line: two keys of a log with the same would make every note ambiguous. */
  #checkKeyId(what: string, key: VerifierKey): void {
    const same = this.#keys.find((one) => one.key.keyId === key.keyId);
    if (same === undefined) return;
    throw unverified(
      what,
      `its short ID ${key.keyId} is that of key ${same.publicKey.keyid} too: another key has to be made`,
    );
  }
}
