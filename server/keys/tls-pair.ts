/**
 * Which certificate does a listener show? The one in two PEM files, and after they were replaced the new
 * one, without a restart and without cutting a connection.
 *
 *     every second:  stat both ─► as they were? done
 *                             ─► changed, and the same at the next look: read, check, use
 *                             ─► not good: said once, and the old pair stays
 *
 * Two files are never replaced in one moment, so a change counts only once it has stood still for one
 * look. The key is held to the same rules as every other key file: only its owner may read it, and no
 * error has a byte of it (P10).
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { ServerOptions } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import { malformed } from '../core/errors.ts';
import { readKeyFile, readPublicFile } from './file.ts';

export interface TlsPaths {
  /** The certificate, and the chain that leads to it, leaf first. */
  readonly cert: string;
  readonly key: string;
}

export interface TlsPair {
  readonly cert: string;
  readonly key: string;
  /** SHA-256 of the leaf's DER, in lower-case hex. */
  readonly fingerprint: string;
  /** The leaf is good from here to there. */
  readonly beginsMs: number;
  readonly endsMs: number;
}

/** A chain of four certificates with RSA keys has about 8,000 bytes. */
const CERT_BYTES_MAX = 65_536;

/** Forward secrecy and authenticated encryption alone. Those of TLS 1.3 all are of that kind. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

function secureOptions({ cert, key }: TlsPair): SecureContextOptions {
  return { cert, key, minVersion: 'TLSv1.2', ciphers: CIPHERS };
}

/**
 * An HTTPS server that shows whatever pair is the newest. Connections that are open go on as they began. A
 * handshake has the time that headers have.
 */
export function createTlsServer(tls: TlsFiles, options: ServerOptions): Server {
  const { headersTimeout } = options;
  const server = createServer({
    ...options,
    ...secureOptions(tls.pair),
    ...(headersTimeout === undefined ? {} : { handshakeTimeout: headersTimeout }),
  });
  tls.onChange((pair) => server.setSecureContext(secureOptions(pair)));
  return server;
}

/**
 * Reads a pair. Rejects with `not_found` if a file is missing, `forbidden` if others can read the key, and
 * `malformed` if the two are not a certificate and its key.
 */
export async function openTlsPair({ cert: certPath, key: keyPath }: TlsPaths): Promise<TlsPair> {
  const key = await readKeyFile(keyPath);
  const cert = await readPublicFile(certPath, 'certificate', CERT_BYTES_MAX);
  const leaf = parseLeaf(certPath, cert);
  if (!leaf.checkPrivateKey(parseKey(keyPath, key))) {
    throw malformed(`key file ${keyPath}`, `not the key of the certificate in ${certPath}`);
  }
  return {
    cert,
    key,
    fingerprint: leaf.fingerprint256.replaceAll(':', '').toLowerCase(),
    beginsMs: leaf.validFromDate.getTime(),
    endsMs: leaf.validToDate.getTime(),
  };
}

function parseLeaf(path: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw malformed(`certificate ${path}`, 'not a certificate in PEM', { cause });
  }
}

function parseKey(path: string, pem: string): KeyObject {
  if (pem.includes('ENCRYPTED')) {
    throw malformed(
      `key file ${path}`,
      'it is encrypted, and nobody is there to type a passphrase',
    );
  }
  try {
    return createPrivateKey(pem);
  } catch {
    // The cause is left out: what a decoder says about a private key belongs in no log (P10).
    throw malformed(`key file ${path}`, 'not a private key in PEM');
  }
}

export interface TlsOptions {
  readonly now: () => number;
  /** A pair was put there, and is used from now on. */
  readonly changed: (pair: TlsPair) => void;
  /** Why a pair that was put there is not used; the one before it stays. */
  readonly failed: (error: unknown) => void;
  readonly lookMs?: number;
}

const LOOK_MS = 1_000;

export class TlsFiles {
  readonly #paths: TlsPaths;
  readonly #options: TlsOptions;
  readonly #listeners = new Set<(pair: TlsPair) => void>();
  readonly #timer: NodeJS.Timeout;
  #pair: TlsPair;
  /** The files as they were when they were last read, and as they were at the last look. */
  #read: string;
  #seen: string;
  /** What was last said to be no good. */
  #refused = '';
  #looking = false;

  private constructor(paths: TlsPaths, options: TlsOptions, pair: TlsPair, stamp: string) {
    this.#paths = paths;
    this.#options = options;
    this.#pair = pair;
    this.#read = stamp;
    this.#seen = stamp;
    this.#timer = setInterval(() => void this.#look(), options.lookMs ?? LOOK_MS);
    this.#timer.unref();
  }

  /** Reads the pair and goes on looking after it. Rejects as `openTlsPair` does. */
  static async open(paths: TlsPaths, options: TlsOptions): Promise<TlsFiles> {
    // Taken first: what changes while the pair is read is seen at the next look.
    const stamp = await stampOf(paths);
    return new TlsFiles(paths, options, await openTlsPair(paths), stamp);
  }

  get pair(): TlsPair {
    return this.#pair;
  }

  onChange(listener: (pair: TlsPair) => void): void {
    this.#listeners.add(listener);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      const stamp = await stampOf(this.#paths);
      const stands = stamp === this.#seen;
      this.#seen = stamp;
      if (stands && stamp !== this.#read) await this.#reload(stamp);
    } finally {
      this.#looking = false;
    }
  }

  async #reload(stamp: string): Promise<void> {
    try {
      const pair = await openTlsPair(this.#paths);
      this.#checkTime(pair);
      for (const listener of this.#listeners) listener(pair);
      this.#pair = pair;
      this.#read = stamp;
      this.#options.changed(pair);
    } catch (error) {
      // It is tried again at every look, in case it was the disk, and said once.
      if (this.#refused !== stamp) this.#options.failed(error);
      this.#refused = stamp;
    }
  }

  /** One that no client would take does not replace one that may be good. */
  #checkTime({ beginsMs, endsMs }: TlsPair): void {
    const now = this.#options.now();
    const what = `certificate ${this.#paths.cert}`;
    if (endsMs <= now) throw malformed(what, `it ended at ${new Date(endsMs).toISOString()}`);
    if (beginsMs > now) throw malformed(what, `it begins at ${new Date(beginsMs).toISOString()}`);
  }
}

/** Where is told what becomes of a certificate. */
export interface TlsLogger {
  info(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

/** The certificate, which is replaced while its listener runs; what is wrong with a new one is for the log. */
export async function openTlsFiles(paths: TlsPaths, logger: TlsLogger): Promise<TlsFiles> {
  const ends = ({ endsMs }: TlsPair) => new Date(endsMs).toISOString();
  const files = await TlsFiles.open(paths, {
    now: Date.now,
    changed: (pair) => logger.info({ ends: ends(pair) }, 'a new certificate is used'),
    failed: (error) => logger.error({ err: error }, 'the new certificate is not used'),
  });
  if (files.pair.endsMs <= Date.now()) {
    // Served all the same: who knows it by other means than its dates still gets in.
    logger.error({ ends: ends(files.pair) }, 'the certificate has ended');
  }
  return files;
}

/** Tells whether the files were replaced. One that is not there has a stamp too. */
async function stampOf({ cert, key }: TlsPaths): Promise<string> {
  const stamps = [cert, key].map(async (path) => {
    try {
      const { ino, size, mtimeMs } = await stat(path);
      return `${ino} ${size} ${mtimeMs}`;
    } catch (error) {
      return String((error as NodeJS.ErrnoException).code);
    }
  });
  return (await Promise.all(stamps)).join(', ');
}
