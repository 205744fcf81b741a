-- How far each witness is with each log, by its own cosignatures; it is asked from there on, and the log is held to
-- it when it is opened.
CREATE TABLE witness_seen (
  log      TEXT NOT NULL,         -- NAME, NAME.access or _admin
  witness  TEXT NOT NULL,         -- the name of its key
  size     INTEGER,               -- of the largest head that it cosigned, once it has
  root     BLOB CHECK (root IS NULL OR length(root) = 32),
  note     TEXT,                  -- that head as it was shown, without cosignatures
  time_ms  INTEGER,               -- of its newest cosignature, by its own clock
  asked_ms INTEGER,               -- when it was last meant to be asked
  asked    INTEGER NOT NULL DEFAULT 0,
  failed   INTEGER NOT NULL DEFAULT 0,
  evidence TEXT,                  -- JSON: what it holds against the log
  PRIMARY KEY (log, witness)
) STRICT;

-- What each was asked, and what it answered. A row is written before the first request is sent; what was never
-- answered stays as a row too, so that a hole shows. The newest of each are kept.
CREATE TABLE cosigning (
  id         INTEGER PRIMARY KEY,
  log        TEXT NOT NULL,
  witness    TEXT NOT NULL,
  size       INTEGER NOT NULL,
  root       BLOB NOT NULL CHECK (length(root) = 32),
  note       TEXT NOT NULL,       -- the head as it is shown
  head_ms    INTEGER NOT NULL,    -- the log's own time of it
  state      TEXT NOT NULL CHECK (state IN
               ('planned', 'sent', 'received', 'cosigned', 'superseded', 'refused', 'disputed')),
  answer     BLOB,                -- the lines as they came, while they are not verified
  time_ms    INTEGER,             -- of the cosignature, by the witness' clock
  attempts   INTEGER NOT NULL DEFAULT 0,
  due_ms     INTEGER NOT NULL,
  reason     TEXT,                -- why the last attempt came to nothing
  planned_ms INTEGER NOT NULL,
  changed_ms INTEGER NOT NULL,
  UNIQUE (log, witness, size)
) STRICT;
CREATE INDEX cosigning_due ON cosigning (witness, due_ms) WHERE state IN ('planned', 'sent', 'received');
CREATE INDEX cosigning_newest ON cosigning (log, witness, id);
