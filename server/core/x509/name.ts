/**
 * How is a name of X.509 shown to people?
 *
 *     SEQUENCE of SETs of (type, value)      CN=Time Stamping,O=Example AG,C=CH
 *
 * As in [RFC 4514]: the last part first, and what could be taken for something else is escaped. Names are a
 * stranger's: what would move a terminal's cursor is shown by its code. Two spellings of one text (as a
 * PrintableString, as UTF-8) are shown alike, so this is not for telling certificates apart.
 */
import { toHex } from '../bytes.ts';
import { type DerElement, DerReader, oidText } from '../der.ts';

const TYPES: { readonly [oid: string]: string } = {
  '2.5.4.3': 'CN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'STREET',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.97': 'organizationIdentifier',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'emailAddress',
};

/** The text of a Name, given as an element; throws `malformed`. */
export function nameText(name: Uint8Array, what: string): string {
  const parts = new DerReader(name, what).inside('sequence');
  const texts: string[] = [];
  while (!parts.isAtEnd) {
    const values = parts.inside('set');
    const alternatives: string[] = [];
    while (!values.isAtEnd) {
      const pair = values.inside('sequence');
      const oid = oidText(pair.content('oid'), what);
      alternatives.push(`${TYPES[oid] ?? oid}=${valueText(pair.any())}`);
      pair.end();
    }
    texts.push(alternatives.join('+'));
  }
  return texts.reverse().join(',');
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Bytes of one character, by the tag of the string. */
const WIDTHS: { readonly [tag: number]: number } = {
  18: 1, // NumericString
  19: 1, // PrintableString
  20: 1, // TeletexString, in practice Latin-1
  22: 1, // IA5String
  26: 1, // VisibleString
  28: 4, // UniversalString
  30: 2, // BMPString
};

function valueText({ tag, content, whole }: DerElement): string {
  try {
    const text = tag === 12 ? utf8.decode(content) : charactersOf(content, WIDTHS[tag]);
    if (text !== undefined) return escaped(text);
  } catch {
    // Not UTF-8, whatever it says: shown as bytes, like a value of an unknown type.
  }
  return `#${toHex(whole)}`;
}

function charactersOf(content: Uint8Array, width: number | undefined): string | undefined {
  if (width === undefined || content.length % width !== 0) return undefined;
  let text = '';
  for (let at = 0; at < content.length; at += width) {
    let code = 0;
    for (let i = 0; i < width; i++) code = code * 256 + (content[at + i] ?? 0);
    if (code > 0x10ffff) return undefined;
    text += String.fromCodePoint(code);
  }
  return text;
}

/** [RFC 4514 §2.4]; controls, and what changes the direction of text, by their UTF-8. */
function escaped(text: string): string {
  return text
    .replace(/[\\",+;<>]/g, '\\$&')
    .replace(/^[ #]| $/g, '\\$&')
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu, (character) =>
      [...new TextEncoder().encode(character)]
        .map((byte) => `\\${byte.toString(16).padStart(2, '0')}`)
        .join(''),
    );
}
