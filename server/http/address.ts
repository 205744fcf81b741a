/**
 * From which address does a request come? From the other end of its connection, unless that is a proxy
 * that is trusted: then from the address that the proxy saw.
 *
 *     x-forwarded-for: 203.0.113.9, 198.51.100.7, 10.0.0.5        connection from 10.0.0.4
 *                      anybody's    the caller    trusted         trusted
 *                      word
 *
 * Each proxy adds to the right what it saw itself, so the list is read from there, and only for as long
 * as those who wrote it are trusted. What stands further left is whatever the caller liked to send.
 */
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';

/** A single address has all of its bits. */
export interface Network {
  readonly address: string;
  readonly family: 'ipv4' | 'ipv6';
  readonly prefix: number;
}

/** Proxies one behind the other; what a list names beyond them is not looked at. */
const HOPS_MAX = 16;

/** The key of connections that have no address any more. */
const GONE = 'gone';

export class Callers {
  readonly #trusted: BlockList | undefined;

  constructor(trusted: readonly Network[]) {
    if (trusted.length === 0) return;
    this.#trusted = new BlockList();
    for (const { address, prefix, family } of trusted) {
      this.#trusted.addSubnet(address, prefix, family);
    }
  }

  /** The caller's address. Bytes from strangers enter here. */
  addressOf(req: IncomingMessage): string {
    const { remoteAddress } = req.socket;
    let caller = remoteAddress === undefined ? GONE : plain(remoteAddress);
    const header = req.headers['x-forwarded-for'];
    if (this.#trusted === undefined || typeof header !== 'string') return caller;
    let end = header.length;
    for (let hop = 0; hop < HOPS_MAX && end > 0 && this.#isTrusted(caller); hop++) {
      const begin = header.lastIndexOf(',', end - 1) + 1;
      const seen = parseHop(header.slice(begin, end));
      // A trusted proxy that writes no address has told nothing: what it sends is its own.
      if (seen === undefined) return caller;
      caller = seen;
      end = begin - 1;
    }
    return caller;
  }

  #isTrusted(address: string): boolean {
    const family = isIP(address);
    if (family === 0) return false;
    return this.#trusted?.check(address, family === 6 ? 'ipv6' : 'ipv4') === true;
  }
}

/** `192.0.2.1`, `192.0.2.1:5000`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:5000`. */
function parseHop(text: string): string | undefined {
  const hop = text.trim();
  const address = /^\[([^\]]+)\](?::[0-9]{1,5})?$/.exec(hop)?.[1] ?? hop;
  if (isIP(address) !== 0) return plain(address);
  const host = /^([0-9.]+):[0-9]{1,5}$/.exec(hop)?.[1];
  return host !== undefined && isIP(host) === 4 ? host : undefined;
}

/** Without a zone, and an IPv4 address as such where it came as one of IPv6. */
function plain(address: string): string {
  const bare = address.split('%', 1)[0] ?? '';
  const mapped = /^::ffff:([0-9.]+)$/i.exec(bare)?.[1];
  return mapped !== undefined && isIP(mapped) === 4 ? mapped : bare;
}

/**
 * Who counts as one caller: an IPv4 address, and of IPv6 a /64. Whoever has one address there has all of
 * its network, and could ask from another each time.
 */
export function networkOf(address: string): string {
  if (isIP(address) !== 6) return address;
  return `${groupsOf(address).slice(0, 4).join(':')}::/64`;
}

/** The eight groups of an IPv6 address, without leading zeros. */
function groupsOf(address: string): string[] {
  const [left = '', right] = address.toLowerCase().split('::', 2);
  const before = splitGroups(left);
  if (right === undefined) return before;
  const after = splitGroups(right);
  return [...before, ...Array<string>(8 - before.length - after.length).fill('0'), ...after];
}

function splitGroups(text: string): string[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    // The last four bytes may be written as IPv4; they are never among the first four groups.
    if (group.includes('.')) return ['ipv4', 'ipv4'];
    return [group.replace(/^0+(?=.)/, '')];
  });
}
