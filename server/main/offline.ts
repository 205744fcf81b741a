/**
 * Work on a data folder that no server has open: administration, and taking over a restored copy.
 */
import type { World } from '../cli/terminal.ts';
import type { Administration } from '../client/instance.ts';
import { FileAdministration } from './administer.ts';
import { type Instance, type InstanceOptions, openInstance } from './instance.ts';
import { loggerOf, type Program, settingsOf } from './start.ts';

/** Throws `conflict` while a server has the folder, `not_found` where there is none. */
export async function administer(
  program: Program,
  data: string,
  world: World,
): Promise<Administration> {
  return new FileAdministration(await open(program, data, world, {}));
}

/** Takes the folder over, and says why any of its logs still signs nothing. */
export async function restore(
  program: Program,
  data: string,
  world: World,
): Promise<readonly string[]> {
  const instance = await open(program, data, world, { accept: true });
  try {
    const { logs } = instance;
    const reasons: string[] = [];
    for (const { name } of logs.list()) {
      const stopped = await logs.use(name, (log) => log.stopped);
      if (stopped !== undefined) reasons.push(stopped.message);
    }
    return reasons;
  } finally {
    await instance.close();
  }
}

function open(
  program: Program,
  data: string,
  world: World,
  options: Pick<InstanceOptions, 'accept'>,
): Promise<Instance> {
  const config = settingsOf({ data, flags: { log_level: 'warn' } }, world);
  const logger = loggerOf(config, world);
  return openInstance({ config, logger, mustExist: true, ...program, ...options });
}
