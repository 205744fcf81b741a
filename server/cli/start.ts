/** The options that every command which starts a server has. */
import type { Command } from 'commander';
import type { StartOptions } from './program.ts';

export interface StartFlags {
  readonly data?: string;
  readonly config?: string;
  readonly listen?: string;
  readonly proxyListen?: string;
  readonly publicUrl?: string;
  readonly operatorKey?: string;
}

export function addStart(command: Command): Command {
  return command
    .option('--data <dir>', 'the data folder [STELE_DATA, ./stele-data]')
    .option('--config <file>', 'settings [STELE_CONFIG, stele.yaml in the data folder]');
}

export function addListen(command: Command): Command {
  return command
    .option('--listen <host:port>', 'where the log is served [STELE_LISTEN, 127.0.0.1:8080]')
    .option('--public-url <url>', 'the address others reach it at [STELE_PUBLIC_URL]')
    .option(
      '--operator-key <key>',
      'for the first start, a key of your own that signs control records: a file, or a pkcs11: URI',
    );
}

export function addProxyListen(command: Command): Command {
  return command.option(
    '--proxy-listen <host:port>',
    'where the proxy listens [STELE_PROXY_LISTEN, 127.0.0.1:8081]',
  );
}

export function startOptions(flags: StartFlags): StartOptions {
  return {
    data: flags.data,
    config: flags.config,
    operatorKey: flags.operatorKey,
    flags: {
      listen: flags.listen,
      proxy_listen: flags.proxyListen,
      public_url: flags.publicUrl,
    },
  };
}
