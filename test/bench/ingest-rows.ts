/**
 * Calls that others report: a real `stele serve` that is sent spans over OTLP, in protobuf, with the words of both sides
 * on them. Each is decoded, becomes a record, is sealed, signed and logged, before its request is answered.
 */
import type { Generator, Server } from './children.ts';
import { LogUnderLoad } from './log-rows.ts';
import type { Row } from './report.ts';
import type { Sizes } from './sizes.ts';
import { runsOf } from './stats.ts';

/** An exporter's batch, and exporters that send. */
const SPANS = 64;
const CLIENTS = 4;

export async function ingestRows(
  server: Server,
  generator: Generator,
  { runs, reports }: Sizes,
  progress: (what: string) => void,
): Promise<Row[]> {
  const what = `calls over OTLP in protobuf, ${SPANS} a request, ${CLIENTS} clients`;
  progress(what);
  const load = await LogUnderLoad.begin(server, generator);
  // With the first report the log registers the server's key for it: an entry more.
  await generator.run({ do: 'reports', clients: 1, count: 1, spans: 1 });
  const loads = await load.runs(
    { do: 'reports', clients: CLIENTS, count: reports, spans: SPANS },
    runs,
  );
  const serverUs = loads.flatMap((one) => one.serverUs ?? []);
  return [
    {
      what,
      unit: 'entries/s',
      figure: runsOf(loads.map(({ count, seconds }) => count / seconds)),
      ...(serverUs.length === 0 ? {} : { serverUs: runsOf(serverUs).median }),
    },
    {
      what: 'the same, until a request is answered, p99',
      unit: 'ms',
      figure: runsOf(loads.map(({ ms }) => ms.p99)),
    },
  ];
}
