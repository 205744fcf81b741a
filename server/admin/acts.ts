/** Every act of administration there is, by its name. */
import type { Act } from './act.ts';
import { anchorNow } from './anchors.ts';
import { registerGateway, revokeGateway } from './gateways.ts';
import { retireLogKey, rotateLogKey, rotateOwnKey } from './log-keys.ts';
import { changeLog, createLog, freezeLog, retireLog, rollLog, unretireLog } from './logs.ts';
import { createToken, revokeToken } from './tokens.ts';
import { witnessNow } from './witnesses.ts';

const ALL = [
  createLog,
  changeLog,
  freezeLog,
  rollLog,
  retireLog,
  unretireLog,
  rotateLogKey,
  retireLogKey,
  rotateOwnKey,
  registerGateway,
  revokeGateway,
  createToken,
  revokeToken,
  anchorNow,
  witnessNow,
];

/** The arguments of an act that is found by its name are those that its own plan wrote down. */
type Any = Pick<Act<never>, 'name' | 'perform'>;

const BY_NAME = new Map<string, Any>(ALL.map((act) => [act.name, act as unknown as Any]));

/** How an act is done that was planned before, perhaps by an earlier release. */
export function performerOf(name: string): Any['perform'] | undefined {
  return BY_NAME.get(name)?.perform;
}
