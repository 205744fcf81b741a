/**
 * `/v1/admin`: logs, gateways, tokens, and what waits for a second person. What is done, and who may ask for
 * it, is in `admin/`; a token that is not bound to a log is told that there is none.
 */

import type { Act } from '../../admin/act.ts';
import type { Actor } from '../../admin/actor.ts';
import { anchorNow } from '../../admin/anchors.ts';
import { registerGateway, revokeGateway } from '../../admin/gateways.ts';
import { retireLogKey, rotateLogKey, rotateOwnKey } from '../../admin/log-keys.ts';
import {
  changeLog,
  createLog,
  freezeLog,
  retireLog,
  rollLog,
  unretireLog,
} from '../../admin/logs.ts';
import { createToken, revokeToken } from '../../admin/tokens.ts';
import { parseWanted } from '../../admin/wanted.ts';
import { witnessNow } from '../../admin/witnesses.ts';
import { invariant } from '../../core/errors.ts';
import { type JsonObject, parseJson } from '../../core/json.ts';
import { sendJson } from '../answer.ts';
import type { Parts } from '../app.ts';
import { judgeBodyHeaders, readBody } from '../body.ts';
import { type Call, type InstanceRoute, param } from '../call.ts';
import type { Access } from '../roles.ts';
import { ADMIN_BYTES_MAX } from '../settings.ts';

const LOGS = '/v1/admin/logs';
const LOG = `${LOGS}/{log}`;
const GATEWAYS = `${LOG}/gateways`;
const KEYS = '/v1/admin/keys';
const TOKENS = '/v1/admin/tokens';
const REQUESTS = '/v1/admin/requests';

export function adminRoutes(parts: Parts): readonly InstanceRoute[] {
  const { administrator } = parts;
  return [
    post('admin', LOGS, doing(parts, createLog, { status: 201, ofLog: false })),
    get('admin', LOGS, (call) => ({ logs: administrator.logs(actorOf(call)) })),
    get('admin', LOG, (call) => administrator.log(actorOf(call), param(call, 0))),
    route('PATCH', 'admin', LOG, doing(parts, changeLog)),
    post('admin', `${LOG}/anchor`, doing(parts, anchorNow, { wanted: () => ({}) })),
    post('admin', `${LOG}/witness`, doing(parts, witnessNow, { wanted: () => ({}) })),
    post('admin', `${LOG}/freeze`, doing(parts, freezeLog)),
    post('admin', `${LOG}/roll`, doing(parts, rollLog, { status: 201 })),
    post('admin', `${LOG}/retire`, doing(parts, retireLog)),
    route('DELETE', 'admin', `${LOG}/retire`, doing(parts, unretireLog, { wanted: () => ({}) })),

    post('keys', `${LOG}/keys/rotate`, doing(parts, rotateLogKey, { status: 201 })),
    post('keys', `${LOG}/keys/retire`, doing(parts, retireLogKey)),
    post('keys', `${KEYS}/rotate`, doing(parts, rotateOwnKey, { status: 201, ofLog: false })),

    post('keys', `${GATEWAYS}/challenge`, async (call) => {
      sendJson(call, await administrator.challenge(actorOf(call), param(call, 0)), 201);
    }),
    post('keys', GATEWAYS, doing(parts, registerGateway, { status: 201 })),
    get('keys', GATEWAYS, async (call) => ({
      gateways: await administrator.gateways(actorOf(call), param(call, 0)),
    })),
    route(
      'DELETE',
      'keys',
      `${GATEWAYS}/{keyid}`,
      doing(parts, revokeGateway, { wanted: (call) => ({ keyid: param(call, 1) }) }),
    ),
    get('keys', KEYS, async (call) => ({
      keys: await administrator.keys(actorOf(call)),
    })),

    post('admin', TOKENS, doing(parts, createToken, { status: 201, ofLog: false })),
    get('admin', TOKENS, (call) => ({ tokens: administrator.tokens(actorOf(call)) })),
    route(
      'DELETE',
      'admin',
      `${TOKENS}/{id}`,
      doing(parts, revokeToken, { ofLog: false, wanted: (call) => ({ id: param(call, 0) }) }),
    ),

    get('requests', REQUESTS, (call) => ({ requests: administrator.requests(actorOf(call)) })),
    post('approve', `${REQUESTS}/{id}/approve`, async (call) => {
      sendJson(call, await administrator.approve(actorOf(call), param(call, 0)));
    }),
    route('DELETE', 'requests', `${REQUESTS}/{id}`, async (call) => {
      sendJson(call, await administrator.reject(actorOf(call), param(call, 0)));
    }),
  ];
}

type Handle = InstanceRoute['handle'];

function route(
  method: InstanceRoute['method'],
  access: Access,
  pattern: string,
  handle: Handle,
): InstanceRoute {
  return { on: 'instance', method, access, pattern, handle };
}

function post(access: Access, pattern: string, handle: Handle): InstanceRoute {
  return route('POST', access, pattern, handle);
}

function get(
  access: Access,
  pattern: string,
  answer: (call: Call) => Promise<JsonObject> | JsonObject,
): InstanceRoute {
  return route('GET', access, pattern, async (call) => sendJson(call, await answer(call)));
}

interface Doing<Wanted> {
  readonly status?: number;
  /** Whether the first parameter of the path is the log that it is about. */
  readonly ofLog?: boolean;
  /** What is wanted, where the address says all of it and there is no body. */
  readonly wanted?: (call: Call) => Wanted;
}

/** Does an act; where it has to wait for a second person, the answer is 202 and the request. */
function doing<Wanted, Args extends JsonObject>(
  parts: Parts,
  act: Act<Wanted, Args>,
  { status = 200, ofLog = true, wanted }: Doing<Wanted> = {},
): Handle {
  const { administrator } = parts;
  return async (call) => {
    const actor = actorOf(call);
    const log = ofLog ? param(call, 0) : '';
    if (ofLog) administrator.checkKnown(actor, log);
    const asked = wanted?.(call) ?? (await readWanted(parts, call, act));
    const outcome = await administrator.act(act, { actor, log, wanted: asked });
    if ('done' in outcome) sendJson(call, { ...outcome.tell, ...outcome.done }, status);
    else sendJson(call, { ...outcome.tell, request: outcome.waits }, 202);
  };
}

/** The body as the act has it, or `malformed` with the place and the rule. Bytes from strangers. */
async function readWanted<Wanted>(
  parts: Parts,
  call: Call,
  { wanted }: Pick<Act<Wanted>, 'wanted'>,
): Promise<Wanted> {
  judgeBodyHeaders(call.ctx.req, ['application/json'], ADMIN_BYTES_MAX);
  const bounds = { bytesMax: ADMIN_BYTES_MAX, timeoutMs: parts.settings.bodyTimeoutMs };
  const body = await readBody(call, bounds, parts);
  return parseWanted(wanted, parseJson(body, 'body'), 'body');
}

function actorOf({ token }: Call): Actor {
  invariant(token !== undefined, 'administration takes a token');
  return { holder: token.holder, token };
}
