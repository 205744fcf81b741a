/** Certificates for tests, made by the `openssl` of the machine: an issuer of their own, and what it issues. */
import { spawnSync } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { appendFileSync, chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Why no certificate can be made here; nothing where it can. */
export const opensslMissing: string | undefined =
  spawnSync('openssl', ['version']).status === 0 ? undefined : 'openssl is not installed';

export interface Wanted {
  readonly names?: readonly string[];
  readonly key?: 'ec' | 'rsa' | 'ed25519';
  /** Days from now. */
  readonly begins?: number;
  readonly ends?: number;
  /** As old tools write keys: SEC 1 or PKCS#1. */
  readonly traditional?: boolean;
}

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

const KEYS = {
  ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  rsa: ['-newkey', 'rsa:2048'],
  ed25519: ['-newkey', 'ed25519'],
};

const SETTINGS = `
[ca]
default_ca = here
[here]
dir = .
database = $dir/index
serial = $dir/serial
new_certs_dir = $dir
certificate = $dir/ca.pem
private_key = $dir/ca.key
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
x509_extensions = leaf
[any]
commonName = supplied
[leaf]
basicConstraints = CA:FALSE
`;

/** A private issuer in a folder of its own. */
export class Issuer {
  readonly folder: string;
  /** Its certificate, for those who should trust it. */
  readonly file: string;
  #made = 0;

  constructor(folder: string) {
    this.folder = folder;
    this.file = join(folder, 'ca.pem');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'settings'), SETTINGS);
    writeFileSync(join(folder, 'index'), '');
    writeFileSync(join(folder, 'serial'), '01');
    const out = ['-keyout', 'ca.key', '-out', 'ca.pem'];
    this.#run('req', '-x509', ...KEYS.ec, '-nodes', '-days', '30', '-subj', '/CN=issuer', ...out);
  }

  get pem(): string {
    return readFileSync(this.file, 'utf8');
  }

  /** A certificate and its key, mode 0600, in files of their own. */
  make(wanted: Wanted = {}): Pair {
    const { names = ['log.example'], key = 'ec', begins = 0, ends = 20, traditional } = wanted;
    const name = `pair-${++this.#made}`;
    const files = { cert: join(this.folder, `${name}.pem`), key: join(this.folder, `${name}.key`) };
    const alt = names.map((one) => `${/^[\d.]+$/.test(one) ? 'IP' : 'DNS'}:${one}`).join();
    this.#run(
      ...['req', '-new', ...KEYS[key], '-nodes', '-subj', `/CN=${names[0]}`],
      ...['-addext', `subjectAltName=${alt}`, '-keyout', files.key, '-out', `${name}.csr`],
    );
    this.#run(
      ...['ca', '-batch', '-config', 'settings', '-notext', '-in', `${name}.csr`],
      ...['-startdate', dateOf(begins), '-enddate', dateOf(ends), '-out', files.cert],
    );
    if (traditional === true) {
      const type = key === 'rsa' ? 'pkcs1' : 'sec1';
      const old = createPrivateKey(readFileSync(files.key)).export({ format: 'pem', type });
      writeFileSync(files.key, old);
    }
    appendFileSync(files.cert, this.pem);
    chmodSync(files.key, 0o600);
    return files;
  }

  #run(...argv: readonly string[]): void {
    const { status, stderr } = spawnSync('openssl', argv, { cwd: this.folder });
    if (status !== 0) throw new Error(`openssl ${argv.join(' ')}: ${stderr}`);
  }
}

/** As openssl writes times; today's begins an hour ago. */
function dateOf(days: number): string {
  const ms = Date.now() + days * 86_400_000 - (days === 0 ? 3_600_000 : 0);
  const digits = new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14);
  return `${digits}Z`;
}
