/**
 * A token in software, where Debian's softhsm2 and the package pkcs11js are there: neither is a dependency.
 * NODE_PATH may name a folder that has the package.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadModule } from '../../../server/keys/pkcs11/module.ts';

export const MODULE = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib64/libsofthsm2.so',
].find((path) => existsSync(path));

const hasPackage = (() => {
  try {
    createRequire(import.meta.url)('pkcs11js');
    return true;
  } catch {
    return false;
  }
})();

/** Why keys in tokens are not tested here, or nothing if they are. */
export const missing = [
  ...(MODULE === undefined ? ['softhsm2'] : []),
  ...(hasPackage ? [] : ['pkcs11js']),
].join(' and ');

export const PIN = '987654';

/** Parameters of the curves, in DER. */
export const CURVES = {
  ed25519: { type: 0x40, mechanism: 0x1055, params: '06032b6570' },
  'ecdsa-p256': { type: 0x03, mechanism: 0x1040, params: '06082a8648ce3d030107' },
  'ecdsa-p384': { type: 0x03, mechanism: 0x1040, params: '06052b81040022' },
  secp256k1: { type: 0x03, mechanism: 0x1040, params: '06052b8104000a' },
} as const;

/** What is used to make keys, beside what the server uses. */
interface Maker {
  C_GetSlotList(present: boolean): Buffer[];
  C_GetTokenInfo(slot: Buffer): { readonly label: string };
  C_OpenSession(slot: Buffer, flags: number): Buffer;
  C_Login(session: Buffer, user: number, pin: string): void;
  C_Logout(session: Buffer): void;
  C_CloseSession(session: Buffer): void;
  C_GenerateKeyPair(
    session: Buffer,
    mechanism: { readonly mechanism: number },
    publicKey: readonly object[],
    privateKey: readonly object[],
  ): unknown;
}

let folder: string | undefined;

/** A new token of this process. The module reads its settings once, so all tokens are in one folder. */
export function newToken(label: string): void {
  if (folder === undefined) {
    folder = mkdtempSync(join(tmpdir(), 'stele-tokens-'));
    mkdirSync(join(folder, 'tokens'));
    const conf = join(folder, 'softhsm2.conf');
    writeFileSync(conf, `directories.tokendir = ${join(folder, 'tokens')}\nlog.level = ERROR\n`);
    process.env.SOFTHSM2_CONF = conf;
  }
  execFileSync(
    'softhsm2-util',
    ['--init-token', '--free', '--label', label, '--pin', PIN, '--so-pin', '12345678'],
    { stdio: 'ignore' },
  );
}

/** Removes all tokens; no more are made after that. */
export function removeTokens(): void {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
}

/** Makes a pair of keys in a token. */
export function makeKey(
  token: string,
  label: string,
  curve: keyof typeof CURVES,
  id = Buffer.from(label),
): void {
  const module = loadModule(MODULE ?? '') as unknown as Maker;
  const slot = module
    .C_GetSlotList(true)
    .find((one) => module.C_GetTokenInfo(one).label.trim() === token);
  if (slot === undefined) throw new Error(`no token ${token}`);
  const session = module.C_OpenSession(slot, 4 + 2);
  module.C_Login(session, 1, PIN);
  const { type, mechanism, params } = CURVES[curve];
  const common = [
    { type: 0x001, value: true },
    { type: 0x003, value: label },
    { type: 0x102, value: id },
    { type: 0x100, value: type },
  ];
  module.C_GenerateKeyPair(
    session,
    { mechanism },
    [
      { type: 0x000, value: 2 },
      ...common,
      { type: 0x10a, value: true },
      { type: 0x180, value: Buffer.from(params, 'hex') },
    ],
    [
      { type: 0x000, value: 3 },
      ...common,
      { type: 0x002, value: true },
      { type: 0x103, value: true },
      { type: 0x108, value: true },
    ],
  );
  module.C_Logout(session);
  module.C_CloseSession(session);
}

export function uriOf(token: string, key: string, more = ''): string {
  return `pkcs11:token=${token};object=${key}?module-path=${MODULE}${more}`;
}
