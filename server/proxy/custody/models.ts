/**
 * Which models does a call name, and may this caller use them?
 *
 * Judged before anything is forwarded, from the bytes that the provider will read. A model is in the path
 * (Azure's deployments, Gemini, Bedrock) or in the member `model` of a JSON body, or in both: every one that
 * is named has to be allowed. A body is read as it comes, in pieces and with a few bytes of memory, since
 * large ones are not kept.
 *
 * A reader that keeps the first of two members and one that keeps the last, one that takes `Model` for
 * `model`, a body that only some readers take for JSON: each is a way to show us one model and the provider
 * another. So all spellings and repetitions count, and what is not plain JSON is not let through at all.
 */
import { SteleError, shown } from '../../core/errors.ts';
import { decodeContent, isIdentity } from '../decode.ts';
import { headerValue, type RawHeaders } from '../headers.ts';
import { PARSE_BYTES_MAX } from '../record.ts';
import { folded, type Member, MemberScan } from './member-scan.ts';

const NAMES = ['model', 'models', 'fallbacks'];

const IN_PATH: readonly RegExp[] = [
  // [Azure OpenAI REST reference] https://HOST/openai/deployments/NAME/…
  /\/deployments\/([^/]+)/,
  // [Gemini API] models/NAME:generateContent; [OpenAI] models/NAME
  /\/models\/([^/:]+(?:\/[^/:]+)*?)(?::[a-zA-Z]+)?$/,
  // [Bedrock Runtime] model/ID/converse
  /\/model\/([^/]+)\//,
];

/** Names of models are inside files and lists there. */
const UNJUDGED = /\/(?:batches|threads|assistants)(?:\/|$)/;

const NO_BODY: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'DELETE']);

/** One call's models, gathered while its body passes. */
export class ModelGate {
  readonly #allowed: readonly string[];
  readonly #method: string;
  readonly #path: string;
  readonly #raw: RawHeaders;
  readonly #scan = new MemberScan(NAMES);

  constructor(
    allowed: readonly string[],
    call: { readonly method: string; readonly target: string; readonly headers: RawHeaders },
  ) {
    this.#allowed = allowed;
    this.#method = call.method;
    this.#path = call.target.split('?', 1)[0] ?? '';
    this.#raw = call.headers;
  }

  push(chunk: Uint8Array): void {
    this.#scan.push(chunk);
  }

  /** Throws `forbidden` unless every model that is named is allowed. `body` is the whole, where it is in memory. */
  check(body: Uint8Array | undefined): void {
    const inPath = modelsInPath(this.#path);
    for (const model of inPath) this.#checkOne(model);
    if (NO_BODY.has(this.#method) && this.#scan.isEmpty) return;
    if (UNJUDGED.test(this.#path)) {
      throw refused(`path: the models that ${shown(this.#path)} uses cannot be told`);
    }
    this.#checkMembers(this.#members(body));
  }

  #checkMembers(members: readonly Member[] | undefined): void {
    if (members === undefined) {
      throw refused('request: its model cannot be told: the body is not a plain JSON object');
    }
    for (const { name, text } of members) {
      const isOne = folded(name) === 'model';
      if (!isOne || text === undefined) {
        throw refused(
          `request: the member ${shown(name)} names models in another way than by one text`,
        );
      }
      this.#checkOne(text);
    }
    const count = members.length + modelsInPath(this.#path).length;
    if (count === 0) throw refused('request: it names no model');
  }

  /** The same of a body that goes on in place of the one that came. */
  checkForwarded(body: Uint8Array): void {
    const scan = new MemberScan(NAMES);
    scan.push(body);
    this.#checkMembers(scan.end());
  }

  #members(body: Uint8Array | undefined) {
    const codings = this.#raw.filter((one, i) => i % 2 === 0 && /^content-encoding$/i.test(one));
    if (codings.length > 1) return undefined;
    const coding = headerValue(this.#raw, 'content-encoding');
    if (isIdentity(coding)) return this.#scan.end();
    const plain = body && decodeContent(body, coding, PARSE_BYTES_MAX);
    if (plain === undefined) return undefined;
    const scan = new MemberScan(NAMES);
    scan.push(plain);
    return scan.end();
  }

  #checkOne(model: string): void {
    if (this.#allowed.some((pattern) => fits(pattern, model))) return;
    throw refused(`model ${shown(model)} is not one of those that this token is for`);
  }
}

export function modelsInPath(path: string): string[] {
  return IN_PATH.flatMap((form) => {
    const found = form.exec(path)?.[1];
    if (found === undefined) return [];
    try {
      return [decodeURIComponent(found)];
    } catch {
      throw refused(`path: ${shown(found)} is not the name of a model`);
    }
  });
}

/** Exactly, or as far as the star. */
export function fits(pattern: string, model: string): boolean {
  return pattern.endsWith('*') ? model.startsWith(pattern.slice(0, -1)) : pattern === model;
}

function refused(message: string): SteleError {
  return new SteleError('forbidden', message);
}
