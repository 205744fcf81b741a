-- One log. Everything that is hashed into the tree is in `chunk` and `tile`; both are append-only, and
-- the triggers at the end say so to anyone who opens this file by hand.

-- Consecutive entries of one commit, in the entry bundle's form: u16 length, bytes, u16 length, bytes …
CREATE TABLE chunk (
  begin INTEGER PRIMARY KEY CHECK (begin >= 0),  -- index of the first entry
  count INTEGER NOT NULL CHECK (count > 0),
  data  BLOB NOT NULL
) STRICT;

-- Full tiles only, each written once. id = level * 2^46 + index, so that a tile is found by rowid.
-- A partial tile of any width is a prefix, cut on read; the right edge is rebuilt from here at start.
CREATE TABLE tile (
  id   INTEGER PRIMARY KEY CHECK (id >= 0),
  data BLOB NOT NULL CHECK (length(data) = 8192)
) STRICT;

-- The newest signed head: one row, moved only by a commit that names the row it replaces.
CREATE TABLE head (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  size       INTEGER NOT NULL CHECK (size > 0),
  root       BLOB NOT NULL CHECK (length(root) = 32),
  time_ms    INTEGER NOT NULL,
  checkpoint TEXT NOT NULL
) STRICT;

-- Published heads that are kept: the last of each hour.
CREATE TABLE published (
  hour       INTEGER PRIMARY KEY,                -- time_ms / 3,600,000
  size       INTEGER NOT NULL CHECK (size > 0),
  root       BLOB NOT NULL CHECK (length(root) = 32),
  time_ms    INTEGER NOT NULL,
  checkpoint TEXT NOT NULL
) STRICT;
CREATE INDEX published_size ON published (size);

-- Which entries are genesis, key and policy records: replayed when the log is opened.
CREATE TABLE control (
  idx INTEGER PRIMARY KEY
) STRICT;

-- Candidates by a 52-bit prefix of a hash; whoever asks compares in full. It can be rebuilt from the
-- entries, is written behind them in sorted runs, and holds at least every entry below `indexed`.
CREATE TABLE lookup (
  kind   INTEGER NOT NULL,                       -- 0 leaf hash, 1 statement, 2 record id
  prefix INTEGER NOT NULL,
  idx    INTEGER NOT NULL,
  PRIMARY KEY (kind, prefix, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE lookup_progress (
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  indexed INTEGER NOT NULL
) STRICT;
INSERT INTO lookup_progress (one, indexed) VALUES (1, 0);

-- Sources and their chains. A range [begin, end) is a run of sequence numbers without a hole.
CREATE TABLE source (
  id    INTEGER PRIMARY KEY,
  name  TEXT NOT NULL UNIQUE,
  keyid TEXT NOT NULL,
  forks INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE source_range (
  source INTEGER NOT NULL,
  begin  INTEGER NOT NULL,
  end    INTEGER NOT NULL CHECK (end > begin),
  PRIMARY KEY (source, begin)
) STRICT, WITHOUT ROWID;

CREATE TABLE source_record (
  source INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  idx    INTEGER NOT NULL,
  PRIMARY KEY (source, seq, idx)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER chunk_is_append_only_update BEFORE UPDATE ON chunk
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER chunk_is_append_only_delete BEFORE DELETE ON chunk
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER tile_is_append_only_update BEFORE UPDATE ON tile
BEGIN SELECT RAISE(ABORT, 'tiles are append-only'); END;
CREATE TRIGGER tile_is_append_only_delete BEFORE DELETE ON tile
BEGIN SELECT RAISE(ABORT, 'tiles are append-only'); END;
CREATE TRIGGER control_is_append_only_update BEFORE UPDATE ON control
BEGIN SELECT RAISE(ABORT, 'control entries are append-only'); END;
CREATE TRIGGER control_is_append_only_delete BEFORE DELETE ON control
BEGIN SELECT RAISE(ABORT, 'control entries are append-only'); END;
CREATE TRIGGER head_never_goes_back BEFORE UPDATE ON head WHEN NEW.size <= OLD.size
BEGIN SELECT RAISE(ABORT, 'a head never goes back'); END;
CREATE TRIGGER head_is_never_deleted BEFORE DELETE ON head
BEGIN SELECT RAISE(ABORT, 'a head is never deleted'); END;
