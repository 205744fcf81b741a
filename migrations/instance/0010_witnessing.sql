-- What this instance knows as a witness of other logs.

-- Who it is. A key has one name, and a name is never given to another key without somebody's doing.
CREATE TABLE witness (
  one      INTEGER PRIMARY KEY CHECK (one = 1),
  name     TEXT NOT NULL,
  keys     TEXT NOT NULL,          -- JSON: its verifier keys
  commits  INTEGER NOT NULL        -- transactions that let a cosignature out; a copy from before has fewer
) STRICT;

-- The last checkpoint of each log that it cosigned, whole. The row is on disk before the cosignature is made,
-- so a signature that left is never newer than its row.
CREATE TABLE witnessed (
  id       BLOB PRIMARY KEY CHECK (length(id) = 32),   -- SHA-256 of the origin
  origin   TEXT NOT NULL,
  size     INTEGER NOT NULL,
  root     BLOB NOT NULL CHECK (length(root) = 32),
  note     TEXT NOT NULL,          -- its text, and the lines of the log that were verified
  time_s   INTEGER NOT NULL,       -- of the cosignature
  first_s  INTEGER NOT NULL,       -- of the first one
  times    INTEGER NOT NULL        -- how many there were
) STRICT, WITHOUT ROWID;
CREATE INDEX witnessed_time ON witnessed (time_s);

-- Checkpoints that were refused and that their log had signed. Of each log and kind only so many.
CREATE TABLE witness_evidence (
  id       INTEGER PRIMARY KEY,
  log      BLOB NOT NULL CHECK (length(log) = 32),     -- SHA-256 of the origin
  origin   TEXT NOT NULL,
  kind     TEXT NOT NULL CHECK (kind IN ('same_size', 'forked', 'empty_root', 'bad_proof')),
  seen_s   INTEGER NOT NULL,
  size     INTEGER NOT NULL,
  note     TEXT NOT NULL,          -- the one that was refused
  held     TEXT,                   -- the one that it was held against
  old      INTEGER NOT NULL,
  proof    BLOB NOT NULL,          -- the hashes, one after another
  UNIQUE (log, kind, note)
) STRICT;
