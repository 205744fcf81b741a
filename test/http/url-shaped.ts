/**
 * Everything that a request can carry, shaped like an address: each parameter of each operation, each member
 * of each body, and the headers by which others have been made to fetch something.
 */
import { isObject, type Json } from '../json-schema.ts';
import { call, type Place, type Wanted } from './api.ts';
import type { Answer, World } from './world.ts';

/** What asks: a world in this process, or a server elsewhere. */
export type Asker = Pick<World, 'ask'>;

/** Addresses that lead to a listener of the test's own, and names that nobody has. */
export function addressesOf(port: number, name: string): readonly string[] {
  return [
    `http://127.0.0.1:${port}/planted`,
    `//127.0.0.1:${port}/planted`,
    `http://${name}.invalid/planted`,
    `https://${name}.invalid:${port}/`,
    `file:///etc/hostname`,
    `127.0.0.1:${port}`,
    `\${jndi:ldap://${name}.invalid:${port}/a}`,
  ];
}

function headersOf(address: string): Readonly<Record<string, string>> {
  return {
    host: address.replace(/^[a-z]*:?\/\//, '').replace(/[/${}].*$/, '') || 'x',
    origin: address,
    referer: address,
    forwarded: `for="${address}";host="${address}";proto=http`,
    'x-forwarded-for': address,
    'x-forwarded-host': address,
    'x-forwarded-proto': 'http',
    'x-original-url': address,
    'x-rewrite-url': address,
    'x-http-host-override': address,
    'x-wap-profile': address,
    'x-callback-url': address,
    'x-stele-reason': address,
    link: `<${address}>; rel="preload"`,
    location: address,
    destination: address,
    cookie: `url=${address}`,
    'user-agent': address,
    from: `a@${address}`,
    'x-request-id': address,
    'if-none-match': `"${address}"`,
  };
}

/** Asks in every way, and returns every answer. */
export async function askEverything(
  asker: Asker,
  places: readonly Place[],
  tokenOf: (place: Place) => string | undefined,
  addresses: readonly string[],
): Promise<readonly Answer[]> {
  const answers: Answer[] = [];
  const ask = async (place: Place, wanted: Wanted) => {
    answers.push(await call(asker as World, place, { token: tokenOf(place), ...wanted }));
  };
  for (const place of places) {
    for (const address of addresses) {
      const headers = headersOf(address);
      // What follows its log goes on for as long as it is let.
      const names = (place.operation.parameters ?? []).filter(({ name }) => name !== 'follow');
      await ask(place, { headers });
      for (const { name } of names) {
        await ask(place, { headers, values: { [name]: address } });
        await ask(place, { headers, values: { [name]: encodeURIComponent(address) } });
      }
      for (const body of bodiesOf(place, address)) await ask(place, { headers, body });
    }
  }
  return answers;
}

/** The bodies of the examples, each with one member that is an address, and an address alone. */
function bodiesOf({ operation }: Place, address: string): readonly string[] {
  const media = Object.values(operation.requestBody?.content ?? {});
  const examples = media.flatMap(({ examples = {} }) => Object.values(examples));
  const values = examples.map(({ value }) => value).filter((value) => isObject(value));
  if (examples.length === 0) return [];
  return [
    address,
    JSON.stringify(address),
    ...values.flatMap((value) => variants(value, address)),
  ].map((value) => (typeof value === 'string' ? value : JSON.stringify(value)));
}

/** The value with each of its texts replaced in turn, however deep. */
function variants(value: Json, address: string): readonly Json[] {
  if (typeof value === 'string') return [address];
  if (Array.isArray(value)) {
    const list = value as readonly Json[];
    return list.flatMap((one, i) => variants(one, address).map((v) => list.with(i, v) as Json));
  }
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([name, member]) =>
    variants(member as Json, address).map((v) => ({ ...value, [name]: v }) as Json),
  );
}
