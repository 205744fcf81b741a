/** The project's pages, and what is in them: code blocks, links, headings, names of files. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Every page, as a path from the project's folder. Fixtures of others are not ours to write. */
export const PAGES: readonly string[] = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
].sort();

export function page(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

export interface Block {
  /** What stands behind the fence: `sh run`, `js file=call.mjs`, `text output`. */
  readonly info: string;
  readonly text: string;
  /** The line of the fence, from 1. */
  readonly line: number;
}

/** The fenced blocks of a page. */
export function blocksOf(text: string): readonly Block[] {
  const blocks: Block[] = [];
  let open: { info: string; line: number; lines: string[] } | undefined;
  for (const [i, line] of text.split('\n').entries()) {
    if (!line.startsWith('```')) open?.lines.push(line);
    else if (open === undefined) open = { info: line.slice(3).trim(), line: i + 1, lines: [] };
    else {
      blocks.push({ info: open.info, line: open.line, text: `${open.lines.join('\n')}\n` });
      open = undefined;
    }
  }
  if (open !== undefined) throw new Error(`the block of line ${open.line} has no end`);
  return blocks;
}

/** The text without its code, in which links and names are looked for. */
export function proseOf(text: string): string {
  return text.replace(/^```[^\n]*\n[\s\S]*?^```$/gm, '').replace(/`[^`\n]*`/g, '');
}

export interface Link {
  readonly target: string;
  readonly anchor: string | undefined;
}

/** Links to places in the project; addresses elsewhere are left out. */
export function linksOf(text: string): readonly Link[] {
  return [...proseOf(text).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, href = '']) => href)
    .filter((href) => !/^[a-z]+:/.test(href))
    .map((href) => {
      const [target = '', anchor] = href.split('#', 2);
      return { target, anchor };
    });
}

/** The anchors that headings give, as GitHub makes them. */
export function anchorsOf(text: string): ReadonlySet<string> {
  const headings = text.replace(/^```[^\n]*\n[\s\S]*?^```$/gm, '').matchAll(/^#{1,6} (.+)$/gm);
  return new Set(
    [...headings].map(([, title = '']) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** Names of files and folders of the project, as pages write them: in backquotes, from its folder. */
export function pathsOf(text: string): readonly string[] {
  const names = [...text.matchAll(/`([^`\n]+)`/g)].map(([, name = '']) => name);
  const folders = /^(server|test|docs|proto|migrations)\/[A-Za-z0-9_./-]*$/;
  return [...new Set(names.filter((name) => folders.test(name)))];
}
