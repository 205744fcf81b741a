/**
 * Does the time of an answer tell a private log from a name that was never given? Measured by hand:
 *
 *     node test/http/timing.ts [samples]
 *
 * Names are asked for in turns over one connection, so that whatever else the machine does falls on all of
 * them alike. What counts is whether the rows differ by more than they do among names of one kind.
 */
import { Agent, request } from 'node:http';
import { useNativePrimitives } from '../../server/native.ts';
import { World } from './world.ts';

const NAMES = ['absent', 'private', 'absent-too', 'private-too', 'absent.access', 'private.access'];
const WARM = 500;

useNativePrimitives();
const samples = Number(process.argv[2] ?? 4_000);
const world = await World.start();
await world.log('private', 'private');
await world.log('private-too', 'private');
for (let i = 0; i < 20; i++) await world.log(`other-${i}`);
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const { port } = new URL(world.server.url);

/** Microseconds from the request to the end of its answer. */
function ask(name: string): Promise<number> {
  const begun = performance.now();
  return new Promise((resolve, reject) => {
    const path = `/logs/${name}/checkpoint`;
    const req = request({ host: '127.0.0.1', port, agent, path }, (res) => {
      res.resume();
      res.on('end', () => resolve((performance.now() - begun) * 1_000));
    });
    req.on('error', reject);
    req.end();
  });
}

const times = new Map<string, number[]>(NAMES.map((name) => [name, []]));
for (let i = 0; i < WARM; i++) await ask('absent');
for (let i = 0; i < samples; i++) {
  for (const name of NAMES) times.get(name)?.push(await ask(name));
}
agent.destroy();
await world.stop();
for (const [name, all] of times) {
  const sorted = all.toSorted((a, b) => a - b);
  const at = (part: number) => (sorted[Math.floor(sorted.length * part)] ?? 0).toFixed(1);
  console.log(`${name.padEnd(16)} p10 ${at(0.1)}  p25 ${at(0.25)}  p50 ${at(0.5)} µs`);
}
