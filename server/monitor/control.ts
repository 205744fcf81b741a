/** What the log's own control records changed, in a line each, for who has to know whose keys are good. */
import { decodeEntry } from '../core/entry.ts';
import type { PublicKey } from '../core/keys.ts';
import { type Record as AuditRecord, parseRecord } from '../core/record.ts';
import type { Words } from './alarms.ts';
import type { Contents } from './contents.ts';

/** Records that are told one by one. */
const TOLD_MAX = 50;

export function controlWords(
  contents: Contents,
  since: {
    /** The size of which everything was told; nothing where this is the first look. */
    readonly from: number | undefined;
    readonly gateways: readonly PublicKey[];
  },
  words: Words,
): void {
  // Whoever begins to watch a log does not want its whole history.
  if (since.from === undefined) return;
  const records = contents.controlFrom(since.from);
  for (const { index, entry } of records.slice(0, TOLD_MAX)) {
    const record = parseRecord(decodeEntry(entry).payload);
    words.add('control', describe(record, since.gateways), { index });
  }
  if (records.length > TOLD_MAX) {
    words.add('control', `${records.length - TOLD_MAX} more control records`);
  }
}

function describe(record: AuditRecord, gateways: readonly PublicKey[]): string {
  if (record.kind !== 'key') {
    const rules = record.kind === 'policy' ? 'what the log admits was changed, or it ended' : '';
    return rules === '' ? `a ${record.kind} record` : `a policy record: ${rules}`;
  }
  const { action, purpose, keyid } = record.key;
  const isPinned = gateways.some((key) => key.keyid === keyid);
  const pinned =
    purpose !== 'gateway' || gateways.length === 0
      ? ''
      : isPinned
        ? ', which the trust file has'
        : ', which the trust file does not have';
  return `a key record: ${action} ${purpose} key ${keyid}${pinned}`;
}
