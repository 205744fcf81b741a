/**
 * How does a command talk to a server of which it knows the certificate, and neither a name nor an issuer?
 *
 * The server of a data folder writes down which certificate it shows. A command on the same machine asks
 * for that one and no other, so it works with a private issuer, with a name that is not 127.0.0.1, and
 * with a certificate that has ended. No byte of a request leaves before the other side has shown it.
 */
import { Agent, type ClientRequestArgs, type IncomingMessage, request } from 'node:http';
import { type Duplex, Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { connect, type TLSSocket } from 'node:tls';

/**
 * A `fetch` for one server: as much of it as `Transport` asks for. `fingerprint` is asked at each
 * connection, as the server may have got another certificate meanwhile.
 */
export function pinnedFetch(fingerprint: () => string | undefined): typeof fetch {
  const agent = new PinnedAgent(fingerprint);
  return (input, init = {}) => {
    const { hostname, port, pathname, search } = new URL(String(input));
    const { method = 'GET', signal, headers, body } = init;
    return new Promise((resolve, reject) => {
      const req = request({
        agent,
        host: hostname.replace(/^\[|\]$/g, ''),
        port: port === '' ? 443 : Number(port),
        path: pathname + search,
        method,
        headers: Object.fromEntries(new Headers(headers)),
        ...(signal === null || signal === undefined ? {} : { signal }),
      });
      req.on('error', reject);
      req.on('response', (res) => resolve(responseOf(res)));
      if (body instanceof Uint8Array) req.end(body);
      else if (body === null || body === undefined) req.end();
      else
        Readable.fromWeb(body as ReadableStream)
          .on('error', reject)
          .pipe(req);
    });
  };
}

class PinnedAgent extends Agent {
  readonly #fingerprint: () => string | undefined;

  constructor(fingerprint: () => string | undefined) {
    // A connection for each request: one that is kept may be closed while a request is on its way.
    super({ keepAlive: false });
    this.#fingerprint = fingerprint;
  }

  override createConnection(
    { host, port }: ClientRequestArgs,
    done: (error: Error | null, stream: Duplex) => void = () => undefined,
  ): undefined {
    const socket = connect({
      host: host ?? '',
      port: Number(port),
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      // Judged here, by what is known: the certificate itself.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    const failed = (error: Error): void => done(error, socket);
    socket.once('error', failed);
    socket.once('secureConnect', () => {
      const shown = fingerprintOf(socket);
      if (shown === undefined || shown !== this.#fingerprint()) {
        socket.destroy(new Error('it shows another certificate than the data folder knows'));
        return;
      }
      socket.off('error', failed);
      done(null, socket);
    });
  }
}

function fingerprintOf(socket: TLSSocket): string | undefined {
  return socket.getPeerX509Certificate()?.fingerprint256.replaceAll(':', '').toLowerCase();
}

/** [Fetch §2.2.3] Statuses without a body. */
const EMPTY = [204, 205, 304];

function responseOf(res: IncomingMessage): Response {
  const { statusCode: status = 0, headers } = res;
  const init = {
    status,
    headers: Object.entries(headers).map(([name, value]): [string, string] => [
      name,
      String(value),
    ]),
  };
  if (!EMPTY.includes(status)) {
    return new Response(Readable.toWeb(res) as globalThis.ReadableStream, init);
  }
  res.resume();
  return new Response(null, init);
}
