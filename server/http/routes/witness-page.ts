/**
 * What does a witness say of itself to people? Which logs it cosigned last, when, and at what size, in
 * sentences. The page loads nothing and runs nothing. Origins are text of strangers, and are shown as text.
 */
import { createHash } from 'node:crypto';
import { toBase64, toHex } from '../../core/bytes.ts';
import type { WitnessedRow } from '../../storage/witnessed.ts';
import type { Witness } from '../../witness/giving.ts';
import { type Html, html } from '../openapi/html.ts';

const STYLE = `
:root { color-scheme: light dark; --ink: #1d2129; --soft: #586070; --line: #dde1e7; --back: #fff; --well: #f5f6f8; --link: #0b57a4; --bad: #a4262c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ec; --soft: #a2abb8; --line: #363c46; --back: #15181d; --well: #1e2229; --link: #82b8f2; --bad: #f0949a; } }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--back); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 2.5rem 1.25rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .75rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.75rem 0 .75rem; padding-bottom: .35rem; border-bottom: 2px solid var(--line); }
h3 { font-size: 1.05rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
p { margin: .5rem 0; }
a { color: var(--link); }
a:focus-visible, pre:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
ul { list-style: none; margin: 0; padding: 0; }
li { padding: 1rem 0; border-bottom: 1px solid var(--line); }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .85em; overflow-wrap: anywhere; }
pre { padding: .75rem 1rem; background: var(--well); border: 1px solid var(--line); border-radius: .375rem; max-height: 12rem; overflow: auto; white-space: pre-wrap; }
.lead { font-size: 1.1rem; color: var(--soft); }
.soft { color: var(--soft); font-size: .92rem; }
.bad { color: var(--bad); font-weight: 600; }
@media print { :root { --ink: #000; --soft: #333; --line: #999; --back: #fff; --well: #fff; --link: #000; --bad: #000; } li { break-inside: avoid; } pre { max-height: none; } }
`;

/** The page's own style, and nothing else: no script, no image, no form, no frame around it. */
export const WITNESS_PAGE_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

type Shown = Pick<Witness, 'name' | 'keys' | 'stopped' | 'count' | 'evidenceByOrigin'> & {
  readonly origins: readonly { readonly origin: string }[];
};

export function formatWitnessPage(witness: Shown, rows: readonly WitnessedRow[]): string {
  const { name, keys, origins, stopped } = witness;
  const witnessed = witness.count();
  const refusals = witness.evidenceByOrigin();
  const head = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Witness ${name}</title>
<style>`;
  const body = html`</style>
</head>
<body>
<main>
<h1>Witness ${name}</h1>
<p class="lead">A witness signs what a log shows to it only if that log has kept everything it showed before. So all who ask for its signature are shown one and the same history of a log.</p>
${stopped === undefined ? '' : html`<p class="bad">This witness cosigns nothing at present: its own memory was put back to an earlier state.</p>\n`}<p>${logsKnown(origins.length)} ${witnessed === 0 ? 'None has been witnessed yet.' : html`${counted(witnessed, 'log')} ${witnessed === 1 ? 'has' : 'have'} been witnessed so far.`}</p>
${rows.length === 0 ? '' : html`<h2>When each log was last witnessed</h2>\n${rows.length < witnessed ? html`<p class="soft">The ${rows.length} that were witnessed last.</p>\n` : ''}<ul>\n${rows.map((row) => formatRow(row, refusals.get(row.origin) ?? 0))}</ul>\n`}<h2>Keys of this witness</h2>
<p>Its signatures are checked with these. A key that you have from here alone proves nothing about who gave it to you.</p>
${keys.map(({ text }, i) => html`<pre tabindex="0" role="group" aria-label="Verifier key ${i + 1} of ${keys.length}">${text}</pre>\n`)}<p class="soft">For programs: <a href="/v1/witness"><code>/v1/witness</code></a>. Logs send their checkpoints to <code>/witness/add-checkpoint</code> [C2SP tlog-witness].</p>
</main>
</body>
</html>
`;
  return `${head.text}${STYLE}${body.text}`;
}

function logsKnown(count: number): string {
  if (count === 0) return 'It is not set up to witness any log.';
  return count === 1 ? 'It witnesses one log.' : `It witnesses ${grouped(count)} logs.`;
}

function formatRow(
  { id, origin, size, root, timeS, firstS, times }: WitnessedRow,
  refused: number,
): Html {
  const again =
    times === 1
      ? 'This was the first time.'
      : html`It was witnessed ${grouped(times)} times since ${when(firstS)}.`;
  return html`<li><h3>${origin}</h3>
<p>Last witnessed on ${when(timeS)}, with ${counted(size, 'entry', 'entries')}. ${again}</p>
${refused === 0 ? '' : html`<p class="bad">${counted(refused, 'checkpoint')} that this log had signed ${refused === 1 ? 'contradicts' : 'contradict'} what was witnessed, and ${refused === 1 ? 'is' : 'are'} kept as evidence.</p>\n`}<p class="soft">Root <code>${toBase64(root)}</code> · <a href="/witness/${toHex(id)}/checkpoint">the signed checkpoint<span> of ${origin}</span></a></p>
</li>
`;
}

function counted(count: number, one: string, many = `${one}s`): string {
  return `${grouped(count)} ${count === 1 ? one : many}`;
}

function grouped(count: number): string {
  return count.toLocaleString('en-US');
}

const DAY = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeZone: 'UTC' });
const TIME = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium', timeZone: 'UTC' });

function when(seconds: number): Html {
  const date = new Date(seconds * 1_000);
  return html`<time datetime="${date.toISOString()}">${DAY.format(date)} at ${TIME.format(date)} UTC</time>`;
}
