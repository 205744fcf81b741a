/** One question to a signer, for whoever does not stay: a connection for each, closed after its answer. */
import { SignerConnection } from './connection.ts';
import type { Question } from './protocol.ts';
import type { Asking } from './remote-keys.ts';

export class AskOnce implements Asking {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  async ask(question: Question): ReturnType<SignerConnection['ask']> {
    // What it says of its being away is the answer to the question.
    const connection = new SignerConnection({ path: this.path, said: () => {} });
    try {
      return await connection.ask(question);
    } finally {
      await connection.close();
    }
  }

  checkThere(): void {}

  onReturn(): () => void {
    return () => {};
  }
}
