-- What targets outside were asked about heads, and what they answered. A row is written before the first
-- request is sent, with everything that is sent: a process that dies goes on with the same bytes. What was
-- never answered stays as a row too, so that a hole shows.
CREATE TABLE anchor (
  id         INTEGER PRIMARY KEY,
  log        TEXT NOT NULL,       -- NAME, NAME.access or _admin
  target     TEXT NOT NULL,       -- as it is configured
  kind       TEXT NOT NULL CHECK (kind IN ('rekor', 'rfc3161')),
  size       INTEGER NOT NULL,
  root       BLOB NOT NULL CHECK (length(root) = 32),
  text       TEXT NOT NULL,       -- of the head's note
  signature  BLOB NOT NULL,       -- the anchor key's, over the text
  spki       BLOB NOT NULL,       -- the anchor key
  state      TEXT NOT NULL CHECK (state IN
               ('planned', 'signed', 'sent', 'received', 'published', 'superseded', 'suspect', 'dead')),
  request    BLOB,                -- exactly what is sent, from 'signed' on
  answer     BLOB,                -- exactly what came, from 'received' on
  anchor     TEXT,                -- what receipts carry, JSON, once it is published
  time_ms    INTEGER,             -- the time that it proves, if it proves one
  attempts   INTEGER NOT NULL DEFAULT 0,
  due_ms     INTEGER NOT NULL,
  reason     TEXT,                -- why the last attempt came to nothing
  planned_ms INTEGER NOT NULL,
  changed_ms INTEGER NOT NULL,
  UNIQUE (log, target, size)
) STRICT;
CREATE INDEX anchor_due ON anchor (target, due_ms)
  WHERE state IN ('planned', 'signed', 'sent', 'received');
CREATE INDEX anchor_published ON anchor (log, target, size) WHERE state = 'published';

-- What is remembered of a target between checks, and what spoke against it.
CREATE TABLE anchor_target (
  name     TEXT PRIMARY KEY,
  last     BLOB,                  -- the newest of its own heads that was seen
  evidence TEXT                   -- JSON: two heads of its that do not continue each other
) STRICT;
