/**
 * The few globals that core may use besides the language itself: they exist in Node and in every
 * browser, and behave alike in both. Core compiles with neither Node's nor the DOM's types, so
 * anything that is not listed here does not compile there.
 */
declare class TextEncoder {
  encode(text: string): Uint8Array<ArrayBuffer>;
}

declare class TextDecoder {
  constructor(label: 'utf-8', options: { readonly fatal: boolean; readonly ignoreBOM: boolean });
  decode(bytes: Uint8Array): string;
}
