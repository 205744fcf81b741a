/** The thread that the proxy runs in: its settings come with it, and everything else is asked for. */
import { parentPort, workerData } from 'node:worker_threads';
import type { BirpcReturn } from 'birpc';
import { invariant, type SteleError } from '../../core/errors.ts';
import type { PublicKey } from '../../core/keys.ts';
import type { Signer } from '../../keys/signer.ts';
import { useNativePrimitives } from '../../native.ts';
import type { ProxyLogger } from '../logger.ts';
import { type RunningProxy, startProxy } from '../proxy.ts';
import {
  connect,
  crossing,
  type HostCalls,
  type LogLevel,
  owned,
  type ThreadCalls,
  type Unchanged,
} from './calls.ts';
import { collector } from './collector.ts';
import type { ThreadSetup } from './host.ts';
import { ThreadSeries } from './series.ts';

invariant(parentPort !== null, 'the proxy runs in a thread that the program starts');
const port = parentPort;
useNativePrimitives();
const { settings, key } = workerData as ThreadSetup;
let proxy: RunningProxy | undefined;

const host: BirpcReturn<HostCalls, ThreadCalls> = connect<HostCalls, ThreadCalls>(port, {
  start,
  piece: (id, body, isFirst) => series.piece(id, body, isFirst),
  changeSigner,
  close: async () => proxy?.close(),
});
const series = new ThreadSeries(host);

const say = (level: LogLevel) => (facts: object, message: string) =>
  void host.log.asEvent(level, facts, message);
const logger: ProxyLogger = { info: say('info'), warn: say('warn'), error: say('error') };

async function start(): Promise<string> {
  proxy = await startProxy({
    ...settings,
    signer: signerOf(key),
    signerOf: async (origin, source) => signerOf(await host.signerOf(origin, source)),
    series,
    logger,
    passed: collector(),
    onFatal: (error) => void host.fatal.asEvent(crossing(error)),
  });
  return proxy.url;
}

async function changeSigner(next: PublicKey): Promise<readonly Unchanged[]> {
  const unchanged: Unchanged[] = [];
  await proxy?.changeSigner(signerOf(next), {
    handOver: (origin, source) => host.handOver(next.keyid, origin, source),
    failed: (log: string, error: SteleError) => unchanged.push({ log, error: crossing(error) }),
  });
  return unchanged;
}

function signerOf(publicKey: PublicKey): Signer {
  return {
    publicKey,
    sign: (message) => host.sign(publicKey.keyid, owned(message)),
    close: async () => {},
  };
}
