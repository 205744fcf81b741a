-- Heads of which somebody outside said something: they were cosigned, or are in another public record. They are
-- kept for good, where of other published heads the last of each hour is; what was said later is added to the
-- note, and nothing else of a row ever changes.
CREATE TABLE kept (
  size       INTEGER PRIMARY KEY CHECK (size > 0),
  root       BLOB NOT NULL CHECK (length(root) = 32),
  time_ms    INTEGER NOT NULL,
  checkpoint TEXT NOT NULL
) STRICT;

CREATE TRIGGER kept_head_is_one_head BEFORE UPDATE ON kept
WHEN NEW.size <> OLD.size OR NEW.root <> OLD.root OR NEW.time_ms <> OLD.time_ms
BEGIN SELECT RAISE(ABORT, 'a kept head is never replaced by another one'); END;
CREATE TRIGGER kept_head_is_never_deleted BEFORE DELETE ON kept
BEGIN SELECT RAISE(ABORT, 'a kept head is never deleted'); END;
