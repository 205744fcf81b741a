/**
 * The `stele.yaml` of a new data folder: every setting with its default, commented out, so that the
 * file says what there is to change and changes nothing.
 */
import { GROUPS } from './groups.ts';
import { variableOf } from './read.ts';
import { SETTINGS } from './settings.ts';

const PLAIN = /^[A-Za-z0-9/][A-Za-z0-9._:/-]*$/;

export function formatSettings(): string {
  const parts = [
    '# Settings of this Stele server. What is commented out is the default.\n# Each can be given as a variable too, which then holds: its name is in brackets.',
  ];
  let group = '';
  for (const [key, { about, default: standard }] of Object.entries(SETTINGS)) {
    const [first = '', member] = key.split('.');
    const comment = `${about}\n[${variableOf(key)}]`;
    if (member === undefined) parts.push(`${commented(comment)}\n${line(first, standard, '# ')}`);
    else {
      const opening = group === first ? '' : `# ${first}:\n`;
      parts.push(`${opening}${commented(comment, '  ')}\n${line(member, standard, '#   ')}`);
    }
    group = first;
  }
  const groups = Object.keys(GROUPS) as (keyof typeof GROUPS)[];
  return `${[...parts, ...groups.map(groupText)].join('\n\n')}\n`;
}

/** A group whose members the operator names: what each member is, and an example of one. */
function groupText(key: keyof typeof GROUPS): string {
  const { about, variable, of, examples } = GROUPS[key];
  const [, ...others] = Object.keys(of);
  const variables = ['NAME', ...others.map((member) => `NAME_${member.toUpperCase()}`)];
  return [
    commented(`${about}\n[${variables.map((name) => `STELE_${variable}_${name}`).join(', ')}]`),
    ...Object.entries(of).map(([member, setting]) => commented(`${member}: ${setting.about}`)),
    `# ${key}:`,
    ...Object.entries(examples).flatMap(([name, example]) => [
      `#   ${name}:`,
      ...Object.entries(of).map(([member, setting]) =>
        line(member, example[member] ?? setting.default, '#     '),
      ),
    ]),
  ].join('\n');
}

function commented(text: string, indent = ''): string {
  return text
    .split('\n')
    .map((row) => `# ${indent}${row}`)
    .join('\n');
}

function line(key: string, standard: unknown, indent: string): string {
  return `${indent}${key}:${standard === undefined ? '' : ` ${shownAsYaml(standard)}`}`;
}

/** In quotes where YAML would read something else. */
function shownAsYaml(value: unknown): string {
  return typeof value === 'string' && PLAIN.test(value) ? value : JSON.stringify(value);
}
