/**
 * A content file: how do the disclosures and bodies of one record lie in one file, so that storing
 * them is one fsync, and reading one of them does not read the others?
 *
 *     ┌────────────────┬───────────┬───────────┬─────┬──────────────┬──────────────┐
 *     │ stele vault v1 │ section 0 │ section 1 │  …  │ sealed index │ its length   │
 *     │ and a line end │ chunks    │ chunks    │     │              │ u32          │
 *     └────────────────┴───────────┴───────────┴─────┴──────────────┴──────────────┘
 *
 * A section is one disclosure or one body in sealed chunks (`chunks.ts`), under a key of its own. The
 * index, sealed under another, says which sections there are and where. It comes last because
 * lengths are known last, and a file without it is a file that was never finished. Headers before the
 * sections were rejected: leaving out a whole section would go unnoticed.
 */
import { equalBytes, parseUtf8, utf8 } from '../core/bytes.ts';
import { invariant, SteleError } from '../core/errors.ts';
import { free } from '../core/free.ts';
import {
  associatedData,
  CHUNK_BYTES,
  deriveKey,
  Opener,
  open,
  type Place,
  plainLength,
  Sealer,
  seal,
  sealedLength,
  TAG_BYTES,
} from './chunks.ts';
import type { Input, Output } from './files.ts';

const HEADER = utf8('stele vault v1\n');
const FOOTER_BYTES = 4;

/** Bytes of a sealed index: 128 sections of at most some hundred bytes, with room. */
const INDEX_BYTES_MAX = 262_144;

export type SectionKind = 'disclosure' | 'body';

export interface Section {
  readonly kind: SectionKind;
  readonly field: string;
  /** The commitment that the content was checked against. */
  readonly digest: string;
  readonly begin: number;
  readonly sealed: number;
}

/** The same content has the same name: a field, a kind, and the digest it was checked against. */
export function sectionName(section: Pick<Section, 'kind' | 'field' | 'digest'>): string {
  return JSON.stringify([section.kind, section.field, section.digest]);
}

/** Of whose content a file is made; the field comes with each section. */
export type Owner = Omit<Place, 'field'>;

function cipherFor(dataKey: Uint8Array, owner: Owner, kind: SectionKind | 'index', field: string) {
  return {
    key: deriveKey(dataKey, kind, field),
    ad: associatedData({ origin: owner.origin, recordId: owner.recordId, field }),
  };
}

/** Writes one content file from its beginning to its end. Nothing may be used after a failure. */
export class ContentWriter {
  readonly #output: Output;
  readonly #dataKey: Uint8Array;
  readonly #owner: Owner;
  readonly #sections: Section[] = [];
  readonly #names = new Set<string>();
  /** Sealed and not yet written: small sections go to the disk together. */
  #waiting: Uint8Array[] = [HEADER];
  #waitingBytes = HEADER.length;
  #end = HEADER.length;

  /** `dataKey` must be new: field keys come from it, and each seals one stream. */
  constructor(output: Output, dataKey: Uint8Array, owner: Owner) {
    this.#output = output;
    this.#dataKey = dataKey;
    this.#owner = owner;
  }

  get sections(): readonly Section[] {
    return this.#sections;
  }

  /** Adds a section. At most two chunks of it are in memory at any time. */
  async add(
    kind: SectionKind,
    field: string,
    digest: string,
    plain: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const name = JSON.stringify([kind, field]);
    invariant(!this.#names.has(name), `${name} is sealed once in a file, since its key seals once`);
    this.#names.add(name);
    const { key, ad } = cipherFor(this.#dataKey, this.#owner, kind, field);
    const sealer = new Sealer(key, ad);
    const begin = this.#end;
    for await (const piece of plain) {
      for (let at = 0; at < piece.length; at += CHUNK_BYTES) {
        await this.#write(sealer.push(piece.subarray(at, at + CHUNK_BYTES)));
      }
    }
    await this.#write(sealer.end());
    this.#sections.push({ kind, field, digest, begin, sealed: this.#end - begin });
  }

  /** Writes what ends the file, and makes its bytes durable. Its name is the caller's business. */
  async finish(): Promise<void> {
    const { key, ad } = cipherFor(this.#dataKey, this.#owner, 'index', '');
    const index = seal(key, ad, utf8(JSON.stringify(this.#sections)));
    invariant(index.length <= INDEX_BYTES_MAX, `an index has at most ${INDEX_BYTES_MAX} bytes`);
    const footer = new Uint8Array(FOOTER_BYTES);
    new DataView(footer.buffer).setUint32(0, index.length);
    await this.#write([index, footer]);
    await this.#flush();
    await this.#output.sync();
  }

  async #write(sealed: readonly Uint8Array[]): Promise<void> {
    for (const part of sealed) {
      this.#waiting.push(part);
      this.#waitingBytes += part.length;
      this.#end += part.length;
      if (this.#waitingBytes >= CHUNK_BYTES) await this.#flush();
    }
  }

  async #flush(): Promise<void> {
    const parts = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    await this.#output.write(parts);
    for (const part of parts) free(part);
  }
}

/** Reads one content file. What does not open is `storage`: our own disk changed it. */
export class ContentReader {
  readonly sections: readonly Section[];
  readonly #input: Input;
  readonly #dataKey: Uint8Array;
  readonly #owner: Owner;

  private constructor(
    input: Input,
    dataKey: Uint8Array,
    owner: Owner,
    sections: readonly Section[],
  ) {
    this.#input = input;
    this.#dataKey = dataKey;
    this.#owner = owner;
    this.sections = sections;
  }

  static async open(input: Input, dataKey: Uint8Array, owner: Owner): Promise<ContentReader> {
    const room = input.size - HEADER.length - FOOTER_BYTES;
    if (room < TAG_BYTES) throw damaged(owner, `${input.size} bytes are too few`);
    const header = await input.read(0, HEADER.length);
    if (!equalBytes(header, HEADER)) throw damaged(owner, 'its first line is not ours');
    const footer = await input.read(input.size - FOOTER_BYTES, FOOTER_BYTES);
    const length = new DataView(footer.buffer).getUint32(0);
    if (length > Math.min(room, INDEX_BYTES_MAX)) {
      throw damaged(owner, `its index cannot have ${length} bytes`);
    }
    const sealed = await input.read(input.size - FOOTER_BYTES - length, length);
    const { key, ad } = cipherFor(dataKey, owner, 'index', '');
    const sections = opened(owner, () => parseIndex(open(key, ad, sealed)));
    const end = sections.reduce((at, section) => at + section.sealed, HEADER.length);
    if (end !== input.size - FOOTER_BYTES - length) {
      throw damaged(owner, `its sections end at ${end}, its index begins elsewhere`);
    }
    return new ContentReader(input, dataKey, owner, sections);
  }

  /** A section that is known to be small, whole. */
  async text(section: Section): Promise<string> {
    const sealed = await this.#input.read(section.begin, section.sealed);
    const { key, ad } = cipherFor(this.#dataKey, this.#owner, section.kind, section.field);
    return opened(this.#owner, () => parseUtf8(open(key, ad, sealed), 'disclosure'));
  }

  /** A section chunk by chunk. It throws after the chunks that came if what follows is damaged. */
  async *chunks(section: Section): AsyncGenerator<Uint8Array> {
    const { key, ad } = cipherFor(this.#dataKey, this.#owner, section.kind, section.field);
    const opener = new Opener(key, ad);
    const end = section.begin + section.sealed;
    for (let at = section.begin; at < end; at += CHUNK_BYTES) {
      const sealed = await this.#input.read(at, Math.min(CHUNK_BYTES, end - at));
      yield* opened(this.#owner, () => opener.push(sealed));
    }
    yield* opened(this.#owner, () => opener.end());
  }

  close(): Promise<void> {
    return this.#input.close();
  }
}

/** Plain bytes of a section. */
export function sectionBytes(section: Section): number {
  return plainLength(section.sealed);
}

/** The index was made by us and its tag held; this only refuses what another version would mean. */
function parseIndex(bytes: Uint8Array): Section[] {
  const list: unknown = JSON.parse(parseUtf8(bytes, 'index'));
  if (!Array.isArray(list)) throw new SteleError('storage', 'an index is a list');
  let at = HEADER.length;
  for (const item of list as Partial<Section>[]) {
    const known = item.kind === 'disclosure' || item.kind === 'body';
    const named = typeof item.field === 'string' && typeof item.digest === 'string';
    const { begin, sealed = 0 } = item;
    if (!known || !named || begin !== at || sealedLength(plainLength(sealed)) !== sealed) {
      throw new SteleError('storage', `a section at ${at} is not of this version`);
    }
    at += sealed;
  }
  return list as Section[];
}

function opened<T>(owner: Owner, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw damaged(owner, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function damaged(owner: Owner, rule: string, cause?: unknown): SteleError {
  return new SteleError('storage', `content of record ${owner.recordId} is damaged: ${rule}`, {
    cause,
  });
}
