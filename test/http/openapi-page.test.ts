/** `/openapi.json` and `/docs` as they are served, and the page that is made of the document. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { describeApi } from '../../server/http/openapi/document.ts';
import { html } from '../../server/http/openapi/html.ts';
import { formatPage } from '../../server/http/openapi/page.ts';
import { allRoutes } from '../../server/http/routes/all.ts';
import { placesOf } from './api.ts';
import { type Answer, World } from './world.ts';

let world: World;
let answer: Answer;
let page: Answer;

beforeAll(async () => {
  world = await World.start();
  answer = await world.get('/openapi.json');
  page = await world.get('/docs');
});

afterAll(() => world.stop());

const routes = allRoutes({} as never);
/** As programs get it. */
const document: unknown = JSON.parse(JSON.stringify(describeApi(routes, '0.0.0')));
const places = placesOf(document);

describe('GET /openapi.json and /docs', () => {
  test('are open to strangers, kept only to be asked for again', async () => {
    for (const [path, of, type] of [
      ['/openapi.json', answer, 'application/json'],
      ['/docs', page, 'text/html; charset=utf-8'],
    ] as const) {
      expect(of.status).toBe(200);
      expect(of.headers['content-type']).toBe(type);
      expect(of.headers['cache-control']).toBe('no-cache');
      expect(of.headers['content-length']).toBe(String(of.bytes.length));
      expect(of.headers['x-content-type-options']).toBe('nosniff');
      const { etag = '' } = of.headers;
      const again = await world.get(path, { headers: { 'if-none-match': etag } });
      expect([again.status, again.bytes.length, again.headers.etag]).toEqual([304, 0, etag]);
      const head = await world.ask('HEAD', path);
      expect([head.status, head.bytes.length]).toEqual([200, 0]);
      expect(head.headers['content-length']).toBe(String(of.bytes.length));
      const known = await world.get(path, { token: world.token({ roles: ['read'] }) });
      expect([known.text, known.headers['cache-control']]).toEqual([of.text, 'no-cache']);
    }
  });

  test('the document is that of the routes', () => {
    expect(answer.json()).toEqual(document);
  });

  test('need no room among the large answers', async () => {
    const small = await World.start({ settings: { answerBytesMax: 0 } });
    expect((await small.get('/openapi.json')).bytes.length).toBeGreaterThan(65_536);
    await small.stop();
  });
});

describe('the page', () => {
  test('may use its own style and nothing else', () => {
    const style = /<style>([\s\S]*?)<\/style>/.exec(page.text)?.[1] ?? '';
    const hash = createHash('sha256').update(style).digest('base64');
    expect(page.headers['content-security-policy']).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    );
    expect(style.length).toBeGreaterThan(1000);
    expect(style).not.toMatch(/@import|url\(/);
    expect(page.text).not.toMatch(/<script|<link|<img|<iframe|\sstyle=|\son[a-z]+=/i);
    expect(page.text).not.toMatch(/(?:href|src)="(?!#|openapi\.json")/);
  });

  test('shows every operation once, and its links lead to places in it', () => {
    const ids = [...page.text.matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(expect.arrayContaining(places.map(({ id }) => id)));
    for (const [, id] of page.text.matchAll(/href="#([^"]+)"/g)) expect(ids).toContain(id);
  });

  test('opens and closes its elements in order', () => {
    const open: string[] = [];
    for (const [, close, name = ''] of page.text.matchAll(/<(\/?)([a-z][a-z0-9]*)(?:\s[^>]*)?>/g)) {
      if (['meta', 'wbr'].includes(name)) continue;
      if (close === '') open.push(name);
      else expect(open.pop()).toBe(name);
    }
    expect(open).toEqual([]);
  });

  test('escapes what it is given', () => {
    const made = describeApi(routes, '<b onload="x">&\'');
    expect(formatPage(made)).toContain('&lt;b onload=&quot;x&quot;&gt;&amp;&#39;');
    expect(formatPage(made)).not.toContain('<b onload');
  });

  test('is made by templates that escape what is text, and keep what is HTML', () => {
    expect(html`<i>${'<'}${html`<b>${'&'}</b>`}${['"', 1]}${undefined}</i>`.text).toBe(
      '<i>&lt;<b>&amp;</b>&quot;1</i>',
    );
  });
});
