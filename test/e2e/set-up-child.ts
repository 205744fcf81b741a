/** A child that makes a first run in the folder it is given and ends before anything listens. */
import { pino } from 'pino';
import { loadConfig } from '../../server/config.ts';
import { openInstance } from '../../server/main/instance.ts';
import { setUp } from '../../server/main/setup.ts';
import { useNativePrimitives } from '../../server/native.ts';

useNativePrimitives();
const { DIR = '' } = process.env;
const config = loadConfig({
  env: { STELE_STATE: `${DIR}/state`, STELE_VERIFY_THREADS: '1' },
  cwd: DIR,
  data: `${DIR}/data`,
});
const fatal = (error: Error) => {
  throw error;
};
const logger = pino({ level: 'silent' });
const instance = await openInstance({ config, version: '0.0.0-test', logger, fatal });
await setUp(instance, config, { proxy: true });
await instance.close();
