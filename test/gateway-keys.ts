/** The server's own gateway keys, in memory. */
import type { NumberedKeys } from '../server/keys/gateway-keys.ts';
import type { Signer } from '../server/keys/signer.ts';

export class TestGatewayKeys implements NumberedKeys {
  readonly #make: () => Signer;
  readonly all: Signer[];

  constructor(make: () => Signer) {
    this.#make = make;
    this.all = [make()];
  }

  get newest(): Signer {
    return this.all.at(-1) as Signer;
  }

  find(keyid: string): Signer | undefined {
    return this.all.find(({ publicKey }) => publicKey.keyid === keyid);
  }

  async next(): Promise<Signer> {
    this.all.push(this.#make());
    return this.newest;
  }
}
