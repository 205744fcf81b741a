/**
 * Which key in which token does this name?
 *
 *     pkcs11:token=stele;object=team-a-identity?module-path=/usr/lib/softhsm/libsofthsm2.so
 *            └──────── where the key is ──────┘ └────── how to get there ────────────────┘
 *
 * RFC 7512, and of it what names one private key without doubt: the token by its label or serial number,
 * the key by its label or ID, the module by its path, and where the PIN is. Any other attribute is refused
 * rather than ignored: what it says would narrow the choice for some readers and not for others. So is
 * `pin-value`: a PIN has no place in a name, which is shown and stored (P10).
 *
 * [RFC 7512 §2.3, §2.4]
 */
import { parseUtf8, toHex } from '../../core/bytes.ts';
import { malformed, shown } from '../../core/errors.ts';

export interface Pkcs11Uri {
  /** The path of the module, absolute. */
  readonly module: string;
  /** Label of the token. */
  readonly token: string | undefined;
  readonly serial: string | undefined;
  /** Label of the key. */
  readonly object: string | undefined;
  readonly id: Uint8Array | undefined;
  /** A file that holds the PIN, absolute. */
  readonly pinFile: string | undefined;
}

const WHAT = 'pkcs11 URI';
const SCHEME = 'pkcs11:';

/** Characters of a URI: paths and labels, each perhaps in percents. */
const URI_CHARACTERS_MAX = 2_048;

/** Bytes of a label; of a key's ID. */
const VALUE_BYTES_MAX = 255;

const PATH_ATTRIBUTES = ['token', 'serial', 'object', 'id', 'type'] as const;
const QUERY_ATTRIBUTES = ['module-path', 'pin-source'] as const;

/** [RFC 7512 §2.3] What need not be written in percents. */
const VALUE = /^(?:[A-Za-z0-9\-._~:[\]@!$'()*+,=&/]|%[0-9A-Fa-f]{2})*$/;

export function isPkcs11Uri(text: string): boolean {
  return text.startsWith(SCHEME);
}

/** Reads a URI that names one key; throws `malformed`. */
export function parsePkcs11Uri(text: string): Pkcs11Uri {
  if (!isPkcs11Uri(text)) throw malformed(WHAT, `${shown(text)} does not begin with ${SCHEME}`);
  if (text.length > URI_CHARACTERS_MAX) {
    throw malformed(
      WHAT,
      `${text.length} characters where at most ${URI_CHARACTERS_MAX} are allowed`,
    );
  }
  const [path = '', query, ...more] = text.slice(SCHEME.length).split('?');
  if (more.length > 0) throw malformed(WHAT, 'a second "?"');
  const where = attributes(path, ';', PATH_ATTRIBUTES);
  const how = attributes(query ?? '', '&', QUERY_ATTRIBUTES);
  const type = textOf(where.get('type'), 'type');
  if (type !== undefined && type !== 'private') {
    throw malformed(WHAT, `type ${shown(type)} where a private key is named`);
  }
  const uri = {
    module: absolute(how.get('module-path'), 'module-path'),
    token: textOf(where.get('token'), 'token'),
    serial: textOf(where.get('serial'), 'serial'),
    object: textOf(where.get('object'), 'object'),
    id: where.get('id'),
    pinFile: pinFileOf(how.get('pin-source')),
  };
  if (uri.module === undefined) {
    throw malformed(
      WHAT,
      'no module-path: name the library of the token, such as ?module-path=/usr/lib/…',
    );
  }
  if (uri.token === undefined && uri.serial === undefined) {
    throw malformed(WHAT, 'neither token nor serial says which token is meant');
  }
  if (uri.object === undefined && uri.id === undefined) {
    throw malformed(WHAT, 'neither object nor id says which key is meant');
  }
  return { ...uri, module: uri.module };
}

/** A URI for people, whatever its spelling was. It never has a PIN. */
export function describePkcs11({ token, serial, object, id }: Pkcs11Uri): string {
  const key = object === undefined ? `id ${toHex(id ?? new Uint8Array())}` : shown(object);
  const where = token === undefined ? `serial ${shown(serial ?? '')}` : shown(token);
  return `key ${key} in token ${where}`;
}

function attributes(
  text: string,
  separator: string,
  known: readonly string[],
): ReadonlyMap<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  if (text === '') return found;
  for (const part of text.split(separator)) {
    const at = part.indexOf('=');
    const name = at < 0 ? part : part.slice(0, at);
    // Not shown: whoever wrote it wrote a secret.
    if (name === 'pin-value') {
      throw malformed(WHAT, 'pin-value puts the PIN into the name: use pin-source and a file');
    }
    if (!known.includes(name)) {
      throw malformed(WHAT, `attribute ${shown(name)} is not one of ${known.join(', ')}`);
    }
    if (found.has(name)) throw malformed(WHAT, `attribute ${name} occurs twice`);
    const value = at < 0 ? '' : part.slice(at + 1);
    if (value === '' || !VALUE.test(value)) {
      throw malformed(WHAT, `${name} is ${shown(value)}: write what is not a plain letter as %XX`);
    }
    const bytes = unescaped(value);
    if (bytes.length > VALUE_BYTES_MAX && name !== 'module-path' && name !== 'pin-source') {
      throw malformed(
        WHAT,
        `${name} has ${bytes.length} bytes where at most ${VALUE_BYTES_MAX} fit`,
      );
    }
    found.set(name, bytes);
  }
  return found;
}

function unescaped(value: string): Uint8Array {
  const bytes: number[] = [];
  for (let at = 0; at < value.length; at++) {
    if (value[at] === '%') {
      bytes.push(Number.parseInt(value.slice(at + 1, at + 3), 16));
      at += 2;
    } else bytes.push(value.charCodeAt(at));
  }
  return Uint8Array.from(bytes);
}

function textOf(bytes: Uint8Array | undefined, name: string): string | undefined {
  if (bytes === undefined) return undefined;
  const text = parseUtf8(bytes, `${WHAT}: ${name}`);
  if (/\p{Cc}/u.test(text)) throw malformed(WHAT, `${name} has a control character`);
  return text;
}

function absolute(bytes: Uint8Array | undefined, name: string): string | undefined {
  const path = textOf(bytes, name);
  if (path === undefined || path.startsWith('/')) return path;
  throw malformed(WHAT, `${name} ${shown(path)} is not an absolute path`);
}

/** [RFC 7512 §2.4] A file, as a path or a `file:` URI. A program that prints it ("|…") is not run. */
function pinFileOf(bytes: Uint8Array | undefined): string | undefined {
  const source = textOf(bytes, 'pin-source');
  const path = source?.replace(/^file:(?:\/\/)?(?=\/)/, '');
  if (path === undefined || path.startsWith('/')) return path;
  throw malformed(WHAT, `pin-source ${shown(source ?? '')} is not the absolute path of a file`);
}
