/**
 * Preloaded into a child: kills the process, as a power failure would, before its Nth step that changes
 * something on disk: files and folders made, renamed, linked, written or removed, and statements that
 * the database runs. The counter is a file that every thread appends to.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import Database from 'better-sqlite3';

const { KILL_AT = '0', KILL_COUNTER = '' } = process.env;
const at = Number(KILL_AT);
const { appendFileSync, statSync } = fs;

/** Counting writes a file too, and that is no step. */
let counting = false;

function step(): void {
  if (counting) return;
  counting = true;
  appendFileSync(KILL_COUNTER, '.');
  // Another thread may have counted in between.
  if (at > 0 && statSync(KILL_COUNTER).size >= at) process.kill(process.pid, 'SIGKILL');
  counting = false;
}

type Call = (...args: never[]) => unknown;

function before(target: object, name: string): void {
  const functions = target as Record<string, Call>;
  const original = functions[name] as Call;
  functions[name] = function (this: unknown, ...args: never[]) {
    step();
    return original.apply(this, args);
  };
}

for (const name of ['mkdirSync', 'renameSync', 'writeFileSync', 'writeSync', 'rmSync']) {
  before(fs, name);
}
for (const name of ['mkdir', 'link', 'unlink', 'rename']) before(fs.promises, name);
syncBuiltinESMExports();

before(Database.prototype, 'exec');
const { prepare } = Database.prototype;
Database.prototype.prepare = function (this: Database.Database, sql: string) {
  const statement = prepare.call(this, sql);
  if (/^\s*(insert|update|delete|replace)/i.test(sql)) before(statement, 'run');
  return statement;
} as typeof prepare;
