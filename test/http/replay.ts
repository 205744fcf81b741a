/** The document's example requests in an order in which a fresh server takes them all. */
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
}

/** A token of the first role that opens the operation; none where none is needed. */
export function roleToken(world: World, { operation }: Place): string | undefined {
  const [role] = operation.security.flatMap(({ bearer = [] }) => bearer);
  return role === undefined ? undefined : world.token({ roles: [role as 'read'], logs: ['*'] });
}
