/**
 * Writes `docs/configuration.md` from the table of settings.
 *
 *     node server/config/generate.ts           writes it
 *     node server/config/generate.ts --check   changes nothing; exits 1 if it is not what it would write
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { formatReference } from './reference.ts';

const NAME = 'docs/configuration.md';
const path = fileURLToPath(new URL(`../../${NAME}`, import.meta.url));
const text = formatReference();
const isStale = !existsSync(path) || readFileSync(path, 'utf8') !== text;

if (!process.argv.includes('--check')) {
  if (isStale) writeFileSync(path, text);
  console.log(isStale ? `wrote ${NAME}` : `${NAME}: nothing to change`);
} else if (isStale) {
  console.error(`${NAME} is not what server/config/ says: run npm run gen`);
  process.exitCode = 1;
}
