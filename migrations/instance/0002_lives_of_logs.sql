-- A log's life: creating, active, frozen, retiring, retired. `frozen` repeats what the log's own last entry
-- says, so that it is known without opening the log; the others are known here alone. A retired log's row
-- stays for good: its name and its origin are never given again.
CREATE TABLE log_2 (
  name       TEXT PRIMARY KEY,
  origin     TEXT NOT NULL UNIQUE,
  visibility TEXT NOT NULL CHECK (visibility IN ('public', 'proofs', 'private')),
  rules      TEXT NOT NULL,       -- JSON, as in the genesis record that creation makes
  state      TEXT NOT NULL CHECK (state IN ('creating', 'active', 'frozen', 'retiring', 'retired')),
  created_ms INTEGER NOT NULL,
  previous   TEXT,                -- JSON, as in the genesis record: the head of the log that this one follows
  next       TEXT,                -- origin of the log that follows this one
  retire_ms  INTEGER CHECK ((retire_ms IS NOT NULL) = (state IN ('retiring', 'retired'))),
  final      TEXT                 -- of a retired log: its last checkpoint
) STRICT;
INSERT INTO log_2 (name, origin, visibility, rules, state, created_ms)
  SELECT name, origin, visibility, rules, state, created_ms FROM log;
DROP TABLE log;
ALTER TABLE log_2 RENAME TO log;
