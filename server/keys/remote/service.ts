/**
 * What a signer answers: its keys, what it remembers, and signatures for what it understands and has taken.
 *
 * Nothing here knows of sockets. What goes wrong is an answer too; only what must end the process, a failed
 * fsync or a broken promise of our own, is thrown.
 */
import { SteleError } from '../../core/errors.ts';
import type { Signer } from '../signer.ts';
import type { HeadBook } from './head-book.ts';
import type { HeldKeys } from './held-keys.ts';
import type { Answer, Purpose, Question } from './protocol.ts';
import { parseStatement } from './statement.ts';

export interface ServiceOptions {
  readonly keys: HeldKeys;
  readonly book: HeadBook;
  /** Makes keys for an origin that there are none for. Absent where only an operator may. */
  readonly create?: ((origin: string) => Promise<void>) | undefined;
}

export class SignerService {
  readonly #keys: HeldKeys;
  readonly #book: HeadBook;
  readonly #create: ServiceOptions['create'];

  constructor({ keys, book, create }: ServiceOptions) {
    this.#keys = keys;
    this.#book = book;
    this.#create = create;
  }

  async answer(question: Question): Promise<Answer> {
    try {
      return await this.#answer(question);
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      return { kind: 'error', code: error.code, message: error.message };
    }
  }

  async #answer(question: Question): Promise<Answer> {
    const { origin } = question;
    if (question.op === 'create' && !(await this.#keys.has(origin))) await this.#create?.(origin);
    // Nothing is said, and nothing is remembered, of a log that there are no keys for.
    // A log that asks which keys there are may be about to announce one that was just put there.
    const keys = await (question.op === 'keys'
      ? this.#keys.keysAnew(origin)
      : this.#keys.keys(origin));
    switch (question.op) {
      case 'keys':
      case 'create':
        return {
          kind: 'keys',
          keys: keys.map(({ purpose, signer: { publicKey } }) => ({ purpose, publicKey })),
        };
      case 'newest':
        return { kind: 'newest', newest: await this.#book.newest(origin) };
      case 'extend': {
        const from = await this.#book.extend(origin, question);
        return from === undefined ? { kind: 'taken' } : { kind: 'prove_from', from };
      }
      case 'sign': {
        const { purpose, keyid, message } = question;
        const key = keys.find(
          (held) => held.purpose === purpose && held.signer.publicKey.keyid === keyid,
        );
        if (key === undefined) throw unknownKey(question, keys);
        return { kind: 'signature', signature: await this.#sign(question, key.signer, message) };
      }
    }
  }

  async #sign(
    { origin, purpose }: { readonly origin: string; readonly purpose: Purpose },
    signer: Signer,
    message: Uint8Array,
  ): Promise<Uint8Array> {
    const statement = parseStatement(purpose, origin, message);
    if (statement.kind !== 'control') await this.#book.checkTaken(origin, statement.head);
    // A crash after this leaves a time that is signed for nobody: the next one is later.
    if (statement.kind === 'treeHead') await this.#book.takeTime(origin, statement.timeMs);
    return signer.sign(message);
  }
}

function unknownKey(
  { origin, purpose, keyid }: Extract<Question, { readonly op: 'sign' }>,
  keys: Awaited<ReturnType<HeldKeys['keys']>>,
): SteleError {
  const held = keys
    .filter((key) => key.purpose === purpose)
    .map(({ signer }) => signer.publicKey.keyid);
  return new SteleError(
    'not_found',
    `the signer has no ${purpose} key ${keyid} for ${origin}; it has ${held.join(', ') || 'none'}`,
  );
}
