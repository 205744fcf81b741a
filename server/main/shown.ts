/** Which log is shown to which witnesses, as the settings say: read once, at the start. */
import { readFileSync, statSync } from 'node:fs';
import type { Config } from '../config.ts';
import { malformed, SteleError } from '../core/errors.ts';
import { POLICY_BYTES_MAX, type Policy, parsePolicy } from '../core/policy.ts';
import type { LogWitnesses } from '../log/cosigned.ts';
import { boundName } from '../log/names.ts';
import type { Visibility } from '../storage/instance.ts';
import { checkCanBeMet, type Witness, witnessesOf } from '../witness/witness.ts';

/** A log as far as it decides who is shown its heads. */
export interface ShownLog {
  readonly name: string;
  readonly visibility: Visibility;
}

interface Rule {
  readonly policy: Policy;
  readonly fail: 'open' | 'closed';
  readonly names: ReadonlySet<string>;
}

const NOBODY: ReadonlySet<string> = new Set();

export class ShownTo {
  /** Every witness of every policy. */
  readonly witnesses: readonly Witness[];
  /** Hears that a log has a newer head. */
  onGrown: ((log: string) => void) | undefined;
  readonly #config: Config['witnesses'];
  readonly #all: Rule | undefined;
  readonly #own: ReadonlyMap<string, Rule>;
  readonly #followers: (name: string) => readonly string[];
  /** What holds for each log, by its name and who may see it. */
  readonly #rules = new Map<string, Rule | undefined>();
  /** What logs are given, made once for each. */
  readonly #given = new Map<string, LogWitnesses>();

  /**
   * `followers` are the logs that go on where one ends: what is written down of one holds for them as well. Throws
   * for a policy that is not there, or that nobody could meet.
   */
  constructor(
    config: Config['witnesses'],
    followers: (name: string) => readonly string[] = () => [],
  ) {
    this.#config = config;
    this.#followers = followers;
    const found = new Map<string, Witness>();
    const ruleOf = (path: string, key: string, fail: Rule['fail']): Rule => {
      const policy = readPolicy(path, key);
      checkCanBeMet(policy, key);
      const asked = witnessesOf(policy, key);
      for (const witness of asked) found.set(witness.name, joined(found, witness, key));
      return { policy, fail, names: new Set(asked.map(({ name }) => name)) };
    };
    const { policy: path, fail } = config;
    this.#all = path === undefined ? undefined : ruleOf(path, 'witnesses.policy', fail);
    this.#own = new Map(
      config.of.flatMap(({ log, policy = path, fail: rule = fail }) =>
        policy === undefined
          ? []
          : [[log, ruleOf(policy, `cosigned.${log}.policy`, rule)] as const],
      ),
    );
    this.witnesses = [...found.values()];
  }

  /** Those who are shown a log's heads, and what it takes to publish one. */
  of(log: ShownLog): LogWitnesses | undefined {
    const rule = this.#ruleOf(log);
    if (rule === undefined) return undefined;
    const { name } = log;
    let given = this.#given.get(name);
    if (given === undefined) {
      const { policy, fail } = rule;
      given = { policy, fail, grown: () => this.onGrown?.(name) };
      this.#given.set(name, given);
    }
    return given;
  }

  /** The names of those who are asked about a log. */
  namesOf(log: ShownLog): ReadonlySet<string> {
    return this.#ruleOf(log)?.names ?? NOBODY;
  }

  /** One that is named, or one that is not private where all are. */
  #ruleOf(log: ShownLog): Rule | undefined {
    const key = `${log.visibility} ${log.name}`;
    // Which log it follows is said when it is made, and never changes.
    if (!this.#rules.has(key)) this.#rules.set(key, this.#findRule(log));
    return this.#rules.get(key);
  }

  #findRule({ name, visibility }: ShownLog): Rule | undefined {
    const own =
      this.#own.get(name) ?? this.#own.get(this.#named([...this.#own.keys()], name) ?? '');
    if (own !== undefined) return own;
    const { logs } = this.#config;
    const isOpen = visibility !== 'private' && boundName(name) === name;
    const isShown = this.#named(logs, name) !== undefined || (logs.includes('*') && isOpen);
    return isShown ? this.#all : undefined;
  }

  /** The one of these names that is the log's, or that of one that it follows. */
  #named(names: readonly string[], name: string): string | undefined {
    const bound = boundName(name);
    const suffix = name.slice(bound.length);
    return names.find((one) => {
      if (one === name) return true;
      const other = boundName(one);
      return one.slice(other.length) === suffix && this.#followers(other).includes(bound);
    });
  }
}

/** One witness may stand in several policies, with one address. */
function joined(found: ReadonlyMap<string, Witness>, witness: Witness, what: string): Witness {
  const known = found.get(witness.name);
  if (known === undefined) return witness;
  if (known.url !== witness.url) {
    throw malformed(what, `the witness ${witness.name} has another address in another policy`);
  }
  const texts = new Set(known.keys.map(({ text }) => text));
  return {
    ...known,
    keys: [...known.keys, ...witness.keys.filter(({ text }) => !texts.has(text))],
  };
}

function readPolicy(path: string, what: string): Policy {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new SteleError('not_found', `${what}: there is no file ${path}`);
  if (stat.size > POLICY_BYTES_MAX) {
    throw malformed(what, `${path} has ${stat.size} bytes, and ${POLICY_BYTES_MAX} are the most`);
  }
  try {
    return parsePolicy(new Uint8Array(readFileSync(path)));
  } catch (cause) {
    if (!(cause instanceof SteleError)) throw cause;
    throw malformed(what, `${path}: ${cause.message}`, { cause });
  }
}
