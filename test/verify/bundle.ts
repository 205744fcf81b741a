/** Bundles the verifier as a page would load it. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Metafile } from 'esbuild';

export interface Bundle {
  readonly code: string;
  readonly inputs: Metafile['inputs'];
  readonly warnings: readonly string[];
}

/** Fails if anything in the bundle would need Node. */
export async function bundleVerifier(): Promise<Bundle> {
  const folder = dirname(fileURLToPath(import.meta.url));
  const { outputFiles, metafile, warnings } = await build({
    entryPoints: [join(folder, 'browser-page.ts')],
    bundle: true,
    write: false,
    metafile: true,
    platform: 'browser',
    format: 'iife',
    target: 'es2022',
    minify: true,
    logLevel: 'silent',
  });
  return {
    code: outputFiles[0]?.text ?? '',
    inputs: metafile.inputs,
    warnings: warnings.map(({ text }) => text),
  };
}
