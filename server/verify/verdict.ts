/**
 * What a verifier says: step by step, in sentences, and whether it holds as a whole.
 *
 * A receipt holds if nothing in it is invalid and everything that is required is valid. What the trust
 * file does not know is `no-trust`: it counts for nothing, which spoils the whole only where it was
 * required. What a receipt need not have is `absent`.
 */
import { SteleError } from '../core/errors.ts';
import type { Record } from '../core/record.ts';

export type StepStatus = 'valid' | 'invalid' | 'no-trust' | 'absent';

/**
 * Every step there is, in the order of the picture in `verify.ts`; `line` stands once for each unknown line, and
 * `witness` once for each witness that the policy names.
 */
export type StepName =
  | 'receipt'
  | 'log'
  | 'checkpoint'
  | 'line'
  | 'witness'
  | 'witnesses'
  | 'inclusion'
  | 'record'
  | 'keys'
  | 'signatures'
  | 'content'
  | 'rekor'
  | 'rfc3161'
  | 'anchors';

export interface Step {
  readonly step: StepName;
  readonly status: StepStatus;
  /** One sentence. */
  readonly detail: string;
}

/** What became of one commitment of the record. */
export interface Field {
  readonly name: string;
  readonly state: 'disclosed-ok' | 'mismatch' | 'withheld';
}

/** By somebody outside the log: it existed then at the latest. */
export interface Bound {
  readonly by: string;
  readonly latestMs: number;
}

export interface Verdict {
  readonly holds: boolean;
  readonly origin?: string;
  readonly index?: number;
  readonly steps: readonly Step[];
  /** What a verdict on one receipt cannot say, and what a reader should know. */
  readonly notes: readonly string[];
  readonly fields: readonly Field[];
  /** What was proven of when the entry existed, the earliest first. */
  readonly bounds: readonly Bound[];
  readonly record?: Record;
}

/** What a step found: its sentence, and perhaps a status other than valid. */
export type Finding = string | { readonly status: StepStatus; readonly detail: string };

/** A verdict while it is made. */
export class Steps {
  readonly #steps: Step[] = [];
  readonly #required = new Set<StepName>();

  /** The step must be valid for the whole to hold. */
  require(step: StepName): void {
    this.#required.add(step);
  }

  add(step: StepName, status: StepStatus, detail: string): void {
    this.#steps.push({ step, status, detail });
  }

  /**
   * Runs a check. If it throws, the step is invalid with the error's words, and nothing is the answer.
   * Otherwise the check's value is, and `say` gives the sentence.
   */
  run<T>(step: StepName, check: () => T, say: (value: T) => Finding): T | undefined {
    try {
      const value = check();
      const finding = say(value);
      if (typeof finding === 'string') this.add(step, 'valid', finding);
      else this.add(step, finding.status, finding.detail);
      return value;
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      this.add(step, 'invalid', `${error.message}.`);
      return undefined;
    }
  }

  /** Whether all that was required is valid and nothing is invalid. */
  hold(): boolean {
    if (this.#steps.some(({ status }) => status === 'invalid')) return false;
    return [...this.#required].every((name) =>
      this.#steps.some(({ step, status }) => step === name && status === 'valid'),
    );
  }

  list(): readonly Step[] {
    return this.#steps;
  }
}
