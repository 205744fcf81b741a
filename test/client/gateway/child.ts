/** A gateway in a process of its own, to be killed: submits as fast as it can and tells its parent what was answered. */
import { readFileSync } from 'node:fs';
import { Gateway } from '../../../server/client/gateway/gateway.ts';
import { StateFile } from '../../../server/client/gateway/state-file.ts';
import { parseTrust } from '../../../server/core/trust.ts';
import { openKeyFile } from '../../../server/keys/file.ts';
import { useNativePrimitives } from '../../../server/native.ts';
import { annotation } from './annotation.ts';

const [server = '', token = '', folder = ''] = process.argv.slice(2);

useNativePrimitives();
const gateway = await Gateway.open({
  server,
  token,
  log: 'notes',
  source: 'child',
  software: 'test/1',
  signer: await openKeyFile(`${folder}/gateway.key`),
  trust: parseTrust(new Uint8Array(readFileSync(`${folder}/trust.json`))),
  state: StateFile.open(`${folder}/gateway.state`),
});
process.send?.({ ready: gateway.status.source });
for (let n = 0; ; n++) {
  await gateway.whenRoom();
  gateway.submit(annotation()).then(
    ({ origin, index }) => process.send?.({ origin, index }),
    (error: Error) => process.send?.({ error: error.message }),
  );
  if (n % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
}
