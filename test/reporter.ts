/** Ends a run with one plain line of counts, and names every test that was skipped, with its reason. */
import type { Reporter, TestModule } from 'vitest/node';

export class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const count = { passed: 0, failed: 0, skipped: 0 };
    const skipped: string[] = [];
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === 'pending') count.failed++;
        else count[result.state]++;
        if (result.state === 'skipped') skipped.push(`${test.fullName}${reason(result.note)}`);
      }
      count.failed += module.errors().length;
    }
    if (skipped.length > 0) console.log(`\nSkipped:\n${skipped.map((s) => `  ${s}`).join('\n')}`);
    console.log(`\n${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`);
  }
}

function reason(note: string | undefined): string {
  return note === undefined ? '' : ` (${note})`;
}

// Vitest loads a reporter by its default export.
// biome-ignore lint/style/noDefaultExport: see above
export default CountReporter;
