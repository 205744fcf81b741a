/**
 * Commands that administer: through the server that runs, or by the files where none does.
 */
import type { JsonObject } from '../client/client.ts';
import { type Administration, InstanceClient, WaitsForApproval } from '../client/instance.ts';
import { dataFolder } from '../config.ts';
import { hasCode } from '../core/errors.ts';
import type { Cli } from './program.ts';
import { readRunning } from './running.ts';
import { type Voice, voiceOf } from './terminal.ts';
import { locate, type WhereOptions } from './where.ts';

type Work = (admin: Administration, voice: Voice) => Promise<void>;

export async function administer(cli: Cli, options: WhereOptions, work: Work): Promise<undefined> {
  const admin = await open(cli, options);
  const voice = voiceOf(cli.world, options.json === true);
  try {
    await work(admin, voice);
  } catch (error) {
    if (!(error instanceof WaitsForApproval)) throw error;
    const { request } = error;
    voice.say(
      `Nothing is done yet: ${error.message}, with`,
      `  stele request approve ${request.id}`,
    );
    voice.json({ request });
  } finally {
    await admin.close();
  }
  return undefined;
}

async function open(cli: Cli, options: WhereOptions): Promise<Administration> {
  const { world, starters } = cli;
  const data = dataFolder({ env: world.env, cwd: world.cwd, data: options.data });
  if (options.server === undefined && world.env.STELE_SERVER === undefined) {
    try {
      return await starters.administer(data, world);
    } catch (error) {
      // The folder's lock is taken, so its server runs and is the one to ask.
      if (!hasCode(error, 'conflict') || readRunning(data) === undefined) throw error;
    }
  }
  const { server, ...as } = locate(world, options, 'admin');
  return new InstanceClient({ base: server, ...as });
}

/** The values of these members as text; a missing one is a dash. */
export function cells(from: JsonObject, ...names: readonly string[]): string[] {
  return names.map((name) => {
    const value = from[name];
    if (value === undefined || value === null) return '-';
    if (Array.isArray(value)) return value.join(',');
    return typeof value === 'object' ? JSON.stringify(value) : String(value);
  });
}
