/** Settings: where they come from, which holds, and that nothing unknown or wrong is taken. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { unknownVariables } from '../../server/config/read.ts';
import { formatSettings } from '../../server/config/write.ts';
import { type Config, loadConfig, TABLE } from '../../server/config.ts';
import { hasCode } from '../../server/core/errors.ts';

const root = mkdtempSync(join(tmpdir(), 'stele-config-'));
afterAll(() => rmSync(root, { recursive: true }));
let folders = 0;

/** The configuration of a new data folder with this `stele.yaml` and these variables. */
function load(yaml?: string, env: Record<string, string> = {}, flags = {}): Config {
  const data = join(root, `${folders++}`);
  mkdirSync(data);
  if (yaml !== undefined) writeFileSync(join(data, 'stele.yaml'), yaml);
  return loadConfig({ env, cwd: root, data, flags });
}

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (hasCode(error, 'malformed')) return error.message.replaceAll(root, 'ROOT');
    throw error;
  }
  return 'accepted';
}

describe('defaults', () => {
  test('are safe: loopback only, a disk floor, limits set', () => {
    const config = load();
    expect(config.listen).toEqual({ host: '127.0.0.1', port: 8080 });
    expect(config.proxyListen).toEqual({ host: '127.0.0.1', port: 8081 });
    expect(config.limits.diskFloorBytes).toBeGreaterThan(0);
    expect(config.limits.bodyBytes).toBe(2 * 2 ** 30);
    expect(config.upstreams).toEqual([
      {
        name: 'openai',
        url: 'https://api.openai.com/v1',
        log: 'default',
        posture: 'enforce',
        byHost: false,
        websocket: 'refuse',
      },
      {
        name: 'anthropic',
        url: 'https://api.anthropic.com/v1',
        log: 'default',
        posture: 'enforce',
        byHost: false,
        websocket: 'refuse',
      },
    ]);
  });

  test('the data folder is ./stele-data, STELE_DATA, or what the command line says', () => {
    expect(loadConfig({ env: {}, cwd: '/a' }).data).toBe('/a/stele-data');
    expect(loadConfig({ env: { STELE_DATA: 'b' }, cwd: '/a' }).data).toBe('/a/b');
    expect(loadConfig({ env: { STELE_DATA: 'b' }, cwd: '/a', data: '/c' }).data).toBe('/c');
  });

  test('the commented file changes nothing, and every line of it can be switched on', () => {
    const { data: _, callers: _1, ...plain } = load();
    const { data: __, callers: _2, ...commented } = load(formatSettings());
    expect(commented).toEqual(plain);
    const on = formatSettings()
      .split('\n')
      .filter(
        (line) =>
          /^# ( {2})*[a-z_]+:( [^ ]+)?$/.test(line) &&
          !/(public_url|state|threads|tls|cert|key|^# keys|name|origin|bastion|bastion_ca|signer|socket|trusted_root|contact|[a-z]+_file|key_env|key_header|proxy_callers|rules|rules_module|policy|fail|cosigned|audit):/.test(
            line,
          ),
      )
      .map((line) => line.slice(2));
    const { data: ___, callers: _3, ...switchedOn } = load(on.join('\n'));
    expect(on.length).toBeGreaterThan(20);
    // An example of a target is one more.
    const { rekor, tsa, ...anchor } = switchedOn.anchor;
    const { logs, ...witness } = switchedOn.witness;
    expect([rekor.length, tsa.length, logs.length]).toEqual([1, 1, 1]);
    expect({
      ...switchedOn,
      anchor: { rekor: [], tsa: [], ...anchor },
      witness: { logs: [], ...witness },
    }).toEqual(plain);
  });
});

describe('which value holds', () => {
  test('a flag before a variable before the file', () => {
    const yaml = 'listen: 127.0.0.1:1\n';
    expect(load(yaml).listen.port).toBe(1);
    expect(load(yaml, { STELE_LISTEN: '127.0.0.1:2' }).listen.port).toBe(2);
    const flags = { listen: '127.0.0.1:3' };
    expect(load(yaml, { STELE_LISTEN: '127.0.0.1:2' }, flags).listen.port).toBe(3);
  });

  test('a variable replaces one member of an upstream and leaves the others', () => {
    const yaml = 'upstreams: {local: {url: "http://127.0.0.1:9/v1", log: team, posture: observe}}';
    const env = { STELE_UPSTREAM_LOCAL: 'http://127.0.0.1:8/v1', STELE_UPSTREAM_OPENAI_LOG: 'b' };
    const { upstreams } = load(yaml, env);
    expect(upstreams.find((u) => u.name === 'local')).toEqual({
      name: 'local',
      url: 'http://127.0.0.1:8/v1',
      log: 'team',
      posture: 'observe',
      byHost: false,
      websocket: 'refuse',
    });
    expect(upstreams.find((u) => u.name === 'openai')?.log).toBe('b');
  });

  test('an upstream that goes by its host has no path', () => {
    const env = {
      STELE_UPSTREAM_AWS: 'https://bedrock-runtime.us-east-1.amazonaws.com',
      STELE_UPSTREAM_AWS_BY_HOST: 'true',
    };
    expect(load('', env).upstreams.find((u) => u.name === 'aws')?.byHost).toBe(true);
    const wrong = { ...env, STELE_UPSTREAM_AWS: 'https://bedrock.example/base' };
    expect(() => load('', wrong)).toThrow('upstreams.aws.url: "https://bedrock.example/base" has');
  });

  test('a member of two words has a variable', () => {
    const url = 'https://rekor.example/api/v2';
    const env = { STELE_REKOR_OWN: 'https://rekor.example', STELE_REKOR_OWN_READ_URL: url };
    expect(load('', env).anchor.rekor[0]).toMatchObject({ name: 'own', readUrl: url });
  });

  test('a key of an upstream puts the proxy in custody of it, and lets it listen to a network', () => {
    const env = {
      STELE_PROXY_LISTEN: '0.0.0.0:1',
      STELE_UPSTREAM_MY_MODELS: 'http://127.0.0.1:8/v1',
      STELE_UPSTREAM_MY_MODELS_KEY_FILE: 'models.key',
      STELE_UPSTREAM_MY_MODELS_KEY_HEADER: 'api-key',
      STELE_UPSTREAM_OPENAI_KEY_ENV: 'OPENAI_API_KEY',
    };
    const { upstreams, custody, callers, data } = load(undefined, env);
    expect(custody).toBe(true);
    expect(callers).toBe(join(data, 'callers.json'));
    expect(upstreams.find((u) => u.name === 'my-models')).toMatchObject({
      keyFile: join(root, 'models.key'),
      keyHeader: 'api-key',
    });
    expect(upstreams.find((u) => u.name === 'openai')?.keyEnv).toBe('OPENAI_API_KEY');
    expect(load().custody).toBe(false);
    expect(load('upstreams: {openai: {key_header: none}}').custody).toBe(true);
  });

  test('targets are named in the file, in variables, or in both', () => {
    const yaml = 'tsa: {one: {url: "http://127.0.0.1:9/tsr", roots: roots.pem}}';
    const env = {
      STELE_REKOR_OWN_LOG: 'http://127.0.0.1:8',
      STELE_REKOR_OWN_LOG_TSA: 'one',
      STELE_REKOR_OWN_LOG_VERSION: '1',
      STELE_TSA_ONE: 'http://127.0.0.1:7/tsr',
    };
    const { rekor, tsa } = load(yaml, env).anchor;
    expect(rekor).toEqual([
      { name: 'own-log', url: 'http://127.0.0.1:8', version: 1, tsa: ['one'] },
    ]);
    expect(tsa).toEqual([
      {
        name: 'one',
        url: 'http://127.0.0.1:7/tsr',
        roots: expect.stringMatching(/^\/.*roots\.pem$/),
      },
    ]);
  });

  test('a log has witnesses of its own, whatever its name', () => {
    const name = `${'a'.repeat(60)}-26`;
    const { witnesses } = load(`cosigned: {${name}: {policy: own.txt}}`, {
      STELE_WITNESSES_POLICY: 'all.txt',
      STELE_COSIGNED_TEAM_A_FAIL: 'closed',
      STELE_WITNESSES_RATES: 'w.example/1=24,v.example=2',
    });
    const at = (path: string | undefined) => path?.split('/').at(-1);
    expect(at(witnesses.policy)).toBe('all.txt');
    expect(witnesses.fail).toBe('open');
    expect([...witnesses.rates]).toEqual([
      ['w.example/1', 24],
      ['v.example', 2],
    ]);
    expect(witnesses.of.map(({ log, policy, fail }) => [log, at(policy), fail])).toEqual([
      [name, 'own.txt', undefined],
      ['team-a', undefined, 'closed'],
    ]);
  });

  test('numbers, lists and truth values are read from text in variables', () => {
    const config = load(undefined, {
      STELE_LIMITS_BODY_BYTES: '7',
      STELE_GUARD_REQUIRE: 'high-water',
      STELE_TRUSTED_PROXIES: '127.0.0.1,2001:db8::/48',
      STELE_PROXY_LISTEN: '0.0.0.0:1',
      STELE_PROXY_BEYOND_LOOPBACK: 'true',
    });
    expect(config.trustedProxies).toEqual([
      { address: '127.0.0.1', family: 'ipv4', prefix: 32 },
      { address: '2001:db8::', family: 'ipv6', prefix: 48 },
    ]);
    expect(config.limits.bodyBytes).toBe(7);
    expect(config.guardRequire).toEqual(['high-water']);
  });
});

describe('refusals name the place, the value and the rule', () => {
  const refused: Record<string, [string | undefined, Record<string, string>, string]> = {
    'an unknown key': ['lisen: 127.0.0.1:1', {}, '"lisen" is not a setting; did you mean listen?'],
    'an unknown key in a group': ['limits: {bodies: 1}', {}, '"limits.bodies" is not a setting'],
    'a key given twice': ['listen: "127.0.0.1:1"\nlisten: "127.0.0.1:2"', {}, 'must be unique'],
    'a group that is no map': ['limits: 5', {}, 'limits is not a map of settings'],
    'no YAML': ['a: [', {}, 'stele.yaml: '],
    'a number out of bounds': [
      'limits: {body_bytes: 0}',
      {},
      '"0" is not a whole number from 1 to',
    ],
    'a number in words': [undefined, { STELE_LIMITS_BODY_BYTES: '2GB' }, '"2GB" is not a whole'],
    'no port': [
      undefined,
      { STELE_LISTEN: '8080' },
      'STELE_LISTEN: listen: "8080" is not HOST:PORT',
    ],
    'a port that is none': [undefined, { STELE_LISTEN: 'a:70000' }, 'is not HOST:PORT'],
    'an address with a path': ['public_url: https://a/b', {}, 'without a path'],
    'an address with a password': ['public_url: https://u:p@a', {}, 'without a path'],
    'another scheme': [undefined, { STELE_UPSTREAM_OPENAI: 'file:///etc' }, 'is not an http'],
    'a url under its own name': [
      undefined,
      { STELE_UPSTREAM_MY_MODELS_URL: 'http://a' },
      'STELE_UPSTREAM_MY_MODELS_URL: is not a setting; upstreams.my-models.url is STELE_UPSTREAM_MY_MODELS',
    ],
    'an upstream without a url': ['upstreams: {x: {log: a}}', {}, 'upstreams.x.url: is missing'],
    'a target without a url': ['rekor: {x: {version: 1}}', {}, 'rekor.x.url: is missing'],
    'an authority without roots': ['tsa: {x: {url: "http://a"}}', {}, 'tsa.x.roots: is missing'],
    'a target with an unknown authority': [
      'rekor: {x: {url: "http://a", tsa: [y]}}',
      {},
      'rekor.x.tsa: "y" is not one of those under tsa',
    ],
    'a third version': ['rekor: {x: {url: "http://a", version: 3}}', {}, 'rekor.x.version: "3" '],
    'an upstream with a bad name': ['upstreams: {X_Y: {url: "http://a"}}', {}, '"upstreams.X_Y"'],
    'a log name that is none': [
      undefined,
      { STELE_UPSTREAM_OPENAI_LOG: '_x' },
      'is not a log name',
    ],
    'a proxy for everyone': [
      undefined,
      { STELE_PROXY_LISTEN: '0.0.0.0:1' },
      'proxy_beyond_loopback',
    ],
    'two keys for one upstream': [
      'upstreams: {openai: {key_file: a, key_env: B}}',
      {},
      'upstreams.openai.key_env: is set, and key_file too',
    ],
    'a key where none is wanted': [
      'upstreams: {openai: {key_file: a, key_header: none}}',
      {},
      'upstreams.openai.key_header: "none", and there is a key',
    ],
    'a key in place of a variable’s name': [
      'upstreams: {openai: {key_env: "sk-x"}}',
      {},
      'upstreams.openai.key_env: what is written here is not the name of a variable',
    ],
    'a certificate without its key': ['tls: {cert: a.pem}', {}, 'tls.key: is missing'],
    'a key without its certificate': [undefined, { STELE_TLS_KEY: 'a' }, 'tls.cert: is missing'],
    'a proxy that is a name': ['trusted_proxies: [proxy.example]', {}, 'addresses or networks'],
    'a network of everybody': ['trusted_proxies: [0.0.0.0/0]', {}, 'addresses or networks'],
    'a network that is too narrow': ['trusted_proxies: [10.0.0.0/33]', {}, 'addresses or networks'],
    'a proxy that is no list': ['trusted_proxies: 7', {}, 'addresses or networks'],
    'a proxy that is empty': ['trusted_proxies: [""]', {}, 'addresses or networks'],
    'more proxies than are kept': [
      undefined,
      { STELE_TRUSTED_PROXIES: Array(257).fill('127.0.0.1').join() },
      'at most 256',
    ],
    'a quorum that is waited for, of nobody': [
      'witnesses: {fail: closed}',
      {},
      'witnesses.policy: is missing, and witnesses.fail is closed',
    ],
    'a log that waits for a quorum of nobody': [
      undefined,
      { STELE_COSIGNED_AUDIT_FAIL: 'closed' },
      'cosigned.audit.policy: is missing, and so is witnesses.policy',
    ],
    'a rate beyond all': [
      undefined,
      { STELE_WITNESSES_RATES: 'w.example=86401' },
      '"w.example=86401" is more than 86400 times a day',
    ],
    'a rate of nothing': ['witnesses: {rates: ["w.example=0"]}', {}, 'NAME=TIMES'],
    'a witnessed log that has no name': ['cosigned: {A_b: {policy: a}}', {}, '"cosigned.A_b"'],
    'an empty value': ['listen:', {}, '"null" is not HOST:PORT'],
  };
  test.for(Object.entries(refused))('%s', ([, [yaml, env, message]]) => {
    expect(refusal(() => load(yaml, env))).toContain(message);
  });

  test('a file that is named must exist', () => {
    expect(() => loadConfig({ env: {}, cwd: root, file: 'none.yaml' })).toThrow(/no such file/);
  });
});

test('a misspelled variable is named; those of Kubernetes and of the commands are not', () => {
  expect(
    unknownVariables(TABLE, {
      STELE_PUBLIC_URI: '',
      STELE_PUBLIC_URL: '',
      STELE_TOKEN_FILE: '',
      STELE_MONITOR_WEBHOOK: '',
      STELE_LOG: '',
      STELE_UPSTREAM_X: '',
      STELE_SERVICE_HOST: '',
      STELE_PORT_8080_TCP_ADDR: '',
      PATH: '',
    }),
  ).toEqual(['STELE_PUBLIC_URI is not a setting; did you mean STELE_PUBLIC_URL?']);
});
