/** Steps of a log that fail when a test says so. */
import { SteleError } from '../../server/core/errors.ts';
import type { LogStore } from '../../server/storage/store.ts';

export type Moment = 'before' | 'after' | 'after, reporting failure';

/** Steps that can fail once: the next call of `step` does, at its moment. */
export class Faults {
  #armed: { readonly step: string; readonly moment: Moment } | undefined;

  arm(step: string, moment: Moment): void {
    this.#armed = { step, moment };
  }

  disarm(): void {
    this.#armed = undefined;
  }

  async around<T>(step: string, work: () => Promise<T>): Promise<T> {
    const armed = this.#armed?.step === step ? this.#armed : undefined;
    if (armed === undefined) return work();
    this.#armed = undefined;
    const failure = new SteleError('storage', `${step} failed ${armed.moment}`);
    if (armed.moment === 'before') throw failure;
    const result = await work();
    if (armed.moment === 'after') return result;
    throw failure;
  }
}

export function faulty(
  store: LogStore,
  faults: { around<T>(step: string, work: () => Promise<T>): Promise<T> },
): LogStore {
  return new Proxy(store, {
    get(target, name: keyof LogStore) {
      const method = target[name] as (...args: unknown[]) => Promise<unknown>;
      return (...args: unknown[]) => faults.around(name, () => method.apply(target, args));
    },
  });
}
