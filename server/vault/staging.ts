/**
 * Staging: content on its way in. Each disclosure and body is checked against the record's commitments
 * and sealed to a file that has no name yet; `Vault.commitAll` gives it one.
 *
 * Any failure ends the staging and deletes its file, so a refusal leaves nothing behind, and no key
 * ever seals a second attempt. A crash leaves a file that no key opens: data keys of stagings are
 * only in memory. The next start deletes it.
 */
import { createHash } from 'node:crypto';
import { parseBase64url, toHex, utf8 } from '../core/bytes.ts';
import { type BodyValue, bodyValueOf, parseDisclosure } from '../core/disclosure.ts';
import { invariant, SteleError, shown, unverified } from '../core/errors.ts';
import { type ContentWriter, type Section, type SectionKind, sectionName } from './content-file.ts';

/** Which record: `record_id` is unique only within its source. */
export interface RecordKey {
  readonly source: string;
  readonly recordId: string;
}

export interface BodyLimits {
  /** Default `BODY_BYTES_MAX`. */
  readonly bytesMax?: number;
}

/** Bytes of a body unless the setting `limits.body_bytes` says otherwise. */
export const BODY_BYTES_MAX = 2 ** 31;

/** Content of one record that was not committed. One call at a time. */
export interface Staging {
  readonly key: RecordKey;
  /** `unverified` unless the text opens a commitment of the record. */
  addDisclosure(text: string): Promise<void>;
  /**
   * Reads `chunks` to their end. The field's disclosure must have come before, now or with an earlier
   * submission; `unverified` unless the body is the one that it names.
   */
  addBody(field: string, chunks: AsyncIterable<Uint8Array>, limits?: BodyLimits): Promise<void>;
  /**
   * Makes the bytes durable without giving them a name, and takes no more content. `commitAll` does it
   * where it was not done; doing it earlier keeps this fsync out of the log's batch.
   */
  seal(): Promise<void>;
  /** Deletes what was staged. Does nothing once a commit has begun, after a failure, or twice. */
  discard(): Promise<void>;
}

/** A staging's file, open for writing. */
export interface StagingFile {
  readonly writer: ContentWriter;
  /** The file's data key, wrapped. */
  readonly wrapped: Uint8Array;
  close(): Promise<void>;
}

/** What a staging asks of its vault. */
export interface StagingHost {
  /** Makes the staging's file, at its first section. */
  create(): Promise<StagingFile>;
  /** Deletes the staging's file, if it has one. */
  remove(): Promise<void>;
  /** The disclosure that an earlier submission stored; nothing where there is none. */
  storedDisclosure(field: string, digest: string): Promise<string | undefined>;
  /** The staging has ended: committed, discarded or failed. */
  ended(): void;
  /** A step of it failed, before the staging ends. */
  failed(error: unknown): void;
}

export class OpenStaging implements Staging {
  readonly key: RecordKey;
  readonly #commitments: ReadonlyMap<string, string>;
  /** Content that is stored already, by `sectionName`. */
  readonly #stored: ReadonlySet<string>;
  readonly #host: StagingHost;
  readonly #values = new Map<string, BodyValue>();
  readonly #added = new Set<string>();
  #file: StagingFile | undefined;
  #state: 'open' | 'busy' | 'sealed' | 'ended' = 'open';
  /** A commit is under way: who began the staging can no longer discard it. */
  #held = false;

  constructor(
    key: RecordKey,
    commitments: ReadonlyMap<string, string>,
    stored: ReadonlySet<string>,
    host: StagingHost,
  ) {
    this.key = key;
    this.#commitments = commitments;
    this.#stored = stored;
    this.#host = host;
  }

  addDisclosure(text: string): Promise<void> {
    return this.#work(async () => {
      const { name, value, digest } = parseDisclosure(text);
      const committed = this.#commitments.get(name);
      if (committed === undefined) {
        throw unverified('disclosure', `the record has no commitment named ${shown(name)}`);
      }
      if (committed !== digest) {
        throw unverified(`disclosure ${shown(name)}`, `its digest ${digest} is not ${committed}`);
      }
      const body = bodyValueOf(value);
      if (body !== undefined) this.#values.set(name, body);
      await this.#add('disclosure', name, digest, [utf8(text)]);
    });
  }

  addBody(
    field: string,
    chunks: AsyncIterable<Uint8Array>,
    limits: BodyLimits = {},
  ): Promise<void> {
    return this.#work(async () => {
      const value = await this.#bodyValue(field);
      const { bytesMax = BODY_BYTES_MAX } = limits;
      if (value.bytes > bytesMax) {
        const rule = `${value.bytes} bytes; at most ${bytesMax} are accepted`;
        throw new SteleError('too_large', `body ${shown(field)}: ${rule}`);
      }
      const digest = this.#commitments.get(field) ?? '';
      await this.#add('body', field, digest, checked(field, value, chunks));
    });
  }

  seal(): Promise<void> {
    return this.#work(async () => {
      await this.#file?.writer.finish();
      await this.#file?.close();
    }, 'sealed');
  }

  async discard(): Promise<void> {
    if (this.#state === 'ended' || this.#held) return;
    const sealed = this.#state === 'sealed';
    this.end();
    try {
      // Waits for a write that is under way; the next one fails, since the file is closed.
      if (!sealed) await this.#file?.close();
    } finally {
      await this.#host.remove();
    }
  }

  /** What a commit needs: the wrapped key and what is inside, or nothing if nothing was new. */
  get sealed():
    | { readonly wrapped: Uint8Array; readonly sections: readonly Section[] }
    | undefined {
    invariant(this.#state === 'sealed', 'a staging is sealed before it is committed');
    return this.#file && { wrapped: this.#file.wrapped, sections: this.#file.writer.sections };
  }

  get isSealed(): boolean {
    return this.#state === 'sealed';
  }

  /** Makes the staging the commit's own, until `end` or `drop`. */
  hold(): void {
    this.#held = true;
  }

  /** Discards a staging that was held. */
  drop(): Promise<void> {
    this.#held = false;
    return this.discard();
  }

  /** Ends a sealed staging whose file has its name now. */
  end(): void {
    this.#state = 'ended';
    this.#host.ended();
  }

  async #work(work: () => Promise<void>, then: 'open' | 'sealed' = 'open'): Promise<void> {
    invariant(this.#state === 'open', `a staging takes one call at a time; it is ${this.#state}`);
    this.#state = 'busy';
    try {
      await work();
      // A discard may have come in between, from a caller whose connection broke.
      if (this.#state === 'busy') this.#state = then;
    } catch (error) {
      this.#host.failed(error);
      await this.#abandon();
      throw error;
    }
  }

  /** Discards after a failure, whose reason counts: a file that stays is deleted at the next start. */
  async #abandon(): Promise<void> {
    try {
      await this.discard();
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
    }
  }

  async #add(
    kind: SectionKind,
    field: string,
    digest: string,
    plain: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const name = sectionName({ kind, field, digest });
    if (this.#stored.has(name) || this.#added.has(name)) {
      // The same content again. It is checked like the first, and not kept.
      for await (const piece of plain) void piece;
      return;
    }
    this.#file ??= await this.#create();
    await this.#file.writer.add(kind, field, digest, plain);
    this.#added.add(name);
  }

  async #create(): Promise<StagingFile> {
    const file = await this.#host.create();
    if (this.#state === 'busy') return file;
    // Discarded while the file was being made.
    await file.close();
    await this.#host.remove();
    throw new SteleError('storage', 'the staging was discarded');
  }

  async #bodyValue(field: string): Promise<BodyValue> {
    const value = this.#values.get(field);
    if (value !== undefined) return value;
    const digest = this.#commitments.get(field);
    const text =
      digest === undefined ? undefined : await this.#host.storedDisclosure(field, digest);
    const stored = text === undefined ? undefined : bodyValueOf(parseDisclosure(text).value);
    if (stored === undefined) {
      throw unverified(`body ${shown(field)}`, 'no disclosure that names a body came before it');
    }
    return stored;
  }
}

/** Passes a body on, and throws `unverified` as soon as it is not the one that `value` names. */
export async function* checked(
  field: string,
  value: BodyValue,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > value.bytes) {
      throw unverified(`body ${shown(field)}`, `over the ${value.bytes} bytes it should have`);
    }
    hash.update(chunk);
    yield chunk;
  }
  if (bytes < value.bytes) {
    throw unverified(`body ${shown(field)}`, `${bytes} of the ${value.bytes} bytes it should have`);
  }
  // The hash of the plain text is a fact about it that the disclosure alone may tell: not shown.
  const digest = new Uint8Array(hash.digest());
  if (toHex(digest) !== toHex(parseBase64url(value.sha256, 'sha256'))) {
    throw unverified(`body ${shown(field)}`, 'its SHA-256 is not the one its disclosure names');
  }
}
