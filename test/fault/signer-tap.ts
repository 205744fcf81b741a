/**
 * A wire between a server and its signer that writes down what was signed, and that can be cut at the worst
 * moment: after the signer has signed and before the server knows.
 */
import { existsSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { equalBytes, parseUtf8, toHex } from '../../server/core/bytes.ts';
import { parseCheckpoint } from '../../server/core/checkpoint.ts';
import type { Hash } from '../../server/core/units.ts';
import {
  Lines,
  parseAnswer,
  parseQuestion,
  type Question,
} from '../../server/keys/remote/protocol.ts';

/** What becomes of an answer: it goes on, or the connection breaks in its place. */
export type Fate = 'pass' | 'cut';

type Sign = Extract<Question, { readonly op: 'sign' }>;

export class SignerTap {
  readonly path: string;
  readonly #target: string;
  readonly #sockets = new Set<Socket>();
  /** Every head that a signature was given for, by origin and size. */
  readonly #signed = new Map<string, Map<number, Hash>>();
  #server: Server | undefined;
  #judge: (question: Question) => Fate | Promise<Fate> = () => 'pass';
  signatures = 0;

  constructor(path: string, target: string) {
    this.path = path;
    this.#target = target;
  }

  async listen(): Promise<void> {
    const server = createServer((socket) => this.#join(socket));
    this.#server = server;
    if (existsSync(this.path)) unlinkSync(this.path);
    await new Promise<void>((resolve) => server.listen(this.path, resolve));
  }

  /** Decides over each answer that the signer gives, before it goes on. */
  judge(judge: (question: Question) => Fate | Promise<Fate>): void {
    this.#judge = judge;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server?.close(() => resolve()));
  }

  /** The heads of an origin that were signed, by size. */
  signed(origin: string): ReadonlyMap<number, Hash> {
    return this.#signed.get(origin) ?? new Map();
  }

  #join(near: Socket): void {
    const far = connect(this.#target);
    const pair = [near, far];
    const end = () => {
      for (const socket of pair) socket.destroy();
    };
    for (const socket of pair) {
      this.#sockets.add(socket);
      socket.on('error', end);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        end();
      });
    }
    const asked = new Map<number, Question>();
    const questions = new Lines();
    near.on('data', (chunk: Buffer) => {
      for (const line of questions.feed(chunk)) {
        const { id, content } = parseQuestion(line);
        asked.set(id, content);
      }
      far.write(chunk);
    });
    let isGreeted = false;
    const answers = new Lines();
    let last = Promise.resolve();
    far.on('data', (chunk: Buffer) => {
      for (const line of answers.feed(chunk)) {
        const whole = Buffer.concat([line, Buffer.from('\n')]);
        if (!isGreeted) {
          isGreeted = true;
          near.write(whole);
          continue;
        }
        const { id, content } = parseAnswer(line);
        const question = asked.get(id);
        if (question === undefined)
          throw new Error(`an answer to request ${id}, which nobody made`);
        asked.delete(id);
        if (content.kind === 'signature' && question.op === 'sign') this.#note(question);
        // In their order, also where somebody takes time to judge.
        last = last.then(async () => {
          if ((await this.#judge(question)) === 'cut') end();
          else if (!near.destroyed) near.write(whole);
        });
      }
    });
  }

  #note({ origin, purpose, message }: Sign): void {
    if (purpose !== 'identity' && purpose !== 'anchor') return;
    this.signatures++;
    const { size, root } = parseCheckpoint(parseUtf8(message, 'message'));
    const heads = this.#signed.get(origin) ?? new Map<number, Hash>();
    const known = heads.get(size);
    if (known !== undefined && !equalBytes(known, root)) {
      throw new Error(
        `two heads of ${origin} of size ${size} were signed: ${toHex(known)}, ${toHex(root)}`,
      );
    }
    heads.set(size, root);
    this.#signed.set(origin, heads);
  }
}
