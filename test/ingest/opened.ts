/** What a record commits to, as somebody who may read content gets it. */
import { bodyValueOf, parseDisclosure } from '../../server/core/disclosure.ts';
import type { World } from '../http/world.ts';

export async function opened(
  world: World,
  { record_id }: { readonly record_id: string },
  field: string,
): Promise<unknown> {
  const token = world.token({ roles: ['content'], logs: ['team-a'] });
  const ask = (path: string) =>
    world.get(`/logs/team-a/v1/content/${record_id}/${path}`, {
      token,
      headers: { 'x-stele-reason': 'a test' },
    });
  const { value } = parseDisclosure((await ask(field)).text);
  return bodyValueOf(value) === undefined ? value : (await ask(`${field}/body`)).json();
}
