/**
 * Administration by the files of a data folder, for when no server runs: the same acts as the routes of
 * `/v1/admin`, by somebody who needs no token.
 */
import { randomBytes } from 'node:crypto';
import { userInfo } from 'node:os';
import type { Act } from '../admin/act.ts';
import type { Actor } from '../admin/actor.ts';
import { Administrator } from '../admin/administrator.ts';
import { anchorNow } from '../admin/anchors.ts';
import { registerGateway, revokeGateway } from '../admin/gateways.ts';
import { retireLogKey, rotateLogKey, rotateOwnKey } from '../admin/log-keys.ts';
import { changeLog, createLog, freezeLog, retireLog, rollLog, unretireLog } from '../admin/logs.ts';
import { createToken, revokeToken, TokenBook } from '../admin/tokens.ts';
import { parseWanted } from '../admin/wanted.ts';
import { describeEvidence, describeWitness } from '../admin/witnessed.ts';
import { witnessNow } from '../admin/witnesses.ts';
import type { JsonObject } from '../client/client.ts';
import type {
  Administration,
  EndedLogKey,
  LogChanges,
  NewGateway,
  NewLog,
  NewLogKey,
  NewOwnKey,
  NewToken,
} from '../client/instance.ts';
import { invariant } from '../core/errors.ts';
import { systemClock } from '../log/clock.ts';
import { Possession } from '../log/possession.ts';
import type { Instance } from './instance.ts';

export class FileAdministration implements Administration {
  readonly #instance: Instance;
  readonly #administrator: Administrator;
  readonly #actor: Actor = { holder: `files: ${userName()}` };

  constructor(instance: Instance) {
    const { logs, store, keyChanges, ownGateways, warn } = instance;
    this.#instance = instance;
    this.#administrator = new Administrator({
      logs,
      store,
      keyChanges,
      ownGateways,
      tokens: new TokenBook(store),
      possession: new Possession({ clock: systemClock, random: randomBytes }),
      // Who has the files has the operator's key: there is nothing to prove, and nobody else to ask.
      requirePossession: false,
      twoPersons: false,
      clock: systemClock,
      random: randomBytes,
      warn,
    });
  }

  createLog(wanted: NewLog): Promise<JsonObject> {
    return this.#act(createLog, '', wanted);
  }

  async listLogs(): Promise<readonly JsonObject[]> {
    return this.#administrator.logs(this.#actor);
  }

  showLog(name: string): Promise<JsonObject> {
    return this.#administrator.log(this.#actor, name);
  }

  changeLog(name: string, changes: LogChanges): Promise<JsonObject> {
    return this.#act(changeLog, name, changes);
  }

  freezeLog(name: string, reason: string | undefined): Promise<JsonObject> {
    return this.#act(freezeLog, name, reason === undefined ? {} : { reason });
  }

  rollLog(name: string, next: string | undefined): Promise<JsonObject> {
    return this.#act(rollLog, name, next === undefined ? {} : { name: next });
  }

  retireLog(name: string, typed: string): Promise<JsonObject> {
    return this.#act(retireLog, name, { name: typed });
  }

  unretireLog(name: string): Promise<JsonObject> {
    return this.#act(unretireLog, name, {});
  }

  challengeGateway(name: string): Promise<JsonObject> {
    return this.#administrator.challenge(this.#actor, name);
  }

  registerGateway(name: string, wanted: NewGateway): Promise<JsonObject> {
    return this.#act(registerGateway, name, wanted);
  }

  listGateways(name: string): Promise<readonly JsonObject[]> {
    return this.#administrator.gateways(this.#actor, name);
  }

  revokeGateway(name: string, keyid: string): Promise<JsonObject> {
    return this.#act(revokeGateway, name, { keyid });
  }

  rotateKey(name: string, wanted: NewLogKey): Promise<JsonObject> {
    return this.#act(rotateLogKey, name, wanted);
  }

  retireKey(name: string, wanted: EndedLogKey): Promise<JsonObject> {
    return this.#act(retireLogKey, name, wanted);
  }

  rotateOwnKey(wanted: NewOwnKey): Promise<JsonObject> {
    return this.#act(rotateOwnKey, '', wanted);
  }

  createToken(wanted: NewToken): Promise<JsonObject> {
    return this.#act(createToken, '', wanted);
  }

  async listTokens(): Promise<readonly JsonObject[]> {
    return this.#administrator.tokens(this.#actor);
  }

  revokeToken(id: string): Promise<JsonObject> {
    return this.#act(revokeToken, '', { id });
  }

  listKeys(): Promise<readonly JsonObject[]> {
    return this.#administrator.keys(this.#actor);
  }

  anchorLog(name: string): Promise<JsonObject> {
    return this.#act(anchorNow, name, {});
  }

  witnessLog(name: string): Promise<JsonObject> {
    return this.#act(witnessNow, name, {});
  }

  async witness(): Promise<JsonObject> {
    return describeWitness(this.#instance.store.witnessed);
  }

  async witnessEvidence(before?: number): Promise<JsonObject> {
    return { evidence: describeEvidence(this.#instance.store.witnessed, { before }) };
  }

  async listRequests(): Promise<readonly JsonObject[]> {
    return this.#administrator.requests(this.#actor);
  }

  approveRequest(id: string): Promise<JsonObject> {
    return this.#administrator.approve(this.#actor, id);
  }

  rejectRequest(id: string): Promise<JsonObject> {
    return this.#administrator.reject(this.#actor, id);
  }

  close(): Promise<void> {
    return this.#instance.close();
  }

  async #act<Wanted, Args extends JsonObject>(
    act: Act<Wanted, Args>,
    log: string,
    given: object,
  ): Promise<JsonObject> {
    if (log !== '') this.#administrator.checkKnown(this.#actor, log);
    const wanted = parseWanted(act.wanted, given);
    const outcome = await this.#administrator.act(act, { actor: this.#actor, log, wanted });
    invariant('done' in outcome, 'by the files nothing waits');
    return { ...outcome.tell, ...outcome.done };
  }
}

/** A user without a name, as in many containers, has a number. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `user ${process.getuid?.()}`;
  }
}
