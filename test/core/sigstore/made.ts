/**
 * Anchors that tests make for themselves: a head's signature, logged in a Rekor double without any HTTP.
 */

import type { AnchoredHead } from '../../../server/anchor/target.ts';
import { parseHex, sha256, utf8 } from '../../../server/core/bytes.ts';
import {
  hashedRekordRequest,
  type RekorVersion,
} from '../../../server/core/sigstore/hashedrekord.ts';
import type { SigstoreBundle } from '../../../server/core/sigstore/sigstore-bundle.ts';
import {
  parseAnswerV1,
  parseAnswerV2,
  type TlogEntry,
} from '../../../server/core/sigstore/tlog-entry.ts';
import { readTrustedRoot, type TrustedRoot } from '../../../server/core/sigstore/trusted-root.ts';
import { hash } from '../../../server/core/units.ts';
import { AnchorKey } from '../../anchor/heads.ts';
import { RekorV1 } from '../../anchor/rekor-double/v1.ts';
import { RekorV2 } from '../../anchor/rekor-double/v2.ts';

export const HOST = 'rekor.test.example';

/** Both Rekors take up what they are given at this time. */
export const LOGGED_MS = Date.UTC(2026, 10, 21, 3, 25, 20);

export class Made {
  readonly v1 = new RekorV1(HOST, () => LOGGED_MS, { before: 900 });
  readonly v2 = new RekorV2(HOST);
  readonly anchorKey = new AnchorKey();

  /** How many entries of others are there already. */
  constructor({ v1 = 21, v2 = 130 } = {}) {
    this.v1.shard.grow(v1);
    this.v2.shard.grow(v2);
  }

  /** As JSON; changed as the test wants it. */
  trustedRootJson(
    change: (log: ReturnType<RekorV2['shard']['instance']>) => unknown = (log) => log,
  ) {
    const start = '2024-01-01T00:00:00Z';
    const baseUrl = `https://${HOST}`;
    return {
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [this.v1.shard.instance(baseUrl, start), this.v2.shard.instance(baseUrl, start)].map(
        change,
      ),
      certificateAuthorities: [],
      ctlogs: [],
      timestampAuthorities: [],
    };
  }

  trust(change?: (log: ReturnType<RekorV2['shard']['instance']>) => unknown): TrustedRoot {
    return readTrustedRoot(JSON.parse(JSON.stringify(this.trustedRootJson(change))));
  }

  /** Has a head logged and gives what Rekor says of it. */
  entry(version: RekorVersion, { text, signature, key }: AnchoredHead): TlogEntry {
    const request = hashedRekordRequest(version, { digest: sha256(text), signature, key });
    const { status, body } =
      version === 1 ? this.v1.post('application/json', request) : this.v2.post(request);
    if (status !== 201) throw new Error(String(body));
    return version === 1 ? parseAnswerV1(utf8(String(body))) : parseAnswerV2(utf8(String(body)));
  }

  bundle(
    version: RekorVersion,
    head: AnchoredHead,
    timestamps: readonly Uint8Array[] = [],
  ): SigstoreBundle {
    const { signature, text, key } = head;
    return {
      hint: hash(parseHex(key.keyid, 'keyid')),
      entry: this.entry(version, head),
      timestamps,
      digest: sha256(text),
      signature,
    };
  }
}
