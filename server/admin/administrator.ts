/**
 * Administration, whoever asks for it: over HTTP, by the files, by a schedule. Every act is judged, becomes
 * an entry of the log `_admin`, and is done, in this order.
 *
 * Where the two-person rule is on, acts on keys are not done but wait for the approval of another holder.
 * Acts on tokens that may act on keys or approve are among them: else one person made himself the other.
 */
import { toHex } from '../core/bytes.ts';
import { hasCode, SteleError, shown } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import { timestamp } from '../log/clock.ts';
import { describeKey, describeKeys, describeListed, describeLog } from '../log/describe.ts';
import type { InstanceStore, RequestRow, TokenRow } from '../storage/instance.ts';
import type { Act, Plan, World } from './act.ts';
import { type Actor, checkNotOwn, covers, reaches, unknownLog } from './actor.ts';
import { performerOf } from './acts.ts';
import { type Deed, Journal } from './journal.ts';
import { describeToken } from './tokens.ts';

export interface AdministratorOptions extends World {
  readonly store: InstanceStore;
  /** Acts on keys take two persons. */
  readonly twoPersons: boolean;
  readonly warn: (message: string, error: unknown) => void;
}

/** Done, or waiting for somebody else. `tell` is for whoever asked alone, and told once. */
export type Outcome =
  | { readonly done: JsonObject; readonly tell: JsonObject }
  | { readonly waits: JsonObject; readonly tell: JsonObject };

/** Requests that wait at once, and how long one may. */
const REQUESTS_MAX = 100;
const REQUEST_LIFE_MS = 7 * 86_400_000;
const REQUEST_ID_BYTES = 8;

export class Administrator {
  readonly #options: AdministratorOptions;
  readonly #journal: Journal;
  /** Requests that are being decided on. */
  readonly #deciding = new Set<string>();

  constructor(options: AdministratorOptions) {
    this.#options = options;
    this.#journal = new Journal(options.logs, options.warn);
  }

  /** Throws as for a log that does not exist, where the actor may not know of it. */
  checkKnown(actor: Actor, name: string): void {
    if (!reaches(actor, name)) throw unknownLog(name);
    if (this.#options.logs.visibilityOf(name) === undefined) throw unknownLog(name);
  }

  /** `log` is empty for an act that is about no log that there is. */
  async act<Wanted, Args extends JsonObject>(
    act: Act<Wanted, Args>,
    {
      actor,
      log,
      wanted,
    }: { readonly actor: Actor; readonly log: string; readonly wanted: Wanted },
  ): Promise<Outcome> {
    if (log !== '' && act.isOfAnyLog !== true) checkNotOwn(log);
    const plan = await act.plan(this.#options, { actor, log, wanted });
    const about = plan.log ?? log;
    // Whoever has the files has the operator's key: the rule is for those who come with a token.
    const { token } = actor;
    const waits = this.#options.twoPersons && plan.takesTwo === true && token !== undefined;
    const { args, details = args, tell = {} } = plan;
    const work = async (): Promise<Outcome> => {
      if (waits) {
        const asked = { ...plan, details, log: about };
        return { waits: await this.#request(act.name, { ...actor, token }, asked), tell };
      }
      const deed = deedOf(act.name, actor, about);
      const perform = () => act.perform(this.#options, about, args);
      return { done: await this.#journal.around(deed, details, perform), tell };
    };
    return plan.guarded === undefined ? work() : plan.guarded(work);
  }

  /** Does what somebody else asked for. */
  async approve(actor: Actor, id: string): Promise<JsonObject> {
    const row = this.#find(actor, id);
    if (row.holder === actor.holder) {
      throw new SteleError(
        'forbidden',
        `request ${id}: ${shown(row.holder)} asked for it, and somebody else has to approve it`,
      );
    }
    this.#checkStillGood(row);
    const performer = performerOf(row.act);
    if (performer === undefined) {
      throw new SteleError('conflict', `request ${id}: this release does not know ${row.act}`);
    }
    return this.#decide(id, async () => {
      const deed = { ...this.#deedOf(row), approver: actor.holder };
      const perform = () => performer(this.#options, row.log, objectOf(row.args) as never);
      try {
        const done = await this.#journal.around(deed, objectOf(row.details), perform);
        this.#drop(id);
        return done;
      } catch (error) {
        // What fails for want of room may be approved again.
        if (!hasCode(error, 'storage') && !hasCode(error, 'pushback')) this.#drop(id);
        throw error;
      }
    });
  }

  /** Withdraws what one asked for oneself, or refuses what somebody else did. */
  async reject(actor: Actor, id: string): Promise<JsonObject> {
    const row = this.#find(actor, id);
    const isApprover = actor.token === undefined || actor.token.roles.includes('approve');
    if (row.holder !== actor.holder && !isApprover) {
      throw new SteleError(
        'forbidden',
        `request ${id}: ${shown(row.holder)} asked for it, and withdraws it, or a holder of the role ` +
          'approve refuses it',
      );
    }
    return this.#decide(id, async () => {
      await this.#journal.note({ ...this.#deedOf(row), approver: actor.holder, state: 'rejected' });
      this.#drop(id);
      return { id, rejected: timestamp(this.#options.clock.now()) };
    });
  }

  /** Those that wait and that the actor may decide on, or made. */
  requests(actor: Actor): readonly JsonObject[] {
    return this.#waiting()
      .filter((row) => covers(actor, scopeOf(row)))
      .map(describeRequest);
  }

  logs(actor: Actor): readonly JsonObject[] {
    return this.#options.logs
      .listAll()
      .filter(({ name }) => reaches(actor, name))
      .map(describeListed);
  }

  async log(actor: Actor, name: string): Promise<JsonObject> {
    this.checkKnown(actor, name);
    return describeLog(this.#options.logs, name);
  }

  /** A challenge for a key that is to be registered. `asker` has a share of those that may be open. */
  async challenge(actor: Actor, name: string): Promise<JsonObject> {
    this.checkKnown(actor, name);
    const { logs, possession } = this.#options;
    const origin = await logs.use(name, (log) => log.origin);
    const { challenge, expiresMs } = possession.challenge(origin, actor.token?.id ?? 'files');
    return { origin, challenge, expires: timestamp(expiresMs) };
  }

  async gateways(actor: Actor, name: string): Promise<readonly JsonObject[]> {
    this.checkKnown(actor, name);
    return this.#options.logs.use(name, (log) => log.keys().map(describeKey));
  }

  /** The keys of every log and access log, each with its log: those of gateways, and their own. */
  async keys(actor: Actor): Promise<readonly JsonObject[]> {
    const keys: JsonObject[] = [];
    for (const { name } of this.#options.logs.list()) {
      if (!reaches(actor, name)) continue;
      keys.push(...(await describeKeys(this.#options.logs, name)));
    }
    return keys;
  }

  tokens(actor: Actor): readonly JsonObject[] {
    const rows = this.#options.tokens.list();
    return rows.filter(({ logs }) => covers(actor, logs)).map(describeToken);
  }

  async #request(
    act: string,
    { holder, token }: Required<Pick<Actor, 'holder'>> & { readonly token: TokenRow },
    plan: Plan<JsonObject> & { readonly details: JsonObject; readonly log: string },
  ): Promise<JsonObject> {
    const { store, clock, random } = this.#options;
    const waiting = this.#waiting();
    if (waiting.length >= REQUESTS_MAX) {
      throw new SteleError(
        'conflict',
        `${waiting.length} requests wait already, which is the most: have some approved or refused`,
      );
    }
    const row: RequestRow = {
      id: toHex(random(REQUEST_ID_BYTES)),
      act,
      log: plan.log,
      scope: JSON.stringify(plan.scope ?? (plan.log === '' ? [] : [plan.log])),
      args: JSON.stringify(plan.args),
      details: JSON.stringify(plan.details),
      holder,
      token: token.id,
      createdMs: clock.now(),
    };
    const { details } = plan;
    await this.#journal.note({ ...this.#deedOf(row), state: 'requested', details });
    store.insertRequest(row);
    return describeRequest(row);
  }

  /** Those that are too old are gone. */
  #waiting(): readonly RequestRow[] {
    const { store, clock } = this.#options;
    const oldest = clock.now() - REQUEST_LIFE_MS;
    const rows = store.listRequests();
    for (const { id, createdMs } of rows) if (createdMs <= oldest) store.deleteRequest(id);
    return rows.filter(({ createdMs }) => createdMs > oldest);
  }

  #find(actor: Actor, id: string): RequestRow {
    const row = this.#waiting().find((one) => one.id === id);
    if (row === undefined || !covers(actor, scopeOf(row))) {
      throw new SteleError('not_found', `request: there is no ${shown(id)} that waits`);
    }
    return row;
  }

  /** What somebody asked for is not done when he himself could do it no more. */
  #checkStillGood({ id, token, holder }: RequestRow): void {
    const { tokens, clock } = this.#options;
    const { revokedMs, expiresMs } = tokens.get(token);
    if (revokedMs === undefined && (expiresMs === undefined || expiresMs > clock.now())) return;
    throw new SteleError(
      'conflict',
      `request ${id}: the token of ${shown(holder)} that asked for it is good no more`,
    );
  }

  /** One decision at a time on a request. */
  async #decide<T>(id: string, work: () => Promise<T>): Promise<T> {
    if (this.#deciding.has(id)) {
      throw new SteleError('conflict', `request ${id}: somebody is deciding on it right now`);
    }
    this.#deciding.add(id);
    try {
      return await work();
    } finally {
      this.#deciding.delete(id);
    }
  }

  #drop(id: string): void {
    this.#options.store.deleteRequest(id);
  }

  #deedOf({ id, act, log, holder, token }: RequestRow): Deed {
    return { ...deedOf(act, { holder }, log), token, request: id };
  }
}

function deedOf(act: string, { holder, token }: Actor, log: string): Deed {
  return {
    act,
    holder,
    ...(token === undefined ? {} : { token: token.id }),
    ...(log === '' ? {} : { log }),
  };
}

/** JSON text that was written here. */
function objectOf(text: string): JsonObject {
  return JSON.parse(text) as JsonObject;
}

function scopeOf({ scope }: RequestRow): readonly string[] {
  return JSON.parse(scope) as readonly string[];
}

function describeRequest({ id, act, log, details, holder, createdMs }: RequestRow): JsonObject {
  return {
    id,
    act,
    ...(log === '' ? {} : { log }),
    details: objectOf(details),
    holder,
    requested: timestamp(createdMs),
    expires: timestamp(createdMs + REQUEST_LIFE_MS),
  };
}
