/**
 * Preloaded into a server: kills it, as a power failure would, when the witness has committed and before anybody is
 * answered: at the Nth write of its mark outside the data folder, before that write or after it.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const { KILL_WITNESS = '' } = process.env;
const MARK_BYTES = 512;
let written = 0;

/** `before 3`, or nothing where it is left alone. */
function order(): readonly [when: string, at: number] {
  if (!fs.existsSync(KILL_WITNESS)) return ['', 0];
  const [when = '', at = '0'] = fs.readFileSync(KILL_WITNESS, 'utf8').split(' ');
  return [when, Number(at)];
}

const { writeSync } = fs;
fs.writeSync = ((...args: Parameters<typeof writeSync>) => {
  const [, data] = args as unknown as [number, unknown];
  if (!(data instanceof Uint8Array) || data.length !== MARK_BYTES) return writeSync(...args);
  const [when, at] = order();
  written += 1;
  if (written === at && when === 'before') process.kill(process.pid, 'SIGKILL');
  const done = writeSync(...args);
  if (written === at && when === 'after') process.kill(process.pid, 'SIGKILL');
  return done;
}) as typeof writeSync;
syncBuiltinESMExports();
