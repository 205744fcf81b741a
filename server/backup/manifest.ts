/**
 * What is in a backup? `backup.json`, written last: a folder without it is no backup.
 *
 *     {"except":[],"files":[{"bytes":94208,"path":"logs/default.db","sha256":"3c75…"}, …],
 *      "format":"stele.backup/1","id":"9f86d081884c7d65","logs":[{"checkpoint":"…","name":"default",
 *      "origin":"log.example/logs/default","root":"CsUY…","size":3}, …],"part":"data",
 *      "time":"2026-11-29T07:14:00.000000Z","version":"0.1.0"}
 *
 * The files of a vault are too many for one text, so each vault has a listing of its own, `vault/NAME.files`,
 * which is one of `files`:
 *
 *     SHA-256 bytes path          one line each, ascending by path, which is relative to vault/NAME/
 *
 * Hashes say that nothing was lost or spoiled on the way. They do not say who made the backup: that the
 * logs are the ones that were signed is derived from the logs themselves.
 */
import { canonicalize, parseCanonical } from '../core/canonical.ts';
import { parseDecimal } from '../core/decimal.ts';
import type { Json } from '../core/json.ts';
import { NOTE_BYTES_MAX, ORIGIN_BYTES_MAX } from '../core/limits.ts';
import {
  base64,
  constant,
  int,
  list,
  object,
  oneOf,
  pattern,
  read,
  type Shaped,
  text,
  where,
} from '../core/schema.ts';
import { HASH_BYTES } from '../core/units.ts';
import type { Sum } from './files.ts';

export const MANIFEST_NAME = 'backup.json';

/** Bytes of a manifest: some 200 for each file, with room for the checkpoints. */
export const MANIFEST_BYTES_MAX = 268_435_456;
const FILES_MAX = 1_000_000;
const LOGS_MAX = 200_000;

/** What must never lie together is backed up apart: see docs/operating.md. */
export const PARTS = ['data', 'keys', 'vault-keys'] as const;
export type Part = (typeof PARTS)[number];

const LOG = pattern(/^(_admin(-[1-9][0-9]{0,3})?|[a-z0-9][a-z0-9-]{0,62})$/, 'a name of a log');
const LOG_OR_ACCESS = pattern(
  /^(_admin(-[1-9][0-9]{0,3})?|[a-z0-9][a-z0-9-]{0,62}(\.access)?)$/,
  'a name of a log',
);
const TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$/;
const SHA256 = pattern(/^[0-9a-f]{64}$/, '64 lower-case hex digits');

/** Names of ours: no path can lead out of the folder, and none is hidden. */
const PATH = /^[A-Za-z0-9_][A-Za-z0-9._-]*(\/[A-Za-z0-9_][A-Za-z0-9._-]*){0,7}$/;

const SHAPE = where(
  object(
    {
      format: constant('stele.backup/1'),
      version: pattern(/^[0-9A-Za-z.+-]+$/, 'a version'),
      time: pattern(TIME, 'a time as 2026-11-29T07:14:00.000000Z'),
      /** The parts that were made together have the same. */
      id: pattern(/^[0-9a-f]{16}$/, '16 lower-case hex digits'),
      part: oneOf(PARTS),
      /** Logs of the instance that were left out on purpose. */
      except: list(LOG, LOGS_MAX),
      files: list(
        object(
          { path: pattern(PATH, 'a path below the backup', 512), bytes: int(), sha256: SHA256 },
          {},
        ),
        FILES_MAX,
      ),
      logs: list(
        object(
          {
            name: LOG_OR_ACCESS,
            origin: text(ORIGIN_BYTES_MAX),
            size: int(1),
            root: base64(HASH_BYTES, true),
            checkpoint: text(NOTE_BYTES_MAX),
          },
          {},
        ),
        LOGS_MAX,
      ),
    },
    {},
  ),
  ({ part, files, logs, except }) =>
    disorder(
      files.map((file) => file.path),
      'files',
      'path',
    ) ??
    disorder(
      logs.map((log) => log.name),
      'logs',
      'name',
    ) ??
    disorder(except, 'except', '') ??
    (part !== 'data' && logs.length > 0
      ? { path: 'logs', rule: `the part ${part} has none` }
      : undefined),
);

export type Manifest = Shaped<typeof SHAPE>;
export type ManifestFile = Manifest['files'][number];
export type ManifestLog = Manifest['logs'][number];

/** Lists ascend, so that nothing is in them twice and one backup has one manifest. */
function disorder(names: readonly string[], member: string, key: string) {
  const at = names.findIndex((name, i) => i > 0 && (names[i - 1] ?? '') >= name);
  if (at < 0) return undefined;
  return { path: `${member}[${at}]${key && `.${key}`}`, rule: 'it does not ascend' };
}

const WHAT = MANIFEST_NAME;

export function formatManifest(manifest: Manifest): string {
  return `${canonicalize(manifest as unknown as Json)}\n`;
}

/** Reads a manifest, of which there is one spelling; throws `malformed`. */
export function parseManifest(bytes: Uint8Array): Manifest {
  return read(SHAPE, parseCanonical(bytes, WHAT, { tail: '\n' }), WHAT);
}

/** Orders by what a manifest orders by. */
export function ascending<T>(items: readonly T[], key: (item: T) => string): T[] {
  return items.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}

export interface Listed extends Sum {
  /** Relative to the vault's own folder. */
  readonly path: string;
}

const LISTING = /^vault\/([a-z0-9][a-z0-9-]{0,62})\.files$/;
const LINE =
  /^([0-9a-f]{64}) (0|[1-9][0-9]{0,14}) ([0-9a-f]{3}\/[0-9a-f]{3}\/[0-9a-f]{64}(?:\.[0-9]{1,2})?)$/;

/** The log whose content a file of a backup lists; nothing if it is no listing. */
export function vaultOf(path: string): string | undefined {
  return LISTING.exec(path)?.[1];
}

export function listingOf(name: string): string {
  return `vault/${name}.files`;
}

export function formatListed({ sha256, bytes, path }: Listed): string {
  return `${sha256} ${bytes} ${path}\n`;
}

/** Reads one line of a listing, which comes after `last`; nothing if it is none, or not in its place. */
export function parseListed(line: string, last: string): Listed | undefined {
  const [, sha256, digits, path] = LINE.exec(line) ?? [];
  if (sha256 === undefined || digits === undefined || path === undefined || path <= last) {
    return undefined;
  }
  return { sha256, bytes: parseDecimal(digits, 'bytes'), path };
}
