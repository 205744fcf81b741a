/**
 * Many logs on one instance: what do those cost that nobody is working on? Made over HTTP, then the server is
 * started again, and each is asked for once.
 */
import { InstanceClient } from '../../server/client/instance.ts';
import { Server } from './children.ts';
import type { Row } from './report.ts';
import { runsOf, spread } from './stats.ts';

const STARTS = 3;
const MAKERS = 4;

/** Two folders of our own: one instance with `count` logs, and one with none to compare it with. */
export async function logsRows(
  folders: { readonly many: string; readonly none: string },
  count: number,
  progress: (what: string) => void,
): Promise<Row[]> {
  progress(`making ${count} logs`);
  const names = Array.from({ length: count }, (_, i) => `team-${String(i).padStart(4, '0')}`);
  await make(folders.many, names);
  await make(folders.none, []);
  progress('starts');
  const none = await starts(folders.none);
  const many = await starts(folders.many);
  const of = `${count.toLocaleString('en-US')} logs`;
  const bytes = (runsOf(many.resident).median - runsOf(none.resident).median) / count;
  progress('asking each');
  const opened = await askEach(folders.many, names);
  return [
    {
      what: `start to first answer, ${of}`,
      unit: 's',
      figure: runsOf(many.seconds),
      target: { at: 'most', value: 5 },
    },
    {
      what: `resident memory for each that is closed, ${of}`,
      unit: 'kB',
      figure: runsOf([bytes / 1_000]),
      target: { at: 'most', value: 20 },
    },
    { what: `a head of a log that is closed, p50, ${of}`, unit: 'ms', figure: opened.p50 },
    { what: `the same, p99`, unit: 'ms', figure: opened.p99 },
    { what: 'resident memory with as many open as may be', unit: 'MiB', figure: opened.resident },
  ];
}

async function make(folder: string, names: readonly string[]): Promise<void> {
  const server = await Server.start({ command: 'serve', folder });
  try {
    const admin = new InstanceClient({ base: server.url, token: server.token('admin') });
    const left = [...names];
    const makers = Array.from({ length: MAKERS }, async () => {
      for (let name = left.pop(); name !== undefined; name = left.pop()) {
        await admin.createLog({ name });
      }
    });
    await Promise.all(makers);
  } finally {
    await server.stop();
  }
}

async function starts(folder: string) {
  const seconds: number[] = [];
  const resident: number[] = [];
  for (let i = 0; i < STARTS; i++) {
    const server = await Server.start({ command: 'serve', folder });
    seconds.push(server.startMs / 1_000);
    resident.push(server.residentBytes() ?? Number.NaN);
    await server.stop();
  }
  return { seconds, resident };
}

/** One after the other, so that each is opened for the one who asks. */
async function askEach(folder: string, names: readonly string[]) {
  const server = await Server.start({ command: 'serve', folder });
  try {
    const times: number[] = [];
    for (const name of names) {
      const begun = performance.now();
      const answer = await fetch(`${server.url}/logs/${name}/v1/tree-head`);
      if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
      await answer.arrayBuffer();
      times.push(performance.now() - begun);
    }
    const { p50, p99 } = spread(times);
    return {
      p50: runsOf([p50]),
      p99: runsOf([p99]),
      resident: runsOf([(server.residentBytes() ?? Number.NaN) / 2 ** 20]),
    };
  } finally {
    await server.stop();
  }
}
