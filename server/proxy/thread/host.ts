/**
 * The proxy in a thread of its own, as the rest of the program sees it.
 *
 * A call then waits for no commit of a log and no answer to anybody else: what the proxy's thread does beside
 * calls is to make their records. Keys and logs stay here, and the thread asks for them (`calls.ts`).
 */
import { Worker } from 'node:worker_threads';
import type { BirpcReturn } from 'birpc';
import type { Content, ContentBody } from '../../client/multipart.ts';
import { invariant, SteleError } from '../../core/errors.ts';
import type { Signer } from '../../keys/signer.ts';
import type { ProxyLogger } from '../logger.ts';
import type {
  ChangePorts,
  ProxyPorts,
  ProxySettings,
  RunningProxy as RunningHere,
  SeriesPort,
} from '../proxy.ts';
import { arrived, connect, type HostCalls, type Submission, type ThreadCalls } from './calls.ts';

export type ThreadPorts = Pick<ProxyPorts, 'signer' | 'signerOf' | 'series'> & {
  readonly logger: ProxyLogger;
  readonly onFatal: (error: Error) => void;
};

export type RunningProxy = Omit<RunningHere, 'state'>;

/** What the thread begins with. */
export interface ThreadSetup {
  readonly settings: ProxySettings;
  readonly key: Signer['publicKey'];
}

/**
 * Megabytes that objects of the thread may take until those that are of no more use are looked for. By itself this
 * grows to more than a hundred while a long stream goes through.
 */
const YOUNG_MB = 8;

/** Rejects with what kept the proxy from starting. `program` is another one in tests. */
export async function startProxyThread(
  settings: ProxySettings,
  ports: ThreadPorts,
  program = new URL('./worker.ts', import.meta.url),
): Promise<RunningProxy> {
  const setup: ThreadSetup = { settings, key: ports.signer.publicKey };
  const worker = new Worker(program, {
    workerData: setup,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
  });
  const host = new Host(ports, [...settings.logs.keys()]);
  const thread = connect<ThreadCalls, HostCalls>(worker, host.calls);
  host.thread = thread;
  let isWanted = false;
  const ended = (err: Error) => {
    host.ended(err);
    if (!isWanted) return;
    isWanted = false;
    ports.logger.error({ err }, 'the proxy’s thread ended by itself');
    // Nobody can say what was under way: the journal can, at the next start.
    ports.onFatal(err);
  };
  worker.once('error', ended);
  worker.once('exit', (code) => ended(new Error(`the proxy’s thread ended: exit code ${code}`)));
  let url: string;
  try {
    url = await thread.start();
    isWanted = true;
  } catch (error) {
    await worker.terminate();
    throw error;
  }
  return {
    url,
    changeSigner: (next, change) => host.changeSigner(next, change),
    async close() {
      try {
        await thread.close();
      } finally {
        isWanted = false;
        await worker.terminate();
      }
    },
  };
}

/** Answers what the thread asks. */
class Host {
  readonly #ports: ThreadPorts;
  readonly #series: SeriesPort;
  /** By the names that upstreams use. */
  readonly #logs: readonly string[];
  /** Keys that the thread has heard of, and who hands sources over to those that came later. */
  readonly #signers = new Map<string, Signer>();
  readonly #handOvers = new Map<string, ChangePorts['handOver']>();
  readonly #underWay = new Map<number, AbortController>();
  #hasEnded = false;
  thread!: BirpcReturn<ThreadCalls, HostCalls>;

  constructor(ports: ThreadPorts, logs: readonly string[]) {
    this.#ports = ports;
    this.#series = ports.series;
    this.#logs = logs;
    this.#know(ports.signer);
  }

  readonly calls: HostCalls = {
    sign: (keyid, message) => this.#signerOf(keyid).sign(message),
    signerOf: async (origin, source) =>
      this.#know((await this.#ports.signerOf?.(origin, source)) ?? this.#ports.signer).publicKey,
    submit: (submission) => this.#submit(submission),
    abandon: (id) => this.#underWay.get(id)?.abort(),
    sources: (origin) => this.#series.log(origin).sources(),
    next: (origin) => this.#series.next(origin),
    handOver: async (keyid, origin, source) => {
      const handOver = this.#handOvers.get(keyid);
      invariant(handOver !== undefined, 'a source is handed over to a key that was announced');
      await handOver(origin, source);
    },
    log: (level, facts, message) => this.#ports.logger[level](facts, message),
    fatal: (error) => this.#ports.onFatal(arrived(error)),
  };

  async changeSigner(next: Signer, { handOver, failed }: ChangePorts): Promise<void> {
    const { publicKey } = this.#know(next);
    this.#handOvers.set(publicKey.keyid, handOver);
    try {
      for (const { log, error } of await this.thread.changeSigner(publicKey)) {
        const cause = arrived(error);
        if (!(cause instanceof SteleError)) throw cause;
        failed(log, cause);
      }
    } catch (cause) {
      if (!this.#hasEnded) throw cause;
      // The proxy was closed meanwhile, or is: its next start finds what is left to do.
      const error = new SteleError('storage', 'the proxy has ended', { cause });
      for (const log of this.#logs) failed(log, error);
    }
  }

  /** Nobody waits for the thread any longer: it answers nothing more. */
  ended(error: Error): void {
    this.#hasEnded = true;
    this.thread.$close(error);
  }

  #know(signer: Signer): Signer {
    this.#signers.set(signer.publicKey.keyid, signer);
    return signer;
  }

  #signerOf(keyid: string): Signer {
    const signer = this.#signers.get(keyid);
    if (signer === undefined) throw new SteleError('not_found', `there is no key ${keyid}`);
    return signer;
  }

  async #submit(submission: Submission) {
    const { id, origin, entry } = submission;
    const abandoned = new AbortController();
    this.#underWay.set(id, abandoned);
    try {
      const log = this.#series.log(origin);
      return await log.submit(entry, this.#contentOf(submission), abandoned.signal);
    } finally {
      this.#underWay.delete(id);
    }
  }

  #contentOf({ id, content }: Submission): Content | undefined {
    if (content === undefined) return undefined;
    const bodies = content.bodies.map(({ field, bytes, whole }, i): ContentBody => {
      if (whole !== undefined) return { field, bytes, open: () => once(whole) };
      return { field, bytes, open: () => this.#pieces(id, i), isGiven: true };
    });
    return { disclosures: content.disclosures, bodies };
  }

  async *#pieces(id: number, body: number): AsyncGenerator<Uint8Array> {
    for (let isFirst = true; ; isFirst = false) {
      const piece = await this.thread.piece(id, body, isFirst);
      if (piece === undefined) return;
      yield piece;
    }
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}
