/**
 * What other gateways say of themselves, and how they say that they measured it. Theirs are not our figures: other
 * machines, other models, mostly without a record of the call. They are here to say what a millisecond means.
 */
export interface Published {
  readonly who: string;
  readonly figure: string;
  readonly method: string;
}

export const PUBLISHED: readonly Published[] = [
  {
    who: 'LiteLLM, own documentation',
    figure: 'median 12 ms, p99 43 ms with 2 instances; 2 and 13 ms with 4',
    method: '1,000 to 1,200 requests/s, made-up model; waiting before its handler is not in it',
  },
  {
    who: 'Helicone AI Gateway, own benchmark',
    figure: 'under 1 ms',
    method: '3,000 requests/s on 2 cores, model of 60 ms; from two traces, logging off',
  },
  {
    who: 'Bifrost, own documentation',
    figure: '11 µs',
    method: '5,000 requests/s; without the JSON work and the HTTP call; logs are dropped when full',
  },
  {
    who: 'Portkey, README and documentation',
    figure: 'under 1 ms; 20 to 40 ms hosted',
    method: 'not said',
  },
  {
    who: 'llm-gateway-bench, 2026-07, neutral',
    figure: 'Bifrost 0.44 to 0.62 ms, Portkey 2.4 to 2.7 ms, LiteLLM 4.3 ms',
    method: 'one call after the other, model on the same machine, by turns, median of medians',
  },
];
