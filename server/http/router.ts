/**
 * Which route does a path name?
 *
 * A tree of literal segments with at most one parameter a step: a request costs a map look-up per
 * segment, however many routes there are. `{name}` takes one segment, `{name*}` all that is left (at
 * least one). A literal wins over a parameter, and there is no going back: no two patterns here need it.
 */
import { invariant } from '../core/errors.ts';

interface Step<R> {
  readonly literals: Map<string, Step<R>>;
  parameter: Step<R> | undefined;
  rest: Step<R> | undefined;
  readonly methods: Map<string, R>;
}

export interface Match<R> {
  readonly methods: ReadonlyMap<string, R>;
  /** The segments that stood for parameters, in order; a rest is joined by "/". */
  readonly params: readonly string[];
}

export class Router<R extends { readonly method: string; readonly pattern: string }> {
  readonly routes: readonly R[];
  readonly #root: Step<R> = newStep();

  constructor(routes: readonly R[]) {
    this.routes = routes;
    for (const route of routes) this.#add(route);
  }

  match(segments: readonly string[]): Match<R> | undefined {
    const params: string[] = [];
    let step = this.#root;
    for (let i = 0; i < segments.length; i++) {
      const segment = segments[i] ?? '';
      const literal = step.literals.get(segment);
      if (literal !== undefined) {
        step = literal;
      } else if (step.parameter !== undefined) {
        params.push(segment);
        step = step.parameter;
      } else if (step.rest !== undefined) {
        params.push(segments.slice(i).join('/'));
        return { methods: step.rest.methods, params };
      } else {
        return undefined;
      }
    }
    return step.methods.size === 0 ? undefined : { methods: step.methods, params };
  }

  #add(route: R): void {
    let step = this.#root;
    for (const part of route.pattern === '/' ? [] : route.pattern.slice(1).split('/')) {
      if (/^\{\w+\*\}$/.test(part)) step = step.rest ??= newStep();
      else if (/^\{\w+\}$/.test(part)) step = step.parameter ??= newStep();
      else step = literalStep(step, part);
    }
    invariant(!step.methods.has(route.method), `one route for ${route.method} ${route.pattern}`);
    step.methods.set(route.method, route);
  }
}

function newStep<R>(): Step<R> {
  return { literals: new Map(), parameter: undefined, rest: undefined, methods: new Map() };
}

function literalStep<R>(step: Step<R>, part: string): Step<R> {
  const known = step.literals.get(part);
  if (known !== undefined) return known;
  const added: Step<R> = newStep();
  step.literals.set(part, added);
  return added;
}
