#!/usr/bin/env node
/**
 * Is this Node new enough? Plain JavaScript that any Node can read, because the rest is TypeScript, and
 * because the database driver would end an older Node without a word.
 *
 * The rule is that of `engines` in package.json; a test compares the two.
 */
const [major, minor, patch] = process.versions.node.split('.').map(Number);
const good =
  (major === 22 && (minor > 22 || (minor === 22 && patch >= 2))) ||
  (major === 24 && minor >= 15) ||
  major >= 26;

if (good) {
  const { main } = await import('../main.ts');
  await main();
} else {
  process.stderr.write(
    `stele: this is Node ${process.versions.node}, and Stele needs 22.22.2 or later of 22, 24.15 or later of 24, or 26 and up; "npm run -s stele -- …" in its folder brings its own\n`,
  );
  process.exitCode = 2;
}
