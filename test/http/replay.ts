/** The document's example requests in an order in which a fresh server takes them all. */
import examples from '../../server/http/openapi/examples.json' with { type: 'json' };
import type { Place } from './api.ts';
import type { World } from './world.ts';

/** Each operation that adds something, and with which of its media types. */
const ORDER = [
  ['createLog', 'application/json'],
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
  send: (place: Place, wanted: { readonly type: string }) => Promise<void>,
): Promise<void> {
  // The example's proof is over this very challenge.
  world.challenges.push(Buffer.from(examples.requests.gateway.value.challenge, 'base64'));
  for (const [id, type] of ORDER) await send(places.find((place) => place.id === id)!, { type });
}

/** A token of the first role that opens the operation; none where none is needed. */
export function roleToken(world: World, { operation }: Place): string | undefined {
  const [role] = operation.security.flatMap(({ bearer = [] }) => bearer);
  return role === undefined ? undefined : world.token({ roles: [role as 'read'], logs: ['*'] });
}
