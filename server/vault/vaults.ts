/** The vaults of one instance: one per log, opened when first asked for. */
import { join } from 'node:path';
import { KeyWriter } from './key-writer.ts';
import { type Staging, Vault, type VaultOptions } from './vault.ts';

export interface VaultsOptions extends Pick<VaultOptions, 'kek' | 'random' | 'now'> {
  readonly data: string;
  /** The origin of a log; throws `not_found` if there is none of that name. */
  readonly originOf: (name: string) => string;
}

export class Vaults {
  readonly #options: VaultsOptions;
  readonly #open = new Map<string, Promise<Vault>>();
  /** One for all of them. */
  readonly #writer = new KeyWriter();

  constructor(options: VaultsOptions) {
    this.#options = options;
  }

  async get(name: string): Promise<Vault> {
    const known = this.#open.get(name);
    if (known !== undefined) return known;
    const { data, originOf, ...shared } = this.#options;
    const made = Vault.open({
      ...shared,
      dir: join(data, 'vault', name),
      keysDb: join(data, 'vault-keys', `${name}.db`),
      origin: originOf(name),
      keyWriter: this.#writer,
    });
    this.#open.set(name, made);
    // A vault that did not open is tried again by the next caller; this one gets the reason.
    made.catch(() => this.#open.delete(name));
    return made;
  }

  /** Makes staged content durable: files and folders synced, keys committed. */
  async commitAll(name: string, stagings: readonly Staging[]): Promise<void> {
    await (await this.get(name)).commitAll(stagings);
  }

  /** Closes one vault, if it is open; whoever asks for it again opens it again. */
  async release(name: string): Promise<void> {
    const open = this.#open.get(name);
    this.#open.delete(name);
    const vault = await open?.catch(() => undefined);
    await vault?.close();
  }

  async close(): Promise<void> {
    const vaults = await Promise.allSettled(this.#open.values());
    this.#open.clear();
    for (const vault of vaults) if (vault.status === 'fulfilled') await vault.value.close();
    await this.#writer.close();
  }
}
