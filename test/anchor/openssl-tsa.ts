/** A real time-stamping authority on a port of this machine: `openssl ts`, under a root of its own. */
import { execFile, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const KEYS = {
  p256: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  p384: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  rsa: ['-newkey', 'rsa:2048'],
};

/** Who stamps under which path, and how. */
const SECTIONS = {
  p256: { key: 'p256', issuer: 'root' },
  p384: { key: 'p384', issuer: 'root', lines: ['clock_precision_digits = 6', 'tsa_name = yes'] },
  rsa: { key: 'rsa', issuer: 'between', lines: ['signer_digest = sha512', 'ordering = yes'] },
  chain: { key: 'p256', issuer: 'between', lines: ['ess_cert_id_chain = yes'] },
  sha1: { key: 'p256', issuer: 'root', lines: ['ess_cert_id_alg = sha1'] },
  picky: { key: 'p256', issuer: 'root', lines: ['digests = sha512'] },
  vague: { key: 'p256', issuer: 'root', lines: ['accuracy = secs:3600'] },
  expired: { key: 'p256', issuer: 'root', days: [-20, -10] },
} as const satisfies Record<
  string,
  {
    readonly key: keyof typeof KEYS;
    readonly issuer: 'root' | 'between';
    readonly lines?: readonly string[];
    readonly days?: readonly [begins: number, ends: number];
  }
>;
export type Section = keyof typeof SECTIONS;

const AUTHORITIES = `
[ca]
default_ca = here
[here]
dir = .
database = $dir/index
serial = $dir/serial
new_certs_dir = $dir
default_md = sha256
policy = any
unique_subject = no
[any]
organizationName = optional
commonName = supplied
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[signer]
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
`;

export interface Seen {
  readonly body: Uint8Array;
  readonly headers: IncomingMessage['headers'];
}

export class OpensslTsa {
  readonly #folder: string;
  #server: Server | undefined;
  /** Openssl's serial file has no lock, so one reply is made after the other. */
  #last: Promise<unknown> = Promise.resolve();
  readonly seen: Seen[] = [];
  /** Answers instead, or does what else somebody in between could do. */
  instead: ((res: ServerResponse, reply: () => Promise<Uint8Array>) => unknown) | undefined;

  constructor(folder: string) {
    this.#folder = folder;
    writeFileSync(join(folder, 'index'), '');
    writeFileSync(join(folder, 'serial'), '01');
    writeFileSync(join(folder, 'authorities'), AUTHORITIES);
    this.#make('root', 'p256', 'authority');
    this.#make('between', 'p384', 'authority', 'root');
    for (const [name, section] of Object.entries(SECTIONS)) {
      const days = 'days' in section ? section.days : undefined;
      this.#make(name, section.key, 'signer', section.issuer, days);
    }
    writeFileSync(join(folder, 'tsa'), Object.keys(SECTIONS).map(sectionText).join('\n'));
    writeFileSync(join(folder, 'tsa-serial'), '01');
  }

  /** PEM. */
  pem(name: Section | 'root' | 'between'): string {
    return readFileSync(join(this.#folder, `${name}.pem`), 'utf8');
  }

  async listen(): Promise<void> {
    const server = createServer((req, res) => void this.#answer(req, res));
    this.#server = server.listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
  }

  close(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }

  url(section: Section): string {
    const address = this.#server?.address() as AddressInfo | undefined;
    return `http://127.0.0.1:${address?.port}/${section}`;
  }

  async #answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of req) parts.push(part as Buffer);
    const body = new Uint8Array(Buffer.concat(parts));
    this.seen.push({ body, headers: req.headers });
    const reply = () => this.#reply(req.url?.slice(1) ?? '', body);
    if (this.instead !== undefined) {
      await this.instead(res, reply);
      return;
    }
    res.writeHead(200, { 'content-type': 'application/timestamp-reply' }).end(await reply());
  }

  #reply(section: string, query: Uint8Array): Promise<Uint8Array> {
    const reply = this.#last.then(async () => {
      writeFileSync(join(this.#folder, 'query.tsq'), query);
      const files = ['-queryfile', 'query.tsq', '-out', 'reply.tsr'];
      const argv = ['ts', '-reply', '-config', 'tsa', '-section', section, ...files];
      await run('openssl', argv, { cwd: this.#folder });
      return new Uint8Array(readFileSync(join(this.#folder, 'reply.tsr')));
    });
    this.#last = reply.catch(() => undefined);
    return reply;
  }

  #make(
    name: string,
    key: keyof typeof KEYS,
    extensions: 'authority' | 'signer',
    issuer = name,
    [begins, ends]: readonly [number, number] = [-1, 30],
  ): void {
    const files = ['-keyout', `${name}.key`, '-out', `${name}.csr`];
    this.#run('req', '-new', ...KEYS[key], '-nodes', '-subj', `/O=Example/CN=${name}`, ...files);
    this.#run(
      ...['ca', '-batch', '-config', 'authorities', '-notext', '-extensions', extensions],
      ...['-keyfile', `${issuer}.key`, '-in', `${name}.csr`, '-out', `${name}.pem`],
      ...(issuer === name ? ['-selfsign'] : ['-cert', `${issuer}.pem`]),
      ...['-startdate', dateOf(begins), '-enddate', dateOf(ends)],
    );
  }

  #run(...argv: readonly string[]): void {
    const { status, stderr } = spawnSync('openssl', argv, { cwd: this.#folder });
    if (status !== 0) throw new Error(`openssl ${argv.join(' ')}: ${stderr}`);
  }
}

function sectionText(name: string): string {
  const section = SECTIONS[name as Section];
  const own: readonly string[] = 'lines' in section ? section.lines : [];
  const defaults = {
    serial: './tsa-serial',
    signer_cert: `./${name}.pem`,
    certs: `./${section.issuer}.pem`,
    signer_key: `./${name}.key`,
    signer_digest: 'sha256',
    default_policy: '1.2.3.4.1',
    digests: 'sha256, sha384, sha512',
    accuracy: 'secs:1, millisecs:500',
    ess_cert_id_alg: 'sha256',
  };
  const usual = Object.entries(defaults)
    .filter(([key]) => !own.some((line) => line.startsWith(`${key} `)))
    .map(([key, value]) => `${key} = ${value}`);
  return [`[${name}]`, ...usual, ...own, ''].join('\n');
}

/** As openssl writes times. */
function dateOf(days: number): string {
  const date = new Date(Date.now() + days * 86_400_000).toISOString();
  return `${date.replace(/[-:T]/g, '').slice(0, 14)}Z`;
}
