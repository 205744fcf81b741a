/** What was found in the entries, in words: what fails now, and what is wrong in the log for good. */
import { describeHole } from '../log/audit/chains.ts';
import type { Findings } from '../log/audit/findings.ts';
import type { Word, Words } from './alarms.ts';
import type { Contents } from './contents.ts';

/** Chains that do not fit, and what is missing in them: told in each look, as nobody reads those entries again. */
export function standingOf(contents: Contents): readonly Word[] {
  const standing: Word[] = contents.flaws.map((flaw) => ({ kind: 'chain', ...flaw }));
  if (contents.moreFlaws > 0) {
    standing.push({ kind: 'chain', detail: `${contents.moreFlaws} more that are not listed` });
  }
  for (const hole of contents.holes()) {
    const kind = hole.isDeclared ? 'acknowledged' : 'hole';
    standing.push({ kind, detail: describeHole(hole) });
  }
  return standing;
}

/** What an advance found: a rule that is broken, or what is beyond what is kept track of. */
export function reportFindings(findings: Findings, words: Words): void {
  for (const { severity, what, index } of findings.list()) {
    if (severity === 'note') continue;
    words.add(
      severity === 'fail' ? 'entries' : 'state',
      what,
      index === undefined ? {} : { index },
    );
  }
}
