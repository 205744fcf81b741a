/**
 * Which models does a call name, and may this caller use them?
 *
 * Judged before anything is forwarded, from the bytes that the provider will read. A model is in the path
 * (Azure's deployments, Gemini, Bedrock, endpoints) or in the member `model` of a JSON body, or in both: every one
 * that is named has to be allowed, those of tools and of what else is below the first level too. What is said to
 * the model names none. A body is read as it comes, in pieces and with a few bytes of memory, since large ones
 * are not kept.
 *
 * A reader that keeps the first of two members and one that keeps the last, one that takes `Model` for
 * `model`, a body that only some readers take for JSON: each is a way to show us one model and the provider
 * another. So all spellings and repetitions count, and what is not plain JSON is not let through at all.
 */
import { SteleError, shown } from '../../core/errors.ts';
import { decodeContent, isIdentity } from '../decode.ts';
import { hasOtherCharset, headerValues, type RawHeaders } from '../headers.ts';
import { plainPath } from '../plain-path.ts';
import { PARSE_BYTES_MAX } from '../record.ts';
import { folded, type Member, MemberScan } from './member-scan.ts';

/** A member `model` names one. The others name more by rules of their own, and are not let through. */
const NAMES = [
  'model',
  'models',
  'fallbacks',
  // [LiteLLM, request body]
  'context_window_fallbacks',
  'content_policy_fallbacks',
  'user_config',
];

/** Lists of what is said to the model: what is in there may have a member `model` that names none. */
const CONTENT = ['messages', 'contents', 'input'];

const IN_PATH: readonly RegExp[] = [
  // [Azure OpenAI REST reference] https://HOST/openai/deployments/NAME/…; engines/NAME before that
  /\/(?:deployments|engines)\/([^/]+)/i,
  // [Gemini API] models/NAME:generateContent; [OpenAI] models/NAME
  /\/models\/(.+?)(?::[a-z]+)?$/i,
  // [Gemini API] tunedModels/NAME:generateContent; [Vertex AI] endpoints/ID:predict
  /^(?!.*\/models\/).*\/([^/]+):[a-z]+$/i,
  // [Bedrock Runtime] model/ID/converse
  /\/model\/([^/]+)(?:\/|$)/i,
  // [Vertex AI, endpoints] endpoints/ID/chat/completions; with openapi the model is in the body
  /\/endpoints\/(?!openapi\/)([^/:]+)/i,
  // [Databricks, Model Serving] serving-endpoints/NAME/invocations, NAME/served-models/NAME/invocations;
  // beside them what other providers' clients call, with the model in the body
  /\/serving-endpoints\/(?!(?:chat\/completions|completions|embeddings|responses)$)([^/]+)/i,
  /\/served-models\/([^/]+)/i,
  // [Cloudflare, Workers AI] ai/run/MODEL
  /\/ai\/run\/(.+)$/i,
];

/** What some servers take for a slash, or leave out, beside a word that a model is found by. */
const BLURRED = (() => {
  const word =
    '(?:deployments|engines|(?:served-)?models?|(?:serving-)?endpoints|run|batches|threads|assistants|api)';
  const edge = '(?:[\\\\;]|%2f|%3b|%5c)';
  return new RegExp(`(?:/|${edge})${word}${edge}|${edge}${word}(?:/|$)`, 'i');
})();

/** Names of models are inside files and lists there, or what a name stands for is changed. */
const UNJUDGED = /\/(?:batches|threads|assistants|api\/(?:copy|create|delete|pull|push))(?:\/|$)/i;

/** What is read by rules of its own. */
const FORM = /form|multipart/i;

const NO_BODY: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'DELETE']);

/** One call's models, gathered while its body passes. */
export class ModelGate {
  readonly #allowed: readonly string[];
  readonly #method: string;
  readonly #path: string;
  readonly #query: string;
  readonly #raw: RawHeaders;
  readonly #scan = new MemberScan(NAMES, CONTENT);

  constructor(
    allowed: readonly string[],
    call: { readonly method: string; readonly target: string; readonly headers: RawHeaders },
  ) {
    this.#allowed = allowed;
    this.#method = call.method;
    const [path = '', ...query] = call.target.split('?');
    this.#path = path;
    this.#query = query.join('&');
    this.#raw = call.headers;
  }

  push(chunk: Uint8Array): void {
    this.#scan.push(chunk);
  }

  /** Throws `forbidden` unless every model that is named is allowed. `body` is the whole, where it is in memory. */
  check(body: Uint8Array | undefined): void {
    const path = checkedPath(this.#path);
    for (const model of [...modelsInPath(path), ...modelsInQuery(this.#query)]) {
      this.#checkOne(model);
    }
    if (NO_BODY.has(this.#method) && this.#scan.isEmpty) return;
    if (UNJUDGED.test(path)) {
      throw refused(`path: the models that ${shown(this.#path)} uses cannot be told`);
    }
    const isForm = headerValues(this.#raw, 'content-type').some((type) => FORM.test(type));
    if (isForm || hasOtherCharset(this.#raw)) {
      throw refused('content-type: the model can be told of application/json in UTF-8 only');
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
    const inBody = members.filter(({ isNested }) => !isNested);
    if (inBody.length + modelsInPath(checkedPath(this.#path)).length === 0)
      throw refused('request: it names no model');
  }

  /** The same of a body that goes on in place of the one that came. */
  checkForwarded(body: Uint8Array): void {
    const scan = new MemberScan(NAMES, CONTENT);
    scan.push(body);
    this.#checkMembers(scan.end());
  }

  #members(body: Uint8Array | undefined) {
    const [coding, another] = headerValues(this.#raw, 'content-encoding');
    if (another !== undefined) return undefined;
    if (isIdentity(coding)) return this.#scan.end();
    const plain = body && decodeContent(body, coding, PARSE_BYTES_MAX);
    if (plain === undefined) return undefined;
    const scan = new MemberScan(NAMES, CONTENT);
    scan.push(plain);
    return scan.end();
  }

  #checkOne(model: string): void {
    // [Gemini API] "models/NAME" in a body is the NAME of the path.
    const names = [model, model.replace(/^models\//, '')];
    if (this.#allowed.some((pattern) => names.some((name) => fits(pattern, name)))) return;
    throw refused(`model ${shown(model)} is not one of those that this token is for`);
  }
}

/** A path in the one spelling that all servers read in the same way. */
function checkedPath(path: string): string {
  const plain = plainPath(path);
  if (BLURRED.test(plain)) throw refused(`path: ${shown(path)} can be read in two ways`);
  return plain;
}

function modelsInPath(path: string): string[] {
  return IN_PATH.flatMap((form) => {
    const found = form.exec(path)?.[1];
    return found === undefined ? [] : [decoded(found)];
  });
}

/** Some take the name from there as well. */
function modelsInQuery(query: string): string[] {
  return query.split('&').flatMap((part) => {
    const [name = '', ...value] = part.split('=');
    return folded(decoded(name)) === 'model' ? [decoded(value.join('='))] : [];
  });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // What is in a query is not quoted (P10).
    throw refused('target: its percent encoding says nothing');
  }
}

/** Exactly, or as far as the star. */
export function fits(pattern: string, model: string): boolean {
  return pattern.endsWith('*') ? model.startsWith(pattern.slice(0, -1)) : pattern === model;
}

function refused(message: string): SteleError {
  return new SteleError('forbidden', message);
}
