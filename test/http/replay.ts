/** The document's example requests in an order in which a fresh server takes them all. */

import { SIGSTORE_BUNDLE_TYPE } from '../../server/core/sigstore/sigstore-bundle.ts';
import examples from '../../server/http/openapi/examples.json' with { type: 'json' };
import type { Place } from './api.ts';
import type { World } from './world.ts';

/** Each operation that adds something, with which of its media types, and what other body than its example. */
const ORDER = [
  ['createLog', 'application/json'],
  // A log that may end without harm to the others.
  ['createLog', 'application/json', '{"name":"team-b"}'],
  ['createLog', 'application/json', '{"name":"team-c"}'],
  ['challengeGateway', ''],
  ['registerGateway', 'application/json'],
  ['submitEntry', 'application/protobuf'],
  ['submitEntry', 'multipart/form-data'],
  ['submitBatch', 'application/x-ndjson'],
  ['submitBatch', 'application/protobuf'],
] as const;

/** Makes the log of the examples, with its gateway, entries and content. */
export async function setUp(
  world: World,
  places: readonly Place[],
  send: (place: Place, wanted: { readonly type: string; readonly body?: string }) => Promise<void>,
): Promise<void> {
  // The example's proof is over this very challenge.
  world.challenges.push(Buffer.from(examples.requests.gateway.value.challenge, 'base64'));
  for (const [id, type, body] of ORDER) {
    const place = places.find((one) => one.id === id)!;
    await send(place, body === undefined ? { type } : { type, body });
  }
  const witnessed = places.find(({ id }) => id === 'addCheckpoint')!;
  // The example shows the same once more, which can be done any number of times.
  const { value } = examples.requests.checkpoint;
  await send(witnessed, { type: 'text/plain', body: value.replace('old 4\n', 'old 0\n') });
  anchor(world);
  cosign(world);
}

/** What two targets are made to have said of the log's head of size 4. */
/** A witness that cosigned one head of `team-a` and is shown another. */
function cosign({ instance: { witnesses }, now }: World): void {
  const root = new Uint8Array(32);
  const witness = 'witness.example/w1';
  for (const size of [3, 4]) {
    witnesses.plan('team-a', witness, { size, root, note: 'note', headMs: now }, now);
    const [row] = witnesses.due(witness, now, 1);
    if (row === undefined || size === 4) continue;
    witnesses.count('team-a', witness, 'asked');
    witnesses.change(row.id, 'planned', { state: 'received', answer: root, attempts: 1 }, now);
    witnesses.cosigned(row, now, now);
  }
}

function anchor({ instance: { anchors }, now }: World): void {
  const head = { log: 'team-a', size: 4, root: new Uint8Array(32), text: '' };
  const keys = { signature: new Uint8Array(), spki: new Uint8Array() };
  for (const [target, kind, kept] of [
    ['own-rekor', 'rekor', { bundle: { mediaType: SIGSTORE_BUNDLE_TYPE } }],
    ['own-tsa', 'rfc3161', { response: 'MAMCAQI=' }],
  ] as const) {
    anchors.plan({ ...head, ...keys, target, kind, plannedMs: now });
    const [row] = anchors.due(target, now, 1);
    const id = row?.id ?? 0;
    anchors.change(id, 'planned', { state: 'received', attempts: 1 }, now);
    const said = { anchor: JSON.stringify({ type: kind, v: 1, ...kept }), timeMs: now };
    anchors.publish(id, said, now);
  }
}

/** A token of the first role that opens the operation; none where none is needed. */
export function roleToken(world: World, { operation }: Place): string | undefined {
  const [role] = operation.security.flatMap(({ bearer = [] }) => bearer);
  return role === undefined ? undefined : world.token({ roles: [role as 'read'], logs: ['*'] });
}
