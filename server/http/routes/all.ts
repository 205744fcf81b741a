/** Every route there is, in one list: the router, the documents and the tests read it. */
import type { Parts } from '../app.ts';
import type { Route } from '../call.ts';
import { adminRoutes } from './admin.ts';
import { anchorRoutes } from './anchors.ts';
import { batchRoutes } from './batch.ts';
import { contentRoutes } from './content.ts';
import { cosigningRoutes } from './cosignings.ts';
import { ctRoutes } from './ct.ts';
import { entryRoutes } from './entries.ts';
import { feedRoutes } from './feed.ts';
import { headRoutes } from './heads.ts';
import { ingestRoutes } from './ingest.ts';
import { instanceRoutes } from './instance.ts';
import { metricsRoutes } from './metrics.ts';
import { proofRoutes } from './proofs.ts';
import { receiptRoutes } from './receipts.ts';
import { referenceRoutes } from './reference.ts';
import { submitRoutes } from './submit.ts';
import { tileRoutes } from './tiles.ts';
import { witnessRoutes } from './witness.ts';

export function allRoutes(parts: Parts): readonly Route[] {
  const routes: readonly Route[] = [
    ...headRoutes(parts),
    ...tileRoutes,
    ...proofRoutes,
    ...ctRoutes,
    ...entryRoutes,
    ...feedRoutes(parts),
    ...receiptRoutes(parts),
    ...anchorRoutes(parts),
    ...cosigningRoutes(parts),
    ...submitRoutes(parts),
    ...batchRoutes(parts),
    ...ingestRoutes(parts),
    ...contentRoutes(parts),
    ...instanceRoutes(parts),
    ...witnessRoutes(parts),
    ...metricsRoutes(parts),
    ...adminRoutes(parts),
    ...referenceRoutes(parts, () => routes),
  ];
  return routes;
}
