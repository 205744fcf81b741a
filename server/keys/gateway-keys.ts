/**
 * The server's own gateway keys: the one of access records, and the one of the proxy beside it.
 *
 * A key that follows another is a file with the next number, and the highest number signs:
 *
 *     keys/access.pem, access-2.pem, access-3.pem        access.pem may be gone once it has ended
 *
 * Which of them a log takes is for the log to say, where each is registered as any gateway's key is.
 */
import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Signer } from './signer.ts';

export interface GatewayKeys {
  /** The key that signs what is said from now on. */
  readonly newest: Signer;
}

/** Keys that follow one another. */
export interface NumberedKeys extends GatewayKeys {
  /** The key of this ID, if it is there. */
  find(keyid: string): Signer | undefined;

  /** Makes the key that follows the newest, which signs from here on. */
  next(): Promise<Signer>;
}

/** Opens a key file; with `mayCreate` it is made where it is missing. */
export type OpenGatewayKey = (path: string, mayCreate: boolean) => Promise<Signer>;

export class GatewayKeyFiles implements NumberedKeys {
  readonly #base: string;
  readonly #open: OpenGatewayKey;
  readonly #known: Signer[];
  #number: number;

  private constructor(base: string, open: OpenGatewayKey, known: Signer[], number: number) {
    this.#base = base;
    this.#open = open;
    this.#known = known;
    this.#number = number;
  }

  /** Opens every file of `base`, such as `keys/access`; the first is made where there is none and it may be. */
  static async open(
    base: string,
    open: OpenGatewayKey,
    mayCreate: boolean,
  ): Promise<GatewayKeyFiles> {
    const numbers = numbersOf(base);
    if (numbers.length === 0) numbers.push(1);
    const known: Signer[] = [];
    for (const number of numbers) known.push(await open(pathOf(base, number), mayCreate));
    return new GatewayKeyFiles(base, open, known, Math.max(...numbers));
  }

  get newest(): Signer {
    return this.#known.at(-1) as Signer;
  }

  find(keyid: string): Signer | undefined {
    return this.#known.find(({ publicKey }) => publicKey.keyid === keyid);
  }

  async next(): Promise<Signer> {
    const signer = await this.#open(pathOf(this.#base, this.#number + 1), true);
    this.#number++;
    this.#known.push(signer);
    return signer;
  }
}

/** Whether there is a file of `base`. */
export function hasGatewayKey(base: string): boolean {
  return numbersOf(base).length > 0;
}

function pathOf(base: string, number: number): string {
  return `${base}${number === 1 ? '' : `-${number}`}.pem`;
}

/** The numbers of the files that are there, in order. */
function numbersOf(base: string): number[] {
  const folder = dirname(base);
  if (!existsSync(folder)) return [];
  const name = basename(base);
  const form = new RegExp(`^${name}(?:-([1-9][0-9]{0,5}))?\\.(?:pem|pkcs11)$`);
  const numbers = readdirSync(folder).flatMap((file) => {
    const found = form.exec(file);
    return found === null ? [] : [Number(found[1] ?? 1)];
  });
  return [...new Set(numbers)].sort((a, b) => a - b);
}
