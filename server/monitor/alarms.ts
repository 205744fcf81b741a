/**
 * What a monitor has to say: one closed list of kinds, and how bad each is.
 *
 *     alarm    a rule is broken, or somebody should come and look        exit status 1
 *     unknown  it could not be told, and why                              exit status 2
 *     notice   nothing is wrong, and somebody may want to know
 *
 * An alarm that *holds* keeps the state where it is: the same entries are checked again until it is gone. The
 * others are found again from the state itself, each time, so nothing is passed over by going on.
 */
export const KINDS = {
  split_view: { severity: 'alarm', holds: true },
  signature: { severity: 'alarm', holds: true },
  shrunk: { severity: 'alarm', holds: true },
  withheld: { severity: 'alarm', holds: true },
  tiles: { severity: 'alarm', holds: true },
  entries: { severity: 'alarm', holds: true },
  keys: { severity: 'alarm', holds: true },
  anchor: { severity: 'alarm', holds: true },
  chain: { severity: 'alarm', holds: false },
  hole: { severity: 'alarm', holds: false },
  stale: { severity: 'alarm', holds: false },
  clock: { severity: 'alarm', holds: false },
  anchoring: { severity: 'alarm', holds: false },
  witnessing: { severity: 'alarm', holds: false },
  unreachable: { severity: 'unknown', holds: true },
  unknown_log: { severity: 'unknown', holds: true },
  state: { severity: 'unknown', holds: true },
  first_seen: { severity: 'notice', holds: false },
  control: { severity: 'notice', holds: false },
  ended: { severity: 'notice', holds: false },
  acknowledged: { severity: 'notice', holds: false },
  left_out: { severity: 'notice', holds: false },
} as const satisfies Record<string, { severity: Severity; holds: boolean }>;

export type Severity = 'alarm' | 'unknown' | 'notice';
export type Kind = keyof typeof KINDS;

export interface Word {
  readonly kind: Kind;
  /** One line: the value and the rule. */
  readonly detail: string;
  /** The entry it is about, where it is about one. */
  readonly index?: number;
  /** The signed heads that show it, whole. */
  readonly heads?: readonly string[];
  /** Files that keep them. */
  readonly files?: readonly string[];
}

/** Words of one kind in one look. A log that is all wrong is said to be so briefly. */
const OF_A_KIND_MAX = 50;

export class Words {
  readonly #words = new Map<Kind, Word[]>();
  readonly #dropped = new Map<Kind, number>();

  add(kind: Kind, detail: string, more: Omit<Word, 'kind' | 'detail'> = {}): void {
    const words = this.#words.get(kind) ?? [];
    this.#words.set(kind, words);
    if (words.length < OF_A_KIND_MAX) words.push({ kind, detail, ...more });
    else this.#dropped.set(kind, (this.#dropped.get(kind) ?? 0) + 1);
  }

  /** In the order in which each kind came first. */
  list(): readonly Word[] {
    return [...this.#words].flatMap(([kind, words]) => {
      const dropped = this.#dropped.get(kind) ?? 0;
      return dropped === 0 ? words : [...words, { kind, detail: `${dropped} more of this kind` }];
    });
  }

  /** Whether something keeps the newest head from being one of which every check has passed. */
  get hold(): boolean {
    return [...this.#words.keys()].some((kind) => KINDS[kind].holds);
  }

  /** Whether the log was found to break a rule, so that there is no point in reading on. */
  get isBroken(): boolean {
    return [...this.#words.keys()].some(
      (kind) => KINDS[kind].holds && KINDS[kind].severity === 'alarm',
    );
  }
}
