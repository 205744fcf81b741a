/**
 * What an audit found. Three kinds, because they mean different things to whoever reads them:
 *
 *  - `fail`: the log broke one of its rules; something here cannot be what was signed or admitted;
 *  - `note`: it is as it was admitted, and someone will want to know: a hole in a source's chain;
 *  - `unknown`: it could not be told, and what was missing.
 */

export type Severity = 'fail' | 'note' | 'unknown';

export interface Finding {
  readonly severity: Severity;
  /** The entry it is about, where it is about one. */
  readonly index?: number;
  readonly what: string;
}

/** Findings listed of each kind; the rest are counted. A log that is all wrong is said to be so briefly. */
const LISTED_MAX = 100;

export class Findings {
  readonly #listed: Record<Severity, Finding[]> = { fail: [], note: [], unknown: [] };
  readonly #counts: Record<Severity, number> = { fail: 0, note: 0, unknown: 0 };

  add(severity: Severity, what: string, index?: number): void {
    this.#counts[severity]++;
    const listed = this.#listed[severity];
    if (listed.length < LISTED_MAX) {
      listed.push(index === undefined ? { severity, what } : { severity, what, index });
    }
  }

  /** Failures by index, then what could not be told, then notes. */
  list(): readonly Finding[] {
    const order = (a: Finding, b: Finding) => (a.index ?? Infinity) - (b.index ?? Infinity) || 0;
    return [...this.#listed.fail.sort(order), ...this.#listed.unknown, ...this.#listed.note];
  }

  /** What was found since the last call, which is then forgotten; `more` were not listed. */
  take(): { readonly found: readonly Finding[]; readonly more: number } {
    const found = this.list();
    const all = this.count('fail') + this.count('note') + this.count('unknown');
    for (const severity of ['fail', 'note', 'unknown'] as const) {
      this.#listed[severity] = [];
      this.#counts[severity] = 0;
    }
    return { found, more: all - found.length };
  }

  count(severity: Severity): number {
    return this.#counts[severity];
  }

  /** The smallest index that a failure names. */
  firstBad(): number | undefined {
    const indexes = this.#listed.fail.flatMap(({ index }) => (index === undefined ? [] : [index]));
    return indexes.length === 0 ? undefined : Math.min(...indexes);
  }
}
