/** Content of records on its way into the vault: sealed and synced before the log is asked, all of it or none. */
import { type Record as AuditRecord, commitmentsOf } from '../core/record.ts';
import type { Staging, Vault } from '../vault/vault.ts';
import type { Built } from './record.ts';

/** Files that are written at one time. */
const STAGED_AT_ONCE = 8;

/** One staging for each record, in order; nothing for one that has no content. */
export async function stageAll(
  vault: Pick<Vault, 'begin'>,
  source: string,
  all: readonly Built<AuditRecord>[],
): Promise<(Staging | undefined)[]> {
  const begun: Staging[] = [];
  const staged: (Staging | undefined)[] = [];
  const stage = async ({ record, disclosures, content }: Built<AuditRecord>) => {
    if (disclosures.length === 0) return undefined;
    const key = { source, recordId: record.record_id };
    const staging = await vault.begin(key, commitmentsOf(record));
    begun.push(staging);
    for (const disclosure of disclosures) await staging.addDisclosure(disclosure);
    for (const { field, bytes } of content) await staging.addBody(field, once(bytes));
    await staging.seal();
    return staging;
  };
  try {
    for (let i = 0; i < all.length; i += STAGED_AT_ONCE) {
      const some = await Promise.allSettled(all.slice(i, i + STAGED_AT_ONCE).map(stage));
      for (const result of some) {
        if (result.status === 'rejected') throw result.reason;
        staged.push(result.value);
      }
    }
    return staged;
  } catch (error) {
    await Promise.all(begun.map((staging) => staging.discard()));
    throw error;
  }
}

async function* once(bytes: Uint8Array) {
  yield bytes;
}
