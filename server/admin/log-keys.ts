/** Acts on the keys of a log itself, and on those of the server: another one comes, and an old one ends. */
import * as v from 'valibot';
import { ADMIN_LOG, boundName, isAdminLog } from '../log/names.ts';
import { OWN_PURPOSES } from '../log/own-gateways.ts';
import { ROTATED } from '../log/rotation.ts';
import type { Act } from './act.ts';
import { closed } from './wanted.ts';

const Purpose = v.picklist(ROTATED);

const Compromised = v.exactOptional(
  v.pipe(
    v.boolean(),
    v.description('Others may have the key: it ends at once, and no overlap is waited for.'),
  ),
);

const NewLogKey = closed({
  purpose: Purpose,
  compromised: Compromised,
  finish: v.exactOptional(
    v.pipe(
      v.boolean(),
      v.description('The key that there is ends by itself when the overlap is over.'),
    ),
  ),
});

const EndedLogKey = closed({
  purpose: Purpose,
  keyid: v.exactOptional(
    v.pipe(
      v.string(),
      v.regex(/^[0-9a-f]{64}$/, 'not a key ID in lower-case hex'),
      v.description('Which key ends; the oldest of them where none is named.'),
    ),
  ),
  compromised: Compromised,
});

const NewOwnKey = closed({
  purpose: v.picklist(OWN_PURPOSES),
  compromised: v.exactOptional(
    v.pipe(
      v.boolean(),
      v.description('Others may have the key that there is: it is revoked at once.'),
    ),
  ),
});

type NewOwnKey = v.InferOutput<typeof NewOwnKey>;
type NewLogKey = v.InferOutput<typeof NewLogKey>;
type EndedLogKey = v.InferOutput<typeof EndedLogKey>;

export const rotateLogKey: Act<NewLogKey, NewLogKey> = {
  name: 'key.rotate',
  wanted: NewLogKey,
  isOfAnyLog: true,
  plan: (_world, { log, wanted }) => ({ args: wanted, takesTwo: true, scope: scopeOf(log) }),
  perform: ({ keyChanges }, name, wanted) => keyChanges.rotate(name, wanted),
};

export const retireLogKey: Act<EndedLogKey, EndedLogKey> = {
  name: 'key.retire',
  wanted: EndedLogKey,
  isOfAnyLog: true,
  plan: (_world, { log, wanted }) => ({ args: wanted, takesTwo: true, scope: scopeOf(log) }),
  perform: ({ keyChanges }, name, wanted) => keyChanges.retire(name, wanted),
};

/** Of the server itself: the key of access records, or of the proxy beside the logs. */
export const rotateOwnKey: Act<NewOwnKey, NewOwnKey> = {
  name: 'gateway.rotate',
  wanted: NewOwnKey,
  plan: (_world, { wanted }) => ({ args: wanted, takesTwo: true, scope: ['*'] }),
  perform: ({ ownGateways }, _, wanted) => ownGateways.rotate(wanted),
};

/** Whoever approves it is bound to the log that an access log is beside. */
function scopeOf(log: string): readonly string[] {
  return [isAdminLog(log) ? ADMIN_LOG : boundName(log)];
}
