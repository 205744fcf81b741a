/** What the browser tests bundle: the verifier, given to the page by name. */
import { parseTrust } from '../../server/core/trust.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';

Object.assign(globalThis, { verifyReceipt, parseTrust });
