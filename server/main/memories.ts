/** The memories of one installation: all that it can ask how far its logs had got. */
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { AskOnce } from '../keys/remote/ask-once.ts';
import type { Asking } from '../keys/remote/remote-keys.ts';
import { HighWater } from '../log/high-water.ts';
import { Memories, type Memory } from '../log/memories.ts';
import { SignerHeads } from '../log/signer-heads.ts';

/** With `signer`, a connection to it that is there already. */
export function memoriesOf(config: Config, signer?: Asking): Memories {
  const memories: Memory[] = [new HighWater(highWaterFolder(config))];
  const asking = signer ?? (config.signerSocket && new AskOnce(config.signerSocket));
  if (asking) memories.push(new SignerHeads(asking));
  return new Memories(memories, config.guardRequire);
}

export function highWaterFolder({ state }: Config): string {
  return join(state, 'high-water');
}
