/** Writes AWS's binary event streams, as `server/proxy/eventstream.ts` draws them. */
import { crc32 } from 'node:zlib';

export type Headers = Readonly<Record<string, string | boolean | number>>;

/** One frame. Text is type 7, true and false are 0 and 1, a number is an integer of four bytes. */
export function frame(headers: Headers, payload: Uint8Array | string): Buffer {
  const head = Buffer.concat(Object.entries(headers).map(([name, value]) => header(name, value)));
  const body = Buffer.from(payload as string);
  const prelude = Buffer.alloc(12);
  prelude.writeUInt32BE(16 + head.length + body.length, 0);
  prelude.writeUInt32BE(head.length, 4);
  prelude.writeUInt32BE(crc32(prelude.subarray(0, 8)), 8);
  const all = Buffer.concat([prelude, head, body]);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(all), 0);
  return Buffer.concat([all, sum]);
}

/** An event as Bedrock names them, of a line of its JSON form: `{"messageStop":{…}}`. */
export function bedrockEvent(line: string): Buffer {
  const [[name, value] = ['', {}]] = Object.entries(JSON.parse(line) as object);
  const headers = {
    ':event-type': name,
    ':content-type': 'application/json',
    ':message-type': 'event',
  };
  return frame(headers, JSON.stringify(value));
}

export function bedrockException(type: string, message: string): Buffer {
  const headers = { ':exception-type': type, ':message-type': 'exception' };
  return frame(headers, JSON.stringify({ message }));
}

export function bedrockStream(lines: string): Buffer {
  return Buffer.concat(lines.trim().split('\n').map(bedrockEvent));
}

function header(name: string, value: string | boolean | number): Buffer {
  const named = Buffer.concat([Buffer.of(name.length), Buffer.from(name)]);
  if (typeof value === 'boolean') return Buffer.concat([named, Buffer.of(value ? 0 : 1)]);
  const rest = Buffer.alloc(typeof value === 'number' ? 5 : 3);
  if (typeof value === 'number') {
    rest[0] = 4;
    rest.writeInt32BE(value, 1);
    return Buffer.concat([named, rest]);
  }
  rest[0] = 7;
  rest.writeUInt16BE(Buffer.byteLength(value), 1);
  return Buffer.concat([named, rest, Buffer.from(value)]);
}
