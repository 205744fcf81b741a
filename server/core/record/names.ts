/**
 * What may a record commit to without showing it?
 *
 * Names are public, so a name must not tell anything by itself: they come from this closed list. A
 * name with a number is of an item of one of the record's lists.
 *
 * An item's own member (`args_commit` and the like) is the shorter place for its digest; the list
 * `commitments.fields` may hold it as well, and then both agree.
 */
import { RECORD_LIST_MAX } from '../limits.ts';

export const COMMITMENT_NAMES = [
  'request.body', // as received from the client
  'request.forwarded', // as sent to the model, where it differs
  'request.headers', // those on the allow list
  'request.messages', // normalized
  'request.system', // system text
  'request.tools', // tool definitions
  'request.stop', // stop sequences
  'request.attachments', // what each attachment is, with its digest
  'response.body', // as received from the model
  'response.delivered', // as sent to the client, where it differs
  'response.headers',
  'response.messages', // normalized
  'response.reasoning',
  'response.error', // the error's message
  'report.body', // what somebody else told of the call, as it was reported
  'principal.id', // who called
  'on_behalf_of', // for whom
  'client.address',
  'user_agent',
  'auth.credential', // in place of the fingerprint in clear
  'auth.role',
  'auth.tenant',
  'ids.conversation',
  'ids.client_request',
  'model.endpoint',
  'policy.manifest', // what was redacted or replaced
  'policy.events', // lists with more than 64 items
  'input.retrieved',
  'output.tool_calls',
  'output.finish_reasons',
  'effects',
] as const;

/** Names of items: N counts from 0 in the list that the name begins with. */
export const ITEM_COMMITMENT_NAMES = [
  'policy.N.reason',
  'retrieved.N.id',
  'retrieved.N.digest',
  'tool_calls.N.args',
  'effects.N.target',
] as const;

/** Names that annotations and reports use, each in one member of the record. */
export const MEMBER_COMMITMENT_NAMES = [
  'annotation.reviewer',
  'annotation.reason',
  'annotation.target',
] as const;

const PLAIN: ReadonlySet<string> = new Set(COMMITMENT_NAMES);
const MEMBERS: ReadonlySet<string> = new Set(MEMBER_COMMITMENT_NAMES);
const ITEMS: ReadonlySet<string> = new Set(ITEM_COMMITMENT_NAMES);
const ITEM = /^([a-z_]+)\.(0|[1-9][0-9]?)\.([a-z]+)$/;

/** Whether a member of `commitments.fields` may have this name. */
export function isFieldName(name: string): boolean {
  return PLAIN.has(name) || isItemName(name);
}

/** Whether a disclosure may have this name. */
export function isCommitmentName(name: string): boolean {
  return isFieldName(name) || MEMBERS.has(name);
}

function isItemName(name: string): boolean {
  const [, list, n, member] = ITEM.exec(name) ?? [];
  return Number(n) < RECORD_LIST_MAX && ITEMS.has(`${list}.N.${member}`);
}
