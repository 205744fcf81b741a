/**
 * How does a source begin? With an id that nobody has, and where it replaces one whose state was lost, with a
 * gap record that says so.
 */
import { toHex } from '../../core/bytes.ts';
import { hasCode, malformed, shown } from '../../core/errors.ts';
import { SOURCE_ID_MAX } from '../../core/limits.ts';
import type { LogClient } from '../client.ts';
import { Series } from '../series.ts';
import type { Waiting } from './line.ts';
import { type GatewayOptions, idsOf, randomOf } from './options.ts';
import { makeRound } from './round.ts';
import type { State } from './state.ts';

/**
 * The state of a source that nobody has, on disk. Where it replaces one whose state was lost, the record that
 * says so is signed already, as its first.
 */
export async function begin(options: GatewayOptions): Promise<State> {
  const { log, source, software, signer, replaces, state: store } = options;
  checkName(source);
  const client = new Series(options).named(log);
  const { origin } = await client.head();
  const id = `${source}.${toHex(randomOf(options)(4))}`;
  const taken = replaces === undefined ? [] : [await lossOf(replaces, client, options)];
  const making = {
    log: origin,
    signer,
    speaker: { source: id, software, instance: toHex(randomOf(options)(4)) },
    ...idsOf(options),
  };
  const { items, next, prev } = await makeRound(making, { next: 0, prev: null }, [], taken);
  const state: State = {
    series: log,
    source: id,
    log: { origin },
    next,
    prev,
    lost: [],
    pending: items.map(({ entry }) => entry),
  };
  await store.write(state);
  return state;
}

/** The random part is nine characters more, and what begins with "_" is the log's own. */
function checkName(source: string): void {
  if (/^[\x21-\x5e\x60-\x7e][\x21-\x7e]*$/.test(source) && source.length <= SOURCE_ID_MAX - 9)
    return;
  throw malformed(
    'source',
    `${shown(source)} is not 1 to ${SOURCE_ID_MAX - 9} visible ASCII characters, the first of them no "_"`,
  );
}

/** The gap that a lost state leaves. The log knows how far its source had got; a token that may only submit is not told. */
async function lossOf(
  replaces: string,
  client: LogClient,
  options: GatewayOptions,
): Promise<Waiting> {
  const sources = await client.sources().catch((error: unknown) => {
    if (hasCode(error, 'forbidden') || hasCode(error, 'unauthenticated')) return [];
    throw error;
  });
  const seq = sources.find(({ id }) => id === replaces)?.next ?? 0;
  const gap = { reason: 'state-lost', source: replaces, seq_from: seq, seq_to: seq };
  return {
    statement: { kind: 'gap', time: { received: idsOf(options).now() }, gap },
    content: undefined,
    bytes: 0,
    logged: () => undefined,
    refused: () => undefined,
  };
}
