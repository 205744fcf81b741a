/** Whose address is it? Only what a trusted proxy wrote is believed. */
import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import { networks } from '../../server/config/kinds.ts';
import { Callers, networkOf } from '../../server/http/address.ts';

function addressOf(trusted: string, remoteAddress: string | undefined, forwarded?: string) {
  const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
  const req = { socket: { remoteAddress }, headers } as unknown as IncomingMessage;
  return new Callers(networks(trusted)).addressOf(req);
}

const LOCAL = '127.0.0.1,::1';
const CLUSTER = '10.0.0.0/8,2001:db8:aaaa::/48,127.0.0.1';

describe('without a trusted proxy', () => {
  test.each([
    ['192.0.2.1', undefined],
    ['192.0.2.1', '198.51.100.7'],
    ['127.0.0.1', '198.51.100.7'],
    ['2001:db8::1', '198.51.100.7, 127.0.0.1'],
  ])('the address is that of the connection: %s', (remote, forwarded) => {
    expect(addressOf('', remote, forwarded)).toBe(remote);
  });
});

describe('with trusted proxies', () => {
  test.each([
    // What a caller says who comes by himself counts for nothing.
    ['192.0.2.1', '198.51.100.7', '192.0.2.1'],
    ['10.0.0.1', undefined, '10.0.0.1'],
    ['10.0.0.1', '', '10.0.0.1'],
    ['10.0.0.1', '198.51.100.7', '198.51.100.7'],
    ['10.0.0.1', '198.51.100.7,10.2.3.4', '198.51.100.7'],
    ['10.0.0.1', '198.51.100.7 , 10.2.3.4 ,  10.9.9.9', '198.51.100.7'],
    // The rightmost that is not trusted; what stands left of it is the caller's own word.
    ['10.0.0.1', '203.0.113.99, 198.51.100.7', '198.51.100.7'],
    ['10.0.0.1', '10.0.0.2, 198.51.100.7, 10.2.3.4', '198.51.100.7'],
    ['10.0.0.1', '127.0.0.1, 198.51.100.7', '198.51.100.7'],
    ['::ffff:10.0.0.1', '::ffff:198.51.100.7', '198.51.100.7'],
    ['2001:db8:aaaa:1::5', '2001:db8:bbbb::7', '2001:db8:bbbb::7'],
    ['2001:db8:bbbb::7', '198.51.100.7', '2001:db8:bbbb::7'],
    ['10.0.0.1', '198.51.100.7:40000', '198.51.100.7'],
    ['10.0.0.1', '[2001:db8::7]:40000', '2001:db8::7'],
    ['10.0.0.1', '[2001:db8::7]', '2001:db8::7'],
    // All that is known is trusted: then the first of them.
    ['10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    // A proxy that writes no address: its own is what is known.
    ['10.0.0.1', 'unknown', '10.0.0.1'],
    ['10.0.0.1', '198.51.100.7, _hidden', '10.0.0.1'],
    ['10.0.0.1', '198.51.100.7, , 10.0.0.2', '10.0.0.2'],
    ['10.0.0.1', '198.51.100.7, ', '10.0.0.1'],
    ['10.0.0.1', '010.0.0.2', '10.0.0.1'],
    ['10.0.0.1', '198.51.100.7:99999999', '10.0.0.1'],
    ['10.0.0.1', '<script>', '10.0.0.1'],
  ])('%s that says %j is %s', (remote, forwarded, address) => {
    expect(addressOf(CLUSTER, remote, forwarded)).toBe(address);
  });

  test('a list of thousands is not read to its end', () => {
    const forwarded = `198.51.100.7${', 10.0.0.2'.repeat(1_600)}`;
    expect(addressOf(CLUSTER, '10.0.0.1', forwarded)).toBe('10.0.0.2');
  });

  test('a connection that is gone has no address, and no header gives it one', () => {
    expect(addressOf(LOCAL, undefined, '198.51.100.7')).toBe('gone');
  });
});

test.each([
  ['192.0.2.1', '192.0.2.1'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['2001:db8:0:0:ffff:ffff:ffff:ffff', '2001:db8:0:0::/64'],
  ['2001:0DB8:0000:0001::1', '2001:db8:0:1::/64'],
  ['::1', '0:0:0:0::/64'],
  ['::', '0:0:0:0::/64'],
  ['1::', '1:0:0:0::/64'],
  ['64:ff9b::198.51.100.7', '64:ff9b:0:0::/64'],
  ['1:2:3:4:5:6:198.51.100.7', '1:2:3:4::/64'],
  ['gone', 'gone'],
])('%s counts as %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});
