/**
 * A time-stamping authority made of nothing but this file and `node:crypto`, so that it can be made wrong in
 * any way. What it makes is judged by `openssl ts -verify` as well, which knows nothing of it.
 */
import {
  constants,
  createHash,
  generateKeyPairSync,
  type KeyObject,
  type SignKeyObjectInput,
  sign,
} from 'node:crypto';
import { concat, utf8 } from '../../server/core/bytes.ts';

/** One element of DER, of any tag and length. */
export function element(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const content = concat(...contents);
  const { length } = content;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length % 256];
  return concat(Uint8Array.of(tag, ...head), content);
}

export const sequence = (...parts: readonly Uint8Array[]) => element(0x30, ...parts);
export const set = (...parts: readonly Uint8Array[]) => element(0x31, ...parts);
export const octets = (...parts: readonly Uint8Array[]) => element(0x04, ...parts);
export const bits = (bytes: Uint8Array) => element(0x03, Uint8Array.of(0), bytes);
export const boolean = (value: boolean) => element(0x01, Uint8Array.of(value ? 0xff : 0));
export const context = (n: number, ...parts: readonly Uint8Array[]) => element(0xa0 + n, ...parts);
export const utcTime = (text: string) => element(0x17, utf8(text));
export const generalizedTime = (text: string) => element(0x18, utf8(text));
export const NULL = element(0x05);

export function integer(n: number | bigint): Uint8Array {
  const hex = BigInt(n).toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  return element(0x02, (bytes[0] ?? 0) < 0x80 ? bytes : concat(Uint8Array.of(0), bytes));
}

export function oid(text: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [40 * first + second, ...rest].flatMap((arc) => {
    const groups = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) {
      groups.unshift(128 + (left % 128));
    }
    return groups;
  });
  return element(0x06, Uint8Array.from(bytes));
}

/** Members of a SET OF in DER's order. */
export function sorted(parts: readonly Uint8Array[]): Uint8Array[] {
  return [...parts].sort(Buffer.compare);
}

export const nameOf = (text: string) =>
  sequence(set(sequence(oid('2.5.4.3'), element(0x0c, utf8(text)))));

const DIGESTS = {
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
};
export type Digest = keyof typeof DIGESTS;

export const digestId = (hash: Digest) => sequence(oid(DIGESTS[hash]), NULL);

export const hashed = (hash: Digest, bytes: Uint8Array) =>
  new Uint8Array(createHash(hash).update(bytes).digest());

const KINDS = {
  p256: () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }),
  p384: () => generateKeyPairSync('ec', { namedCurve: 'secp384r1' }),
  p521: () => generateKeyPairSync('ec', { namedCurve: 'secp521r1' }),
  secp256k1: () => generateKeyPairSync('ec', { namedCurve: 'secp256k1' }),
  rsa: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  'rsa-1024': () => generateKeyPairSync('rsa', { modulusLength: 1024 }),
  'rsa-e3': () => generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }),
  ed25519: () => generateKeyPairSync('ed25519'),
};
export type Kind = keyof typeof KINDS;

/** How a key signs, and what that is called. */
export interface Way {
  readonly hash: Digest;
  readonly pss?: boolean;
}

export function algorithmId(kind: Kind, { hash, pss = false }: Way): Uint8Array {
  if (kind === 'ed25519') return sequence(oid('1.3.101.112'));
  const n = ['sha1', 'sha256', 'sha384', 'sha512'].indexOf(hash);
  if (!kind.startsWith('rsa')) {
    return sequence(oid(n === 0 ? '1.2.840.10045.4.1' : `1.2.840.10045.4.3.${n + 1}`));
  }
  if (!pss) return sequence(oid(`1.2.840.113549.1.1.${[5, 11, 12, 13][n]}`), NULL);
  const mgf1 = sequence(oid('1.2.840.113549.1.1.8'), digestId(hash));
  const salt = integer(hashed(hash, new Uint8Array()).length);
  return sequence(
    oid('1.2.840.113549.1.1.10'),
    sequence(context(0, digestId(hash)), context(1, mgf1), context(2, salt)),
  );
}

export function signed(key: KeyObject, way: Way, message: Uint8Array): Uint8Array {
  const isEd25519 = key.asymmetricKeyType === 'ed25519';
  const input: SignKeyObjectInput =
    way.pss === true
      ? {
          key,
          padding: constants.RSA_PKCS1_PSS_PADDING,
          saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
        }
      : { key };
  return new Uint8Array(sign(isEd25519 ? null : way.hash, message, input));
}

export interface Made {
  readonly kind: Kind;
  readonly key: KeyObject;
  readonly spki: Uint8Array;
  readonly name: Uint8Array;
  readonly issuer: Uint8Array;
  readonly serial: Uint8Array;
  readonly der: Uint8Array;
}

export interface Wanted {
  readonly name?: string;
  readonly kind?: Kind;
  /** Who signs it; itself where nobody does. */
  readonly by?: Made;
  /** A key that another certificate has already. */
  readonly sharing?: Made;
  readonly serial?: Uint8Array;
  /** UTCTimes. */
  readonly from?: string;
  readonly until?: string;
  readonly isAuthority?: boolean;
  readonly pathLength?: number;
  /** The first byte of the bits; nothing for no such extension. */
  readonly keyUsage?: number | undefined;
  /** Nothing for no such extension. */
  readonly purposes?: readonly string[] | undefined;
  readonly purposesCritical?: boolean;
  /** Whole extensions besides. */
  readonly more?: readonly Uint8Array[];
  readonly way?: Way;
  readonly withoutExtensions?: boolean;
}

export const TIME_STAMPING = '1.3.6.1.5.5.7.3.8';
export const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';

export function extension(type: string, isCritical: boolean, value: Uint8Array): Uint8Array {
  return sequence(oid(type), ...(isCritical ? [boolean(true)] : []), octets(value));
}

let made = 0;

/** A certificate and its key. */
export function makeCertificate(wanted: Wanted = {}): Made {
  const { by, sharing, isAuthority = false, more = [], withoutExtensions = false } = wanted;
  const kind = sharing?.kind ?? wanted.kind ?? 'p256';
  const serial = wanted.serial ?? integer(1_000 + ++made);
  const pair = sharing === undefined ? KINDS[kind]() : undefined;
  const key = sharing?.key ?? (pair?.privateKey as KeyObject);
  const spki =
    sharing?.spki ??
    new Uint8Array(pair?.publicKey.export({ format: 'der', type: 'spki' }) as Buffer);
  const name = nameOf(wanted.name ?? `certificate ${made}`);
  const issuer = by?.name ?? name;
  const way = wanted.way ?? { hash: by?.kind === 'ed25519' ? 'sha512' : 'sha256' };
  const algorithm = algorithmId(by?.kind ?? kind, way);
  const constraints = [
    ...(isAuthority ? [boolean(true)] : []),
    ...(wanted.pathLength === undefined ? [] : [integer(wanted.pathLength)]),
  ];
  const keyUsage = 'keyUsage' in wanted ? wanted.keyUsage : isAuthority ? 0x06 : 0x80;
  const purposes =
    'purposes' in wanted ? wanted.purposes : isAuthority ? undefined : [TIME_STAMPING];
  const unused = keyUsage === undefined ? 0 : Math.max(0, Math.log2(keyUsage & -keyUsage));
  const extensions = [
    extension('2.5.29.19', true, sequence(...constraints)),
    ...(keyUsage === undefined
      ? []
      : [extension('2.5.29.15', true, element(0x03, Uint8Array.of(unused, keyUsage)))]),
    ...(purposes === undefined
      ? []
      : [
          extension(
            '2.5.29.37',
            wanted.purposesCritical ?? !isAuthority,
            sequence(...purposes.map(oid)),
          ),
        ]),
    ...more,
  ];
  const tbs = sequence(
    ...(withoutExtensions ? [] : [context(0, integer(2))]),
    serial,
    algorithm,
    issuer,
    sequence(utcTime(wanted.from ?? '200101000000Z'), utcTime(wanted.until ?? '400101000000Z')),
    name,
    spki,
    ...(withoutExtensions ? [] : [context(3, sequence(...extensions))]),
  );
  const signature = signed(by?.key ?? key, way, tbs);
  return { kind, key, spki, name, issuer, serial, der: sequence(tbs, algorithm, bits(signature)) };
}

export function pemOf(...certificates: readonly Made[]): string {
  return certificates
    .map(({ der }) =>
      Buffer.from(der)
        .toString('base64')
        .replace(/.{64}(?=.)/g, '$&\n'),
    )
    .map((text) => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`)
    .join('');
}

export interface Stamping {
  readonly signer: Made;
  readonly message: Uint8Array;
  /** Of the imprint. */
  readonly hash?: Digest;
  readonly nonce?: Uint8Array;
  readonly time?: string;
  readonly version?: number;
  readonly accuracy?: Uint8Array;
  readonly ordering?: Uint8Array;
  /** A Name. */
  readonly tsa?: Uint8Array;
  readonly infoMore?: readonly Uint8Array[];
  readonly digest?: Uint8Array;
  readonly serial?: Uint8Array;
  /** Of the digests and the signature of the token. */
  readonly way?: Way;
  /** Says another algorithm than that of the signature. */
  readonly algorithm?: Uint8Array;
  readonly digestAlgorithm?: Uint8Array;
  readonly certificates?: readonly Made[];
  /** The attributes, to be changed before they are signed. */
  readonly attributes?: (attributes: Attributes) => readonly Uint8Array[];
  /** As they are signed; in order unless said otherwise. */
  readonly order?: (attributes: readonly Uint8Array[]) => readonly Uint8Array[];
  /** After everything is signed. */
  readonly signers?: (signer: Uint8Array) => readonly Uint8Array[];
  readonly sid?: Uint8Array;
  readonly signerVersion?: number;
  readonly contentType?: string;
  readonly unsigned?: Uint8Array;
  readonly status?: Uint8Array;
  readonly dataVersion?: number;
  readonly crls?: Uint8Array;
  readonly dataMore?: Uint8Array;
  /** Changes the token whole. */
  readonly token?: (token: Uint8Array) => Uint8Array;
}

export interface Attributes {
  readonly contentType: Uint8Array;
  readonly messageDigest: Uint8Array;
  readonly signingTime: Uint8Array;
  readonly signingCertificate: Uint8Array;
}

export const TST_INFO = '1.2.840.113549.1.9.16.1.4';
export const GRANTED = sequence(integer(0));

export const attribute = (type: string, ...values: readonly Uint8Array[]) =>
  sequence(oid(type), set(...values));

export const issuerSerial = ({ issuer, serial }: Made) => sequence(issuer, serial);

/** ESSCertIDv2, with SHA-256 unless another hash is named. */
export function certificateId(certificate: Made, hash?: Digest, withIssuer = false): Uint8Array {
  return sequence(
    ...(hash === undefined ? [] : [digestId(hash)]),
    octets(hashed(hash ?? 'sha256', certificate.der)),
    ...(withIssuer ? [sequence(sequence(context(4, certificate.issuer)), certificate.serial)] : []),
  );
}

export const signingCertificateV2 = (...ids: readonly Uint8Array[]) =>
  attribute('1.2.840.113549.1.9.16.2.47', sequence(sequence(...ids)));

/** SHA-1 is all that it can say. */
export const signingCertificateV1 = (certificate: Made) =>
  attribute(
    '1.2.840.113549.1.9.16.2.12',
    sequence(sequence(sequence(octets(hashed('sha1', certificate.der))))),
  );

/** A whole answer: good, but for what is asked to be otherwise. */
export function makeResponse(stamping: Stamping): Uint8Array {
  const { signer, message, hash = 'sha256', time = '20261121032522Z' } = stamping;
  const way: Way = stamping.way ?? { hash: signer.kind === 'ed25519' ? 'sha512' : 'sha256' };
  const info = sequence(
    integer(stamping.version ?? 1),
    oid('1.3.6.1.4.1.57264.2'),
    sequence(digestId(hash), octets(stamping.digest ?? hashed(hash, message))),
    stamping.serial ?? integer(7),
    generalizedTime(time),
    ...(stamping.accuracy === undefined ? [] : [stamping.accuracy]),
    ...(stamping.ordering === undefined ? [] : [stamping.ordering]),
    ...(stamping.nonce === undefined ? [] : [element(0x02, stamping.nonce)]),
    ...(stamping.tsa === undefined ? [] : [context(0, context(4, stamping.tsa))]),
    ...(stamping.infoMore ?? []),
  );
  const parts: Attributes = {
    contentType: attribute('1.2.840.113549.1.9.3', oid(TST_INFO)),
    messageDigest: attribute('1.2.840.113549.1.9.4', octets(hashed(way.hash, info))),
    signingTime: attribute('1.2.840.113549.1.9.5', utcTime('261121032522Z')),
    signingCertificate: signingCertificateV2(certificateId(signer)),
  };
  const chosen = stamping.attributes?.(parts) ?? Object.values(parts);
  const attributes = (stamping.order ?? sorted)(chosen);
  const signerInfo = sequence(
    integer(stamping.signerVersion ?? 1),
    stamping.sid ?? issuerSerial(signer),
    stamping.digestAlgorithm ?? digestId(way.hash),
    context(0, ...attributes),
    stamping.algorithm ?? algorithmId(signer.kind, way),
    octets(signed(signer.key, way, set(...attributes))),
    ...(stamping.unsigned === undefined ? [] : [context(1, stamping.unsigned)]),
  );
  const certificates = stamping.certificates ?? [signer];
  const data = sequence(
    integer(stamping.dataVersion ?? 3),
    set(digestId(way.hash)),
    sequence(oid(stamping.contentType ?? TST_INFO), context(0, octets(info))),
    ...(certificates.length === 0 ? [] : [context(0, ...certificates.map(({ der }) => der))]),
    ...(stamping.crls === undefined ? [] : [context(1, stamping.crls)]),
    set(...(stamping.signers?.(signerInfo) ?? [signerInfo])),
    ...(stamping.dataMore === undefined ? [] : [stamping.dataMore]),
  );
  const token = sequence(oid('1.2.840.113549.1.7.2'), context(0, data));
  return sequence(stamping.status ?? GRANTED, stamping.token?.(token) ?? token);
}
