/**
 * The `stele.yaml` of a new data folder: every setting with its default, commented out, so that the
 * file says what there is to change and changes nothing.
 */
import { PROVIDERS, SETTINGS, UPSTREAM } from '../config.ts';
import { variableOf } from './read.ts';

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
  return `${[...parts, upstreams()].join('\n\n')}\n`;
}

function upstreams(): string {
  const members = Object.entries(UPSTREAM)
    .map(([name, { about }]) => commented(`${name}: ${about}`))
    .join('\n');
  const listed = Object.entries(PROVIDERS).flatMap(([name, url]) => [
    `#   ${name}:`,
    `#     url: ${url}`,
    `#     log: ${UPSTREAM.log.default}`,
    `#     posture: ${UPSTREAM.posture.default}`,
  ]);
  return [
    commented(
      'What the proxy forwards to: http://PROXY/NAME/… goes to the url of NAME.\n[STELE_UPSTREAM_NAME, STELE_UPSTREAM_NAME_LOG, STELE_UPSTREAM_NAME_POSTURE]',
    ),
    members,
    '# upstreams:',
    ...listed,
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

function shownAsYaml(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
