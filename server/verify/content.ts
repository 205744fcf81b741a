/**
 * Do the disclosures open what the record committed to?
 *
 * Each names one commitment and must have its digest; a body that comes along must be the one that its
 * disclosure describes. What is not disclosed is withheld: a receipt cannot tell whether it was erased.
 */
import { sha256, toBase64url } from '../core/bytes.ts';
import { bodyValueOf, parseDisclosure } from '../core/disclosure.ts';
import { SteleError, shown, unverified } from '../core/errors.ts';
import type { ReceiptDisclosure } from '../core/receipt.ts';
import { commitmentsOf, type Record } from '../core/record.ts';
import type { Field } from './verdict.ts';

/** Gives the bytes of a file beside the receipt, or nothing if there is no such file. */
export type ReadBody = (file: string) => Uint8Array | undefined;

export interface Content {
  readonly fields: readonly Field[];
  /** What does not hold, each in words. */
  readonly flaws: readonly string[];
  readonly disclosed: number;
  readonly bodies: number;
}

export function openContent(
  disclosures: readonly ReceiptDisclosure[],
  record: Record | undefined,
  readBody: ReadBody | undefined,
): Content {
  const committed = record === undefined ? new Map<string, string>() : commitmentsOf(record);
  const states = new Map<string, Field['state']>();
  for (const name of committed.keys()) states.set(name, 'withheld');
  const flaws: string[] = [];
  let bodies = 0;
  for (const item of disclosures) {
    let name: string | undefined;
    try {
      const parsed = parseDisclosure(item.disclosure);
      name = parsed.name;
      if (states.get(name) !== 'withheld') {
        throw unverified(
          `disclosure ${shown(name)}`,
          committed.has(name) ? 'it is there twice' : 'the record has no commitment of this name',
        );
      }
      const digest = committed.get(name);
      if (digest !== parsed.digest) {
        throw unverified(
          `disclosure ${shown(name)}`,
          `its digest is ${parsed.digest} where the record has ${digest}`,
        );
      }
      if (checkBody(name, item, bodyValueOf(parsed.value), readBody)) bodies++;
      states.set(name, 'disclosed-ok');
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      if (name !== undefined && committed.has(name)) states.set(name, 'mismatch');
      flaws.push(error.message);
    }
  }
  return {
    fields: [...states].map(([name, state]) => ({ name, state })),
    flaws,
    disclosed: disclosures.length - flaws.length,
    bodies,
  };
}

/** Whether a body came along; throws `unverified` if it is not the one that was disclosed. */
function checkBody(
  name: string,
  { body, body_file }: ReceiptDisclosure,
  value: ReturnType<typeof bodyValueOf>,
  readBody: ReadBody | undefined,
): boolean {
  if (body === undefined && body_file === undefined) return false;
  const what = `body ${shown(name)}`;
  if (value === undefined) throw unverified(what, 'its disclosure does not describe a body');
  const bytes = body ?? (body_file === undefined ? undefined : readBody?.(body_file));
  if (bytes === undefined) {
    throw unverified(what, `the file ${shown(body_file ?? '')} beside the receipt is missing`);
  }
  if (bytes.length !== value.bytes) {
    throw unverified(what, `${bytes.length} bytes where ${value.bytes} were committed to`);
  }
  const digest = toBase64url(sha256(bytes));
  if (digest !== value.sha256) {
    throw unverified(what, `its SHA-256 is ${digest} where ${value.sha256} was committed to`);
  }
  return true;
}
