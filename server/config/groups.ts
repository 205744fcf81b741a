/** The settings whose members the operator names: upstreams, targets, witnesses' logs. */
import { PER_DAY_MAX } from '../core/log-list.ts';
import { flag, namesOf, oneOf, path, text, url, variable, verifierKeys, whole } from './kinds.ts';
import { type Setting, setting } from './setting.ts';

export const LOG_NAME_FORM = /^[a-z0-9][a-z0-9-]{0,62}$/;
export const LOG_NAME = text('a log name: a-z, 0-9 and -, at most 63', LOG_NAME_FORM);

export const UPSTREAM = {
  url: setting(
    url({ withPath: true }),
    undefined,
    'Base URL. One that ends in /v1 is put in place of PROXY/NAME/v1, any other in place of PROXY/NAME.',
    'see all calls and their keys',
  ),
  log: setting(LOG_NAME, 'default', 'The log its calls go to.', 'write the records elsewhere'),
  posture: setting(
    oneOf('enforce', 'observe', 'strict'),
    'enforce',
    'enforce: a call that cannot be recorded fails. observe: it goes through, and a gap is recorded.\nstrict: as enforce, and a call is made only when the log has the intent to make it.',
    'with observe: let calls through that are not recorded',
  ),
  websocket: setting(
    oneOf('refuse', 'record'),
    'refuse',
    'WebSockets: refuse them, or record who opened one and how long it lasted, and a gap in place of what went over it.',
    'with record: let content through that is not recorded',
  ),
  by_host: setting(
    flag,
    false,
    'Take also calls whose Host is that of url, and forward path and Host as they are, for clients that sign them (AWS).',
    'nothing that the url does not allow',
  ),
  rules: setting(
    path,
    undefined,
    'A file of rules that requests are judged by before they are forwarded: flag, redact or block.',
    'let requests through that should be held back, and change what the provider gets',
  ),
  rules_module: setting(
    path,
    undefined,
    'An ES module that exports judge(request), which judges them after the rules. It runs in the proxy, with\nall that the proxy may do.',
    'run programs as the proxy',
  ),
  key_file: setting(
    path,
    undefined,
    'A file with the provider’s key, one line, not readable by everybody. With a key of any upstream the proxy\nasks its callers for Stele tokens (stele caller). A new file is used from the next call on.',
    'have calls made with another key',
  ),
  key_env: setting(
    variable,
    undefined,
    'The variable that has the provider’s key, in place of a file.',
    'the same, and send another variable’s value to the provider',
  ),
  key_header: setting(
    oneOf('authorization', 'x-api-key', 'api-key', 'x-goog-api-key', 'none'),
    undefined,
    'Where the key goes: authorization, x-api-key, api-key, x-goog-api-key; none for a server that wants no\nkey, whose callers need a Stele token all the same. Default: where the caller had its token.',
    'have calls refused by the provider',
  ),
} as const;

export const REKOR = {
  url: setting(
    url({ withPath: true }),
    undefined,
    'Base URL of a Rekor log.',
    'see how often heads are shown, and answer with nothing',
  ),
  version: setting(whole(1, 2), 2, 'Which of its two interfaces it has: 1 or 2.', 'the same'),
  read_url: setting(
    url({ withPath: true }),
    undefined,
    'Where the checkpoint and the tiles of version 2 are, if that is not url/api/v2.',
    'the same',
  ),
  tsa: setting(
    namesOf('a list of names under tsa, each once', /^[a-z0-9][a-z0-9-]{0,30}$/),
    [],
    'Authorities under tsa that stamp the signature that is sent there: version 2 tells no time itself.',
    'leave its entries without a time',
  ),
} as const;

export const TSA = {
  url: setting(
    url({ withPath: true }),
    undefined,
    'Where the time-stamping authority takes RFC 3161 queries.',
    'see how often heads are shown, and answer with nothing',
  ),
  roots: setting(
    path,
    undefined,
    'A file of the certificates in PEM that its chain has to end in.',
    'have false times believed',
  ),
} as const;

export const WITNESSED = {
  keys: setting(
    verifierKeys,
    undefined,
    'Verifier keys of the log, of which any may sign.',
    'have a false history cosigned as that log’s',
  ),
  origin: setting(
    text('an origin of 1 to 255 characters', /^\P{Cc}{1,255}$/u),
    undefined,
    'Its origin, where that is not the name of its first key.',
    'the same',
  ),
  per_day: setting(
    whole(1, PER_DAY_MAX, 'cosignatures'),
    1_440,
    'Cosignatures that it may have in a day.',
    'keep the log from being witnessed, or the witness busy',
  ),
} as const;

export const COSIGNED = {
  policy: setting(
    path,
    undefined,
    'A witness policy for this log alone, in place of witnesses.policy.',
    'have its heads cosigned by witnesses of his own',
  ),
  fail: setting(
    oneOf('open', 'closed'),
    undefined,
    'As witnesses.fail, for this log alone.',
    'have its heads published that no witness has seen, or stop their publication',
  ),
} as const;

export const PROVIDERS: Readonly<Record<string, string>> = {
  openai: 'https://api.openai.com/v1',
  anthropic: 'https://api.anthropic.com/v1',
};

/** The settings' names, for whoever looks for misspelled ones. */
interface NamedGroup {
  readonly variable: string;
  readonly about: string;
  readonly of: Readonly<Record<string, Setting<unknown>>>;
  readonly examples: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly reserved?: RegExp;
  /** What a name in it is, where that is not 1 to 31 of a-z, 0-9 and -. */
  readonly name?: RegExp;
}

/** Settings whose members the operator names. */
export const GROUPS: Readonly<
  Record<'upstreams' | 'rekor' | 'tsa' | 'witnessed' | 'cosigned', NamedGroup>
> = {
  upstreams: {
    variable: 'UPSTREAM',
    about: 'What the proxy forwards to: http://PROXY/NAME/… goes to the url of NAME.',
    of: UPSTREAM,
    examples: { openai: { url: PROVIDERS.openai }, anthropic: { url: PROVIDERS.anthropic } },
    // Paths of the proxy's own.
    reserved: /^(healthz|readyz|metrics)$/,
  },
  rekor: {
    variable: 'REKOR',
    about: 'Rekor logs that take up the signatures under heads.',
    of: REKOR,
    examples: {
      own: {
        url: 'https://rekor.example.com',
        read_url: 'https://rekor.example.com/api/v2',
        tsa: ['own'],
      },
    },
  },
  tsa: {
    variable: 'TSA',
    about: 'Authorities that stamp heads with a time.',
    of: TSA,
    examples: { own: { url: 'https://tsa.example.com/tsr', roots: 'tsa-roots.pem' } },
  },
  witnessed: {
    variable: 'WITNESSED',
    about: 'Logs that this instance cosigns as a witness, beside those in witness.lists.',
    of: WITNESSED,
    examples: {
      partner: {
        keys: ['log.example.com/audit+90e8f6b7+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs'],
        per_day: 1_440,
      },
    },
  },
  cosigned: {
    variable: 'COSIGNED',
    about: 'Logs with witnesses of their own, by their names.',
    of: COSIGNED,
    examples: { audit: { policy: 'audit-witnesses.txt', fail: 'closed' } },
    name: LOG_NAME_FORM,
  },
};
