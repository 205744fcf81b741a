/**
 * An act of administration: what somebody wants done, judged and turned into what there is to do.
 *
 * Planning and doing are apart, since another person may have to approve in between, perhaps after a
 * restart: what a plan leaves to be done is JSON.
 */
import type { GenericSchema } from 'valibot';
import type { JsonObject } from '../core/json.ts';
import type { Clock } from '../log/clock.ts';
import type { KeyChanges } from '../log/key-changes.ts';
import type { Logs } from '../log/logs.ts';
import type { OwnGateways } from '../log/own-gateways.ts';
import type { Possession } from '../log/possession.ts';
import type { AnchorRows } from '../storage/anchors.ts';
import type { WitnessRows } from '../storage/witnesses.ts';
import type { Actor } from './actor.ts';
import type { TokenBook } from './tokens.ts';

export interface AnchorsPort {
  readonly rows: AnchorRows;
  /** Shows the newest head of a log; resolves when each target has answered, or after some time. */
  now(log: string): Promise<void>;
}

export interface WitnessesPort {
  readonly rows: WitnessRows;
  /** Shows the newest head of a log to its witnesses; resolves when each has answered, or after some time. */
  now(log: string): Promise<void>;
}

/** What acts work on. */
export interface World {
  readonly logs: Logs;
  readonly tokens: TokenBook;
  readonly possession: Possession;
  /** Whether whoever has no files must prove that a key he registers is at hand. */
  readonly requirePossession: boolean;
  readonly keyChanges: KeyChanges;
  readonly ownGateways: OwnGateways;
  /** Shows heads outside, where somebody does. */
  readonly anchors?: AnchorsPort | undefined;
  /** Asks witnesses, where somebody does. */
  readonly witnesses?: WitnessesPort | undefined;
  readonly clock: Clock;
  readonly random: (bytes: number) => Uint8Array;
}

export interface Plan<Args extends JsonObject> {
  readonly args: Args;
  /** The log that it is about, where the request named none. */
  readonly log?: string;
  /** What the entry of the act says of it; without this, `args`. */
  readonly details?: JsonObject;
  /** Something that is told at once to whoever asked, and to nobody else. */
  readonly tell?: JsonObject;
  /** It is an act on keys, which by the two-person rule is not done before another holder approves it. */
  readonly takesTwo?: boolean;
  /** Logs that whoever approves it must be bound to; without this, the one that it is about. */
  readonly scope?: readonly string[];
  /** Goes around whatever comes of the plan, and may refuse it. */
  readonly guarded?: <T>(work: () => Promise<T>) => Promise<T>;
}

export interface Asking<Wanted> {
  readonly actor: Actor;
  /** The log that it is about; empty where it is about none that there is. */
  readonly log: string;
  readonly wanted: Wanted;
}

export interface Act<Wanted = never, Args extends JsonObject = JsonObject> {
  /** Such as `gateway.register`. */
  readonly name: string;
  /** It may be about the instance's own log too, and about access logs. */
  readonly isOfAnyLog?: boolean;
  /** What callers send. */
  readonly wanted: GenericSchema<unknown, Wanted>;
  /** Throws what is wrong with it. Nothing has changed when it returns. */
  plan(world: World, asking: Asking<Wanted>): Plan<Args> | Promise<Plan<Args>>;
  /** `args` are those of a plan, as JSON keeps them. */
  perform(world: World, log: string, args: Args): Promise<JsonObject>;
}
