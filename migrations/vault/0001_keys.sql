-- Data keys of one log's vault, wrapped by the key-encryption key. Losing a row is erasing a content
-- file, and a backup of this file is kept apart from the backup of the files.

CREATE TABLE vault (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  origin TEXT NOT NULL,
  -- A wrapped known key: another key-encryption key is refused before it wraps anything.
  kek_check BLOB NOT NULL
) STRICT;

CREATE TABLE content_file (
  -- Never given twice. It also names the folder that the file lies in.
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  -- SHA-256 of (source.id, record_id): the file's name.
  record BLOB NOT NULL CHECK (length(record) = 32),
  -- 0 for the content that came with the record, then one for each repeat that supplied more.
  number INTEGER NOT NULL CHECK (number >= 0),
  source TEXT NOT NULL,
  record_id TEXT NOT NULL,
  -- 0 stored, but not yet seen in the log; 1 in the log; 2 erased, its file still to be removed.
  state INTEGER NOT NULL CHECK (state IN (0, 1, 2)),
  stored_ms INTEGER NOT NULL,
  wrapped BLOB,
  UNIQUE (record, number),
  CHECK ((wrapped IS NULL) = (state = 2))
) STRICT;

-- What the sweep still has to look at: its cost does not grow with the vault.
CREATE INDEX content_file_unsettled ON content_file (seq) WHERE state <> 1;

-- Records whose content was erased: none is ever accepted for them again.
CREATE TABLE erased (
  record BLOB PRIMARY KEY CHECK (length(record) = 32),
  erased_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
