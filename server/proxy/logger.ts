/** Where the proxy reports to. Facts never hold content, headers or secrets (P10). */
export interface ProxyLogger {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

export const silentLogger: ProxyLogger = { info() {}, warn() {}, error() {} };
