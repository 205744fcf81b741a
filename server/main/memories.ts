/** The memories of one installation: all that it can ask how far its logs had got. */
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { HighWater } from '../log/high-water.ts';
import { Memories } from '../log/memories.ts';

export function memoriesOf(config: Config): Memories {
  return new Memories([new HighWater(highWaterFolder(config))], config.guardRequire);
}

export function highWaterFolder({ state }: Config): string {
  return join(state, 'high-water');
}
