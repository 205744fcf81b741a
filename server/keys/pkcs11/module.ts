/**
 * The library of a token, loaded when a key in one is named and never before.
 *
 * `pkcs11js` is no dependency: it is compiled where it is installed, and who has no token has no use for it
 * (docs/operating.md says how to get it). Of what it can do only this is used.
 *
 * [PKCS #11 v2.40, v3.0]
 */
import { createRequire } from 'node:module';
import { SteleError } from '../../core/errors.ts';

/** A slot, session or object: whatever the library gave. */
export type Handle = Buffer;

export type Attributes = readonly { readonly type: number; readonly value?: unknown }[];

export interface Cryptoki {
  load(path: string): void;
  C_Initialize(): void;
  C_GetSlotList(tokenPresent: boolean): Handle[];
  C_GetTokenInfo(slot: Handle): { readonly label: string; readonly serialNumber: string };
  C_OpenSession(slot: Handle, flags: number): Handle;
  C_CloseSession(session: Handle): void;
  C_Login(session: Handle, user: number, pin: string): void;
  C_FindObjectsInit(session: Handle, template: Attributes): void;
  C_FindObjects(session: Handle, max: number): Handle[];
  C_FindObjectsFinal(session: Handle): void;
  C_GetAttributeValue(
    session: Handle,
    object: Handle,
    template: Attributes,
  ): { readonly type: number; readonly value: Buffer }[];
  C_SignInit(session: Handle, mechanism: { readonly mechanism: number }, key: Handle): void;
  C_SignAsync(session: Handle, data: Buffer, room: Buffer): Promise<Buffer>;
}

/** Numbers of the standard; those of version 3 are not in every copy of it. */
export const CKF = { serial: 4 } as const;
export const CKU_USER = 1;
export const CKO = { publicKey: 2, privateKey: 3 } as const;
export const CKK = { ec: 0x03, edwards: 0x40 } as const;
export const CKA = {
  class: 0x000,
  label: 0x003,
  keyType: 0x100,
  id: 0x102,
  sign: 0x108,
  ecParams: 0x180,
  ecPoint: 0x181,
} as const;
export const CKM = { ecdsa: 0x1041, eddsa: 0x1057 } as const;

const modules = new Map<string, Cryptoki>();

/** The module at `path`, initialized. Rejects with `not_found` where pkcs11js or the module is missing. */
export function loadModule(path: string): Cryptoki {
  const known = modules.get(path);
  if (known !== undefined) return known;
  const module = new (constructorOf())();
  try {
    module.load(path);
  } catch (cause) {
    throw new SteleError(
      'not_found',
      `PKCS#11 module ${path}: it cannot be loaded (${reasonOf(cause)})`,
      {
        cause,
      },
    );
  }
  try {
    module.C_Initialize();
  } catch (cause) {
    // Somebody in this process has initialized it under another name.
    if (reasonOf(cause) !== 'CKR_CRYPTOKI_ALREADY_INITIALIZED') {
      throw new SteleError('storage', `PKCS#11 module ${path}: ${reasonOf(cause)}`, { cause });
    }
  }
  modules.set(path, module);
  return module;
}

/** The name of what a module refuses with, such as CKR_PIN_INCORRECT. */
export function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return /CKR_[A-Z0-9_]+/.exec(message)?.[0] ?? message.split('\n')[0] ?? '';
}

function constructorOf(): new () => Cryptoki {
  try {
    const { PKCS11 } = createRequire(import.meta.url)('pkcs11js') as {
      readonly PKCS11: new () => Cryptoki;
    };
    return PKCS11;
  } catch (cause) {
    throw new SteleError(
      'not_found',
      'a key in a token needs the package pkcs11js, which is not installed or does not load here: npm ' +
        'install pkcs11js@2.1.7 (docs/operating.md says more)',
      { cause },
    );
  }
}
