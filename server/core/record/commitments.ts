/**
 * Which digests does a record carry, by the names that their disclosures have?
 *
 * Most are members of `commitments.fields`. Those of list items and of annotations stand where they
 * belong, in a member that ends in `commit`, and get their names here.
 */
import type { Record } from '../record.ts';
import type { Flaw } from '../schema.ts';

interface Commitment {
  readonly name: string;
  readonly digest: string;
}

/** What stands for a list that is too long. */
interface Long {
  readonly count: number;
  readonly commit: string;
}

/** Every commitment of a record, by name; none for the kinds that have none. */
export function commitmentsOf(record: Record): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  if ('commitments' in record) {
    for (const [name, digest] of Object.entries(record.commitments.fields)) found.set(name, digest);
  }
  for (const { name, digest } of inPlace(record)) found.set(name, digest);
  return found;
}

const NONE: readonly Commitment[] = [];

/** A commitment that is in two places with two digests, if there is one. */
export function contradiction(record: Record): Flaw | undefined {
  if (!('commitments' in record)) return undefined;
  const { fields } = record.commitments;
  for (const { name, digest } of inPlace(record)) {
    if (Object.hasOwn(fields, name) && fields[name] !== digest) {
      return {
        path: `commitments.fields.${name}`,
        rule: 'the item that it is of has another digest',
      };
    }
  }
  return undefined;
}

/** Every record is read with this, most without an item that has a digest: so no generators. */
function inPlace(record: Record): readonly Commitment[] {
  switch (record.kind) {
    case 'inference':
      return [
        ...ofList(record.output?.finish_reasons, 'output.finish_reasons', () => ({})),
        ...ofList(record.output?.tool_calls, 'output.tool_calls', (call, i) => ({
          [`tool_calls.${i}.args`]: call.args_commit,
        })),
        ...ofList(record.effects, 'effects', (effect, i) => ({
          [`effects.${i}.target`]: effect.target_commit,
        })),
        ...ofRequest(record),
      ];
    case 'intent':
      return ofRequest(record);
    case 'annotation':
      return named({
        'annotation.reviewer': record.annotation.reviewer_commit,
        'annotation.reason': record.annotation.reason_commit,
        'annotation.target': record.annotation.target_commit,
      });
    default:
      return NONE;
  }
}

function ofRequest(record: Extract<Record, { kind: 'inference' | 'intent' }>) {
  return [
    ...ofList(record.policy?.events, 'policy.events', (event, i) => ({
      [`policy.${i}.reason`]: event.reason_commit,
    })),
    ...ofList(record.input.retrieved, 'input.retrieved', (document, i) => ({
      [`retrieved.${i}.id`]: document.id_commit,
      [`retrieved.${i}.digest`]: document.digest_commit,
    })),
  ];
}

function ofList<T>(
  list: readonly T[] | Long | undefined,
  whole: string,
  digests: (item: T, i: number) => { readonly [name: string]: string | undefined },
): readonly Commitment[] {
  if (list === undefined) return NONE;
  if ('commit' in list) return [{ name: whole, digest: list.commit }];
  return list.length === 0 ? NONE : list.flatMap((item, i) => named(digests(item, i)));
}

function named(digests: { readonly [name: string]: string | undefined }): Commitment[] {
  return Object.entries(digests).flatMap(([name, digest]) =>
    digest === undefined ? [] : [{ name, digest }],
  );
}
