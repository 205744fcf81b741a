/** Do the pages say what is there? Links, names, tables and numbers; `shown.test.ts` runs the commands. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';
import { EXIT } from '../../server/cli/exit.ts';
import { COMMAND_NAMES } from '../../server/cli/program.ts';
import { formatReference } from '../../server/config/reference.ts';
import { SETTINGS } from '../../server/config/settings.ts';
import { parseHex, utf8 } from '../../server/core/bytes.ts';
import { CODES } from '../../server/core/errors.ts';
import { leafHash, nodeHash } from '../../server/core/merkle.ts';
import { makeVerifierKey } from '../../server/core/note.ts';
import { planConsistency, planInclusion } from '../../server/core/proof.ts';
import { formatTilePath } from '../../server/core/tile.ts';
import { type Hash, leafIndex, treeSize } from '../../server/core/units.ts';
import { shownPattern } from '../../server/http/call.ts';
import { STATUS } from '../../server/http/errors.ts';
import { allRoutes } from '../../server/http/routes/all.ts';
import { anchorsOf, blocksOf, linksOf, PAGES, page, pathsOf, proseOf, ROOT } from './pages.ts';

interface Package {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
  readonly version: string;
  readonly engines: { readonly node: string };
}

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Package;

describe.each(PAGES)('%s', (path) => {
  const text = page(path);

  test('begins with a heading', () => {
    expect(text).toMatch(/^# \S/);
  });

  test('has links that lead somewhere', () => {
    for (const { target, anchor } of linksOf(text)) {
      const file = target === '' ? path : normalize(join(dirname(path), target));
      expect(existsSync(join(ROOT, file)), `${path} → ${target}`).toBe(true);
      if (anchor !== undefined) {
        expect([...anchorsOf(page(file))], `${path} → ${target}#${anchor}`).toContain(anchor);
      }
    }
  });

  test('names files that exist', () => {
    for (const name of pathsOf(text)) {
      expect(existsSync(join(ROOT, name)), `${path}: ${name}`).toBe(true);
    }
  });

  test('names commands and options that exist', async () => {
    for (const words of commandsOf(text)) await checkCommand(words, path);
  });

  test('names npm scripts that exist', () => {
    for (const [, name = ''] of text.matchAll(/npm run (?:-s |--silent )?([a-z:]+)/g)) {
      expect(Object.keys(manifest.scripts), `${path}: npm run ${name}`).toContain(name);
    }
  });
});

/** The words of each `stele …` that is shown, in a block or in a line. */
function commandsOf(text: string): readonly string[][] {
  const shown = blocksOf(text)
    .filter(({ info }) => info.startsWith('sh'))
    .flatMap((block) => block.text.replaceAll('\\\n', ' ').split(/\n|\||&&|\$\(/));
  const inline = [...text.matchAll(/`(stele [^`\n]+)`/g)].map(([, line = '']) => line);
  return (
    [...shown, ...inline]
      .map((line) => /(?:^|\s)(?:npm run -s stele --|stele) ([a-z-].*)$/.exec(line)?.[1])
      .filter((line) => line !== undefined)
      // Names of formats, not commands.
      .filter((line) => !/^(vault|window) v1/.test(line))
      .map((line) => line.split(/\s+/))
  );
}

async function checkCommand(words: readonly string[], path: string): Promise<void> {
  const [name = ''] = words;
  const where = `${path}: stele ${words.join(' ')}`;
  if (!COMMAND_NAMES.includes(name)) {
    expect.unreachable(where);
    return;
  }
  const own = readFileSync(join(ROOT, `server/cli/commands/${name}.ts`), 'utf8');
  // A command with many subcommands has some of them in files beside it.
  const imported = [...own.matchAll(/from '\.\.\/([a-z-]+)\.ts'/g)].map(([, file]) =>
    readFileSync(join(ROOT, `server/cli/${file}.ts`), 'utf8'),
  );
  const known = [own, ...imported].join('\n');
  for (const word of words.filter((w) => /^--[a-z]/.test(w))) {
    expect(known, where).toMatch(new RegExp(`['\`\\s,]${word}[\\s'\`]`));
  }
  const sub = words[1] ?? '';
  if (['log', 'gateway', 'token', 'key'].includes(name) && /^[a-z]+$/.test(sub)) {
    expect(known, where).toContain(`new Command('${sub}')`);
  }
}

describe('docs/errors.md', () => {
  const rows = new Map(
    [...page('docs/errors.md').matchAll(/^\| `(\w+)` \| (\d+) \| (\d) \|/gm)].map(
      ([, code = '', status, exit]) => [code, { status: Number(status), exit: Number(exit) }],
    ),
  );

  test.each(CODES)('has %s with its status and exit status', (code) => {
    expect(rows.get(code)).toEqual({ status: STATUS[code], exit: EXIT[code] });
  });

  test('has the codes of the proxy', () => {
    const source = readFileSync(join(ROOT, 'server/proxy/problem.ts'), 'utf8');
    const union = /type GatewayCode = ([^;]+);/.exec(source)?.[1] ?? '';
    const codes = [...union.matchAll(/'(\w+)'/g)].map(([, code]) => code);
    expect(codes.length).toBeGreaterThan(0);
    for (const code of codes) expect(page('docs/errors.md')).toMatch(`| \`${code}\` | `);
  });
});

describe('docs/invariants.md', () => {
  const text = page('docs/invariants.md');
  const parts = text.split(/^## /m).slice(1);

  test('has P1 to P12 in order', () => {
    const numbers = parts.map((part) => /^P(\d+) /.exec(part)?.[1]);
    expect(numbers).toEqual(Array.from({ length: 12 }, (_, i) => String(i + 1)));
  });

  test.each(parts.map((part) => [part.split('\n', 1)[0], part]))('%s', (_, part = '') => {
    const [, by = '', shown = '', holes = ''] = part.split(
      /\*\*(?:Kept by|Shown by|Known holes)\.\*\*/,
    );
    expect(pathsOf(by).length, 'says which files keep it').toBeGreaterThan(0);
    const tests = pathsOf(shown);
    expect(tests.length, 'says which tests show it').toBeGreaterThan(0);
    for (const name of tests) expect(name).toMatch(/^test\//);
    expect(holes.trim(), 'says what is missing').not.toBe('');
  });
});

describe('docs/dependencies.md', () => {
  const rows = [...page('docs/dependencies.md').matchAll(/^\| (`.+?`) \|/gm)].flatMap(
    ([, names = '']) => [...names.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name),
  );
  const installed = [
    manifest.dependencies,
    manifest.optionalDependencies,
    manifest.peerDependencies,
    manifest.devDependencies,
  ].flatMap((group) => Object.keys(group));

  test('has a line for each package of package.json, and for no other', () => {
    expect(rows.toSorted()).toEqual(installed.toSorted());
  });

  test.each(Object.entries(manifest.dependencies))('%s is pinned', (_, version) => {
    expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  });
});

describe('docs/operating.md', () => {
  const text = page('docs/operating.md');
  test('has every check of the doctor', () => {
    const source = readFileSync(join(ROOT, 'server/cli/checkup.ts'), 'utf8');
    const names = [...source.matchAll(/(?:ok|warn|fail)\('([a-z ]+)',/g)].map(([, name]) => name);
    expect(names.length).toBeGreaterThan(5);
    for (const name of new Set(names)) expect(text).toContain(`\`${name}\``);
  });
});

test('docs/configuration.md is made of the table of settings', () => {
  expect(page('docs/configuration.md')).toBe(formatReference());
  for (const key of Object.keys(SETTINGS)) {
    expect(page('docs/configuration.md')).toContain(`\n## \`${key}\`\n`);
  }
});

describe('docs/decisions/README.md', () => {
  const index = page('docs/decisions/README.md');
  const decisions = PAGES.filter((path) => /decisions\/\d/.test(path));

  test.each(decisions)('lists %s once', (path) => {
    expect(index.split(`(${path.replace('docs/decisions/', '')})`)).toHaveLength(2);
  });
});

describe('docs/formats-http.md', () => {
  const text = page('docs/formats-http.md');

  test.each(
    allRoutes({} as never).map((route) => ({
      method: route.method,
      pattern: shownPattern(route),
    })),
  )('has $method $pattern', ({ method, pattern }) => {
    // Where a parameter has a name of its own in the page, what stands before it is enough.
    const plain = pattern.replace(/\{(id|path\*)\}$/, (name) => (name === '{id}' ? '{' : '…`'));
    const admin = pattern.replace('/v1/admin/', '');
    const shown =
      admin !== pattern
        ? `| ${method} \`${admin}\` |`
        : method === 'GET'
          ? `\`${plain}`
          : `\`${method} ${plain}\``;
    expect(text.includes(shown), shown).toBe(true);
  });
});

describe('docs/concepts.md', () => {
  const text = page('docs/concepts.md');
  const leaves = [...'abcdefg'].map((letter) => leafHash(utf8(letter)));

  /** The root of leaves [begin, end), as the page draws it. */
  function root(begin: number, end: number): Hash {
    const first = leaves[begin];
    if (end - begin === 1 && first !== undefined) return first;
    const half = 2 ** Math.ceil(Math.log2(end - begin) - 1);
    return nodeHash(root(begin, begin + half), root(begin + half, end));
  }

  function shortened(hash: Hash): string {
    return Buffer.from(hash).toString('hex').slice(0, 4);
  }

  test.each([
    ...[
      'entry',
      'statement',
      'record',
      'gateway',
      'source',
      'window',
      'repeat',
      'gap',
      'heartbeat',
    ],
    ...['leaf', 'leaf hash', 'leaf index', 'node', 'root', 'tree size', 'perfect', 'ephemeral'],
    ...['compact range', 'right edge', 'inclusion proof', 'consistency proof', 'split view'],
    ...['head', 'checkpoint', 'origin', 'batch', 'published', 'verifier key', 'key ID', 'key name'],
    ...['witnesses', 'cosign', 'policy', 'groups', 'quorum', 'anchor', 'identity'],
    ...['tile', 'partial', 'width', 'bundle', 'receipt', 'disclosure', 'vault'],
    ...['pushback', 'audit', 'trust file', 'admission rules'],
  ])('explains: %s', (word) => {
    const said = [...text.matchAll(/\*\*([^*]+)\*\*/g)].map(([, bold = '']) =>
      bold.toLowerCase().replace(/\s+/g, ' '),
    );
    expect(said).toContain(word.toLowerCase());
  });

  test('draws the tree of seven with its own hashes', () => {
    const drawn = /^level 3[\s\S]*?^leaf index/m.exec(text)?.[0] ?? '';
    const nodes = [...leaves, root(0, 2), root(2, 4), root(4, 6), root(0, 4), root(4, 7)];
    for (const node of [...nodes, root(0, 7)]) expect(drawn).toContain(shortened(node));
    expect(text).toContain(Buffer.from(root(0, 7)).toString('base64').slice(0, 8));
  });

  test('shows the proofs that the code makes', () => {
    const names = (nodes: readonly { readonly level: number; readonly index: number }[]) =>
      nodes.map(({ level, index }) => {
        const width = 2 ** level;
        return shortened(root(index * width, Math.min(7, (index + 1) * width)));
      });
    const inclusion = names(planInclusion(leafIndex(4), treeSize(7)).nodes);
    expect(text).toContain(`proof: ${inclusion.join(', ')}`);
    const consistency = names(planConsistency(treeSize(5), treeSize(7)).nodes);
    expect(text).toContain(`proof: ${consistency.join(', ')}`);
    expect(text).toContain(shortened(root(0, 5)));
  });
});

describe('docs/formats.md', () => {
  const text = page('docs/formats.md');

  test('shows a verifier key that is one', () => {
    const raw = parseHex(
      'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
      'RFC 8032 §7.1, test 1',
    );
    expect(text).toContain(`    ${makeVerifierKey('example.org/logs/a', 1, raw).text}\n`);
  });

  test('shows paths of tiles as they are', () => {
    const index = Math.floor(70_000 / 256);
    const width = 70_000 % 256;
    for (const path of [
      formatTilePath({ kind: 'hashes', level: 0, index, width }),
      formatTilePath({ kind: 'entries', level: 0, index, width }),
      formatTilePath({ kind: 'entries', level: 0, index: 1_234_067, width: 256 }),
    ]) {
      expect(text).toContain(`\`${path}\``);
    }
  });
});

describe('README.md', () => {
  const text = page('README.md');
  const missing = /\*\*What is not here yet\*\*[\s\S]*?\n\n/.exec(text)?.[0] ?? '';

  test('says the release and the supported versions of Node as package.json does', () => {
    expect(text).toContain(`\n${manifest.version}, `);
    expect(manifest.engines.node).toBe('^22.22.2 || ^24.15.0 || >=26');
    expect(text).toContain('22.22.2 or later of 22, 24.15 or later of 24, or 26 and up');
  });

  test('leads to every page of docs/', () => {
    const linked = linksOf(text).map(({ target }) => normalize(target));
    const pages = PAGES.filter((path) => /^docs\/[^/]+$/.test(path));
    const unlinked = pages.filter((path) => !linked.includes(path));
    expect(unlinked).toEqual([]);
  });

  test.each([
    ['feed', '/v1/feed'],
    ['`ct/v1` routes', '/ct/v1/get-sth'],
    ['OTLP', '/ingest/{log}/otlp/v1/traces'],
    ['metrics', '/metrics'],
    ['OpenAPI', '/openapi.json'],
  ])('says that there is no %s as long as there is none', (what, route) => {
    const exists = allRoutes({} as never).some(
      (one) => shownPattern(one).replace('LOG', '') === route,
    );
    expect(missing.includes(what)).toBe(!exists);
  });

  test.each([
    ['monitoring', 'monitor'],
    ['cosignatures', 'witness'],
    ['anchoring', 'anchor'],
    ['backup', 'backup'],
    ['export', 'export'],
    ['evidence', 'evidence'],
  ])('says that there is no %s as long as there is no command %s', (what, command) => {
    expect(missing.includes(what)).toBe(!COMMAND_NAMES.includes(command));
  });

  test('is the only page that lists what is missing', () => {
    const others = PAGES.filter((path) => path !== 'README.md');
    expect(proseOf(text)).toContain('**What is not here yet**');
    for (const path of others) expect(page(path)).not.toContain('**What is not here yet**');
  });
});

describe('numbers', () => {
  const numbered = (folder: string) =>
    readdirSync(join(ROOT, folder)).flatMap((name) => {
      const [, number] = /^(\d{4})[-_]/.exec(name) ?? [];
      return number === undefined ? [] : [{ name, number }];
    });

  test('of decisions are theirs alone, in the heading and in the list', () => {
    const decisions = numbered('docs/decisions');
    expect(new Set(decisions.map(({ number }) => number)).size).toBe(decisions.length);
    for (const { name, number } of decisions) {
      expect(page(`docs/decisions/${name}`)).toMatch(new RegExp(`^# ${number}:? `));
      expect(page('docs/decisions/README.md')).toContain(`| [${number}](${name}) | `);
    }
  });

  test.each(['instance', 'sqlite', 'vault'])('of the migrations of %s have no gap', (schema) => {
    const numbers = numbered(`migrations/${schema}`).map(({ number }) => Number(number));
    expect(numbers.sort((a, b) => a - b)).toEqual(numbers.map((_, i) => i + 1));
  });
});
