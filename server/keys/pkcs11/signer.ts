/**
 * A signer whose private key is in a token: a hardware module, or anything that speaks PKCS#11.
 *
 * The key never leaves it. Its public half is read from the token, judged like any other, and held to the
 * private one by a signature that is checked, since a token may keep two that do not belong together.
 *
 *     ed25519       CKK_EC_EDWARDS   CKM_EDDSA   64 bytes
 *     ecdsa-p256    CKK_EC           CKM_ECDSA   over SHA-256; r ‖ s, turned into DER here
 *     ecdsa-p384    CKK_EC           CKM_ECDSA   over SHA-384
 *
 * Known hole: a module whose token was taken out may need the process to be started again before it finds
 * the token that was put back.
 */
import { createHash, randomBytes } from 'node:crypto';
import { concat, equalBytes, parseHex, utf8 } from '../../core/bytes.ts';
import { malformed, SteleError } from '../../core/errors.ts';
import { type Algorithm, ed25519Spki, type PublicKey, parsePublicKey } from '../../core/keys.ts';
import { checkSignatureNative } from '../engine.ts';
import type { Signer } from '../signer.ts';
import {
  type Attributes,
  CKA,
  CKF,
  CKK,
  CKM,
  CKO,
  CKU_USER,
  type Cryptoki,
  type Handle,
  loadModule,
  reasonOf,
} from './module.ts';
import { describePkcs11, type Pkcs11Uri } from './uri.ts';

type TokenAlgorithm = Extract<Algorithm, 'ed25519' | 'ecdsa-p256' | 'ecdsa-p384'>;

/** Objects that are looked at before a name is called ambiguous. */
const FOUND_MAX = 4;

/** What each algorithm's parameters and keys are, in DER. */
const FORMS = {
  ed25519: {
    // The object identifier, or the curve's name as version 3 of the standard began with.
    params: [parseHex('06032b6570', 'OID'), concat(parseHex('130c', 'tag'), utf8('edwards25519'))],
    pointBytes: 32,
    digest: undefined,
    head: undefined,
  },
  'ecdsa-p256': {
    params: [parseHex('06082a8648ce3d030107', 'OID')],
    pointBytes: 65,
    digest: 'sha256',
    head: parseHex('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'SPKI'),
  },
  'ecdsa-p384': {
    params: [parseHex('06052b81040022', 'OID')],
    pointBytes: 97,
    digest: 'sha384',
    head: parseHex('3076301006072a8648ce3d020106052b81040022036200', 'SPKI'),
  },
} as const;

interface OpenKey {
  readonly session: Handle;
  readonly key: Handle;
}

/**
 * Opens the key that a URI names. Rejects with `not_found` if there is none, or no module; `conflict` if there
 * are several; `forbidden` if the PIN is not right; `malformed` if it is a key of no use here.
 */
export async function openPkcs11Key(uri: Pkcs11Uri, pin: string): Promise<Signer> {
  const token = new Token(uri, pin);
  const open = token.open();
  try {
    const signer = new Pkcs11Signer(token, open, token.publicKey(open));
    await checkPair(signer, describePkcs11(uri));
    return signer;
  } catch (error) {
    token.close(open);
    throw error;
  }
}

/** One key of one token: how to get at it, as often as that is needed. */
class Token {
  readonly name: string;
  readonly module: Cryptoki;
  readonly #uri: Pkcs11Uri;
  readonly #pin: string;

  constructor(uri: Pkcs11Uri, pin: string) {
    this.name = describePkcs11(uri);
    this.#uri = uri;
    this.#pin = pin;
    this.module = loadModule(uri.module);
  }

  open(): OpenKey {
    const slot = this.#slot();
    const session = this.#try(() => this.module.C_OpenSession(slot, CKF.serial));
    try {
      this.#login(session);
      return { session, key: this.#one(session, CKO.privateKey) };
    } catch (error) {
      this.close({ session });
      throw error;
    }
  }

  close({ session }: Pick<OpenKey, 'session'>): void {
    try {
      this.module.C_CloseSession(session);
    } catch (error) {
      // A session that the token has lost has nothing to close.
      if (!/^CKR_/.test(reasonOf(error))) throw error;
    }
  }

  publicKey(open: OpenKey): PublicKey {
    const { session } = open;
    const [type] = this.#read(session, open.key, [CKA.keyType]);
    const isEdwards = type !== undefined && numberOf(type) === CKK.edwards;
    if (!isEdwards && (type === undefined || numberOf(type) !== CKK.ec)) {
      throw malformed(this.name, 'its type is none of Ed25519, P-256 and P-384');
    }
    const object = this.#one(session, CKO.publicKey);
    const [params, point] = this.#read(session, object, [CKA.ecParams, CKA.ecPoint]);
    const alg = algorithmOf(params ?? new Uint8Array());
    if (alg === undefined || (alg === 'ed25519') !== isEdwards) {
      throw malformed(this.name, 'its curve is none of Ed25519, P-256 and P-384');
    }
    return parsePublicKey(alg, spkiOf(this.name, alg, point ?? new Uint8Array()));
  }

  failed(cause: unknown): SteleError {
    const reason = reasonOf(cause);
    if (reason.startsWith('CKR_PIN_') || reason === 'CKR_USER_PIN_NOT_INITIALIZED') {
      return new SteleError(
        'forbidden',
        `${this.name}: the token does not take the PIN (${reason})`,
      );
    }
    return new SteleError('storage', `${this.name}: ${reason}`, { cause, retryAfterS: 30 });
  }

  #slot(): Handle {
    const { token, serial } = this.#uri;
    const slots = this.#try(() => this.module.C_GetSlotList(true)).filter((slot) => {
      const info = this.#try(() => this.module.C_GetTokenInfo(slot));
      const fits = (wanted: string | undefined, found: string) =>
        wanted === undefined || found.replace(/[\0 ]+$/, '') === wanted;
      return fits(token, info.label) && fits(serial, info.serialNumber);
    });
    const [slot, another] = slots;
    if (slot === undefined)
      throw new SteleError('not_found', `${this.name}: there is no such token`);
    if (another !== undefined) {
      throw new SteleError(
        'conflict',
        `${this.name}: ${slots.length} tokens have that name: add serial=`,
      );
    }
    return slot;
  }

  /** A token is logged into once for all sessions of the process. */
  #login(session: Handle): void {
    try {
      this.module.C_Login(session, CKU_USER, this.#pin);
    } catch (error) {
      if (reasonOf(error) !== 'CKR_USER_ALREADY_LOGGED_IN') throw this.failed(error);
    }
  }

  #one(session: Handle, objectClass: number): Handle {
    const { object, id } = this.#uri;
    const template: Attributes = [
      { type: CKA.class, value: objectClass },
      ...(object === undefined ? [] : [{ type: CKA.label, value: object }]),
      ...(id === undefined ? [] : [{ type: CKA.id, value: Buffer.from(id) }]),
    ];
    const found = this.#try(() => {
      this.module.C_FindObjectsInit(session, template);
      try {
        return this.module.C_FindObjects(session, FOUND_MAX);
      } finally {
        this.module.C_FindObjectsFinal(session);
      }
    });
    const half = objectClass === CKO.privateKey ? 'private' : 'public';
    const [key, another] = found;
    if (key === undefined)
      throw new SteleError('not_found', `${this.name}: it has no ${half} half there`);
    if (another !== undefined) {
      throw new SteleError(
        'conflict',
        `${this.name}: several ${half} keys have that name: add id=`,
      );
    }
    return key;
  }

  #read(session: Handle, object: Handle, types: readonly number[]): (Uint8Array | undefined)[] {
    const template = types.map((type) => ({ type }));
    const values = this.#try(() => this.module.C_GetAttributeValue(session, object, template));
    return types.map((type) => {
      const value = values.find((one) => one.type === type)?.value;
      return value === undefined ? undefined : new Uint8Array(value);
    });
  }

  #try<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      throw this.failed(cause);
    }
  }
}

class Pkcs11Signer implements Signer {
  readonly publicKey: PublicKey;
  readonly #token: Token;
  #open: OpenKey | undefined;
  #isClosed = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(token: Token, open: OpenKey, publicKey: PublicKey) {
    this.publicKey = publicKey;
    this.#token = token;
    this.#open = open;
  }

  /** A session signs one message after the other. */
  sign(message: Uint8Array): Promise<Uint8Array> {
    const work = () => this.#sign(message);
    const signature = this.#last.then(work, work);
    this.#last = signature.catch(() => undefined);
    return signature;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#last;
    if (this.#open !== undefined) this.#token.close(this.#open);
    this.#open = undefined;
  }

  async #sign(message: Uint8Array): Promise<Uint8Array> {
    if (this.#isClosed) throw new SteleError('storage', `${this.#token.name}: it is closed`);
    const alg = this.publicKey.alg as TokenAlgorithm;
    const { digest } = FORMS[alg];
    const data =
      digest === undefined ? Buffer.from(message) : createHash(digest).update(message).digest();
    const mechanism = digest === undefined ? CKM.eddsa : CKM.ecdsa;
    this.#open ??= this.#token.open();
    const { session, key } = this.#open;
    try {
      this.#token.module.C_SignInit(session, { mechanism }, key);
      const raw = await this.#token.module.C_SignAsync(session, data, Buffer.alloc(256));
      return digest === undefined ? new Uint8Array(raw) : derOf(new Uint8Array(raw));
    } catch (cause) {
      // A session that failed is not used again: the next signature opens one of its own.
      this.#token.close(this.#open);
      this.#open = undefined;
      throw cause instanceof SteleError ? cause : this.#token.failed(cause);
    }
  }
}

/** Throws `unverified` unless the two halves belong together. */
async function checkPair(signer: Pkcs11Signer, name: string): Promise<void> {
  // No form of message that a key here ever signs begins like this.
  const message = concat(utf8('stele key check\n'), randomBytes(32));
  const signature = await signer.sign(message);
  try {
    checkSignatureNative(signer.publicKey, message, signature);
  } catch (cause) {
    if (!(cause instanceof SteleError)) throw cause;
    throw new SteleError('unverified', `${name}: its private and its public half are not one key`, {
      cause,
    });
  }
}

function algorithmOf(params: Uint8Array): TokenAlgorithm | undefined {
  const algorithms = Object.keys(FORMS) as TokenAlgorithm[];
  return algorithms.find((alg) => FORMS[alg].params.some((known) => equalBytes(known, params)));
}

/** A point is an OCTET STRING in DER, or as some tokens have it, what is inside one. */
function spkiOf(name: string, alg: TokenAlgorithm, point: Uint8Array): Uint8Array {
  const { pointBytes, head } = FORMS[alg];
  const isWrapped = point.length === pointBytes + 2 && point[0] === 0x04 && point[1] === pointBytes;
  const raw = isWrapped ? point.subarray(2) : point;
  if (raw.length !== pointBytes) {
    throw malformed(name, `a point of ${point.length} bytes where ${alg} has ${pointBytes}`);
  }
  return head === undefined ? ed25519Spki(raw) : concat(head, raw);
}

/** r ‖ s as the SEQUENCE of two INTEGERs that everybody else writes. */
function derOf(raw: Uint8Array): Uint8Array {
  const half = raw.length / 2;
  const body = concat(derInteger(raw.subarray(0, half)), derInteger(raw.subarray(half)));
  return concat(Uint8Array.of(0x30, body.length), body);
}

function derInteger(bytes: Uint8Array): Uint8Array {
  const start = bytes.findIndex((byte) => byte !== 0);
  const digits = bytes.subarray(start < 0 ? bytes.length - 1 : start);
  const sign = (digits[0] ?? 0) >= 0x80 ? [0] : [];
  return Uint8Array.from([0x02, digits.length + sign.length, ...sign, ...digits]);
}

function numberOf(bytes: Uint8Array): number {
  return Buffer.from(bytes.subarray(0, 4)).readUInt32LE();
}
