-- What one instance knows besides its logs: who it is, which logs it has, which tokens it gave out.

CREATE TABLE instance (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  origin_base TEXT NOT NULL,      -- what new origins are made from: HOST, or localhost/RANDOM8
  machine     TEXT,               -- machine id this folder was written on, where there is one
  device      TEXT NOT NULL,      -- decimal: st_dev of this very file
  inode       TEXT NOT NULL       -- decimal: st_ino of this very file
) STRICT;

-- A row is written before a log's keys and its genesis, so that a creation cut short is completed and
-- never begun again under another origin. An `active` log whose database is empty is never re-created.
CREATE TABLE log (
  name       TEXT PRIMARY KEY,
  origin     TEXT NOT NULL UNIQUE,
  visibility TEXT NOT NULL CHECK (visibility IN ('public', 'proofs', 'private')),
  rules      TEXT NOT NULL,       -- JSON, as in the genesis record
  state      TEXT NOT NULL CHECK (state IN ('creating', 'active')),
  created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE token (
  id         TEXT PRIMARY KEY,
  hash       BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),  -- SHA-256 of the token
  holder     TEXT NOT NULL,
  roles      TEXT NOT NULL,       -- JSON list
  logs       TEXT NOT NULL,       -- JSON list of names, or ["*"]
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER,
  revoked_ms INTEGER
) STRICT;
