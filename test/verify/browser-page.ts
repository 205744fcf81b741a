/** What the browser tests bundle: the verifier, and what it judges time stamps with, given to the page by name. */
import { checkTimestamp, parseTsaRoots } from '../../server/core/rfc3161.ts';
import { parseTrust } from '../../server/core/trust.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';

Object.assign(globalThis, { verifyReceipt, parseTrust, checkTimestamp, parseTsaRoots });
