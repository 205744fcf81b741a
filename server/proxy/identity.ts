/**
 * Which source is this, and does its chain go on or begin anew?
 *
 * The journal states its chain. `source.json` beside it remembers the id, so that a journal that is gone is
 * noticed: the source that follows it has another id and says in a gap which one it replaces, until that
 * gap is on record.
 */
import { parseUtf8, toHex, utf8 } from '../core/bytes.ts';
import type { SpoolDisk } from './journal/disk.ts';
import type { Chain, Recovered } from './recover.ts';

const SOURCE_FILE = 'source.json';

interface SourceFile {
  readonly source: string;
  /** The lost source whose gap is not on record yet. */
  readonly replaces?: string;
}

export interface IdentityOptions {
  readonly disk: SpoolDisk;
  /** The readable part of the id. */
  readonly name: string;
  /** The origin of the log that a new source's records are made for. */
  readonly origin: string;
  readonly random: (bytes: number) => Uint8Array;
}

/** The chain that the journal states; a new source where it states none, or none that can be relied on. */
export async function chainToGoOn(
  options: IdentityOptions,
  recovered: Recovered,
): Promise<{ chain: Chain; replaces: string | undefined }> {
  const bytes = await options.disk.readSmall(SOURCE_FILE);
  const known =
    bytes === undefined ? undefined : (JSON.parse(parseUtf8(bytes, SOURCE_FILE)) as SourceFile);
  if (recovered.chain !== undefined && recovered.isCertain) {
    const isSame = known === undefined || known.source === recovered.chain.source;
    return { chain: recovered.chain, replaces: isSame ? known?.replaces : known.source };
  }
  const source = `${options.name}.${toHex(options.random(4))}`;
  const replaces = recovered.chain?.source ?? known?.source;
  return { chain: { source, log: options.origin, next: 0, prev: null }, replaces };
}

/** Writes down, durably, which source this is. */
export function remember(
  disk: SpoolDisk,
  source: string,
  replaces: string | undefined,
): Promise<void> {
  const file: SourceFile = { source, ...(replaces === undefined ? {} : { replaces }) };
  return disk.replaceSmall(SOURCE_FILE, utf8(`${JSON.stringify(file)}\n`));
}
