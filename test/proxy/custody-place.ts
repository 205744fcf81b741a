/** A proxy that has the provider's key, callers with tokens, and the official clients that hold them. */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import type { Caller } from '../../server/callers/callers.ts';
import { changeCallers } from '../../server/callers/file.ts';
import { toHex } from '../../server/core/bytes.ts';
import { newToken } from '../../server/core/token.ts';
import type { Replay } from '../replay/replay.ts';
import { type Setup, type SetupOptions, setUp, temporaryFolder } from './harness.ts';

/** A key's like, in every test another. */
export function plantedKey(): string {
  return `sk-planted-${randomBytes(12).toString('hex')}`;
}

export class Callers {
  readonly path: string;
  /** Every token that was given out. */
  readonly tokens: string[] = [];

  constructor(folder: string) {
    this.path = join(folder, 'callers.json');
  }

  /** A token, as `stele caller create` makes one. */
  add(options: Partial<Caller> = {}): { readonly id: string; readonly token: string } {
    const { id, token, hash } = newToken((n) => new Uint8Array(randomBytes(n)));
    const row = {
      ...{ id, hash: toHex(hash), holder: 'a holder nobody else should read', tenant: 'team-a' },
      ...{ kind: 'service', upstreams: ['*'], created: '2026-09-01T10:15:30.123456Z' },
      ...options,
    };
    changeCallers(this.path, (callers) => [...callers, row]);
    this.tokens.push(token);
    return { id, token };
  }

  revoke(id: string): void {
    changeCallers(this.path, (callers) =>
      callers.map((one) =>
        one.id === id ? { ...one, revoked: '2026-09-02T10:15:30.123456Z' } : one,
      ),
    );
  }
}

export interface Place extends Setup {
  readonly callers: Callers;
  readonly key: string;
  readonly keyFile: string;
  openai(token: string): OpenAI;
  anthropic(token: string): Anthropic;
  /** All that lies on the disk of the proxy or was said by it. */
  everything(): Buffer;
}

export async function custodyOf(
  provider: Pick<Replay, 'url'>,
  options: Partial<SetupOptions> = {},
): Promise<Place> {
  const folder = temporaryFolder();
  const dir = join(folder, 'proxy');
  mkdirSync(dir);
  const callers = new Callers(folder);
  const keyFile = join(folder, 'provider.key');
  const key = plantedKey();
  writeFileSync(keyFile, `${key}\n`, { mode: 0o600 });
  const { upstreamOptions, ...rest } = options;
  const setup = await setUp({
    upstream: provider.url,
    ...rest,
    upstreamOptions: { key: { from: 'file', path: keyFile }, ...upstreamOptions },
    callers: callers.path,
    dir,
  });
  return {
    ...setup,
    callers,
    key,
    keyFile,
    openai: (apiKey) => new OpenAI({ baseURL: `${setup.proxy.url}/openai/v1`, apiKey }),
    anthropic: (apiKey) => new Anthropic({ baseURL: `${setup.proxy.url}/anthropic`, apiKey }),
    everything: () => {
      const files = readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((file) => file.isFile() && join(file.parentPath, file.name) !== keyFile)
        .map((file) => readFileSync(join(file.parentPath, file.name)));
      const entries = setup.log.logged.flatMap(({ entry, disclosures, bodies }) => [
        Buffer.from(entry),
        Buffer.from(JSON.stringify([...disclosures])),
        ...bodies.values(),
      ]);
      const said = Buffer.from(setup.lines.join('\n'));
      return Buffer.concat([...files, ...entries, said]);
    },
  };
}
