/**
 * The text of `docs/configuration.md`: every setting in the order of `stele.yaml`, from the same table that
 * values are checked by.
 */
import { GROUPS } from './groups.ts';
import type { Kind } from './kinds.ts';
import { variableOf } from './read.ts';
import { SETTINGS } from './settings.ts';

interface Row {
  readonly key: string;
  readonly variable: string;
  readonly kind: Pick<Kind<unknown>, 'rule' | 'unit'>;
  readonly default: unknown;
  readonly about: string;
  readonly power: string;
}

const HEAD = `# Configuration

Every setting. This page is made from the tables in \`server/config/\` by \`npm run gen\`; [operating](operating.md#settings) says how settings are given.
`;

export function formatReference(): string {
  const rows: Row[] = [
    ...Object.entries(SETTINGS).map(([key, setting]) => ({
      ...setting,
      key,
      variable: variableOf(key),
    })),
    ...Object.entries(GROUPS).flatMap(([group, { variable, of }]) =>
      Object.entries(of).map(([member, setting], i) => ({
        ...setting,
        key: `${group}.NAME.${member}`,
        variable: variableOf(i === 0 ? `${variable}.NAME` : `${variable}.NAME.${member}`),
      })),
    ),
  ];
  return [HEAD, listOf(rows), ...rows.map(section)].join('\n');
}

function listOf(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const anchor = row.key.replaceAll('.', '').toLowerCase();
    return `| [\`${row.key}\`](#${anchor}) | ${shownDefault(row)} | ${row.kind.unit ?? ''} |`;
  });
  return `${['| setting | default | unit |', '|---|---|---|', ...lines].join('\n')}\n`;
}

function section(row: Row): string {
  const { key, variable, kind, about, power } = row;
  const unit = kind.unit === undefined ? '' : ` (${kind.unit})`;
  return `## \`${key}\`

${about.replaceAll('\n', ' ')}

| | |
|---|---|
| variable | \`${variable}\` |
| default | ${shownDefault(row)} |
| must be | ${kind.rule}${unit} |
| who controls it could | ${power} |
`;
}

function shownDefault({ default: standard }: Row): string {
  if (standard === undefined) return '–';
  return `\`${typeof standard === 'string' ? standard : JSON.stringify(standard)}\``;
}
