/**
 * Every bound that is part of a format or a promise, with its reason. What an operator may tune is a
 * setting in `config.ts`; what is here never varies between instances, so that what one admits another
 * verifies (P5).
 */

/** An entry's bytes: the entry bundle's length prefix is a u16 [C2SP tlog-tiles]. */
export const ENTRY_BYTES_MAX = 65_535;

/** Entries in one batch: a page of work that a gateway can hold and send again as a whole. */
export const BATCH_ENTRIES_MAX = 10_000;

/** Bytes of a batch: its entries, each with its length before it. */
export const BATCH_BYTES_MAX = 16_777_216;

/** Signatures on one entry: enough for a gateway, a second scheme and countersigners. */
export const ENTRY_SIGNATURES_MAX = 8;

/** Bytes of one signature: RSA-4096 needs 512, ML-DSA-44 2,420. */
export const SIGNATURE_BYTES_MAX = 4_096;

/** Bytes of a payload type: a media type, never prose. */
export const PAYLOAD_TYPE_BYTES_MAX = 255;

/** Entries under one window signature; a path is then at most 16 hashes. */
export const WINDOW_SIZE_MAX = 65_536;

/** Hashes in any proof: a tree of 2^63 leaves needs no more. */
export const PROOF_HASHES_MAX = 63;

/** Signature lines that a note may carry [C2SP signed-note wants at least 16; Go's reader takes 100]. */
export const NOTE_LINES_MAX = 100;

/** Bytes of a note: 16 post-quantum lines of about 5 kB, with room. */
export const NOTE_BYTES_MAX = 131_072;

/** Bytes of an origin: the ML-DSA cosignature writes its length in one byte. */
export const ORIGIN_BYTES_MAX = 255;

/** Nesting of any JSON that a stranger sends. A record needs 5, an envelope 4. */
export const JSON_DEPTH_MAX = 32;

/** Items of a list inside a record; a longer list becomes one commitment and a count. */
export const RECORD_LIST_MAX = 64;

/**
 * Characters of a text inside a record: identifiers, names and versions, never prose. The longest met
 * in the wild are model ARNs and response ids of some hundred.
 */
export const RECORD_TEXT_MAX = 1_024;

/** Characters of a source's id: it is an index key, a metric label and a column in reports. */
export const SOURCE_ID_MAX = 128;

/** Characters of a reason that a person gave for reading or erasing content. */
export const REASON_MAX = 500;

/** Verifier keys that one log has at once: three purposes, each with its successor. */
export const LOG_KEYS_MAX = 8;

/** Keys of one log in a trust file: all that it ever had, where one is changed every month for decades. */
export const TRUSTED_KEYS_MAX = 512;

/** Commitments in one record, and so disclosures in one submission. */
export const DISCLOSURES_MAX = 64;

/** Bytes of one disclosure; what may be larger is committed like a body. */
export const DISCLOSURE_BYTES_MAX = 1_048_576;

/** Bytes of a receipt: an entry, four proofs, a checkpoint, and disclosures with inline bodies. */
export const RECEIPT_BYTES_MAX = 268_435_456;

/** Bytes of a body that a receipt carries inline; a larger one lies in a file beside it. */
export const INLINE_BODY_BYTES_MAX = 1_048_576;

/** Hashes in a full tile, and entries in a full bundle [C2SP tlog-tiles]. */
export const TILE_WIDTH = 256;

/** Binary levels that one tile level spans: log2 of its width. */
export const TILE_HEIGHT = 8;

/** Bytes of a time-stamping authority's answer: 2,000 to 7,000 with the certificates, in practice. */
export const TIMESTAMP_BYTES_MAX = 65_536;

/** Certificates in a time stamp, or named in it: a path has three or four, and some carry two paths. */
export const TIMESTAMP_CERTIFICATES_MAX = 16;
