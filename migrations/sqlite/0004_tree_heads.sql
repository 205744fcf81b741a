-- The newest tree head of each key that signs them for RFC 6962 clients. Its time is what the next one's must
-- be later than, also after a crash: a row is on disk before anybody gets the head that it holds.
CREATE TABLE tree_head (
  log_id    BLOB PRIMARY KEY CHECK (length(log_id) = 32),  -- SHA-256 of the key
  time_ms   INTEGER NOT NULL CHECK (time_ms >= 0),
  size      INTEGER NOT NULL CHECK (size > 0),
  root      BLOB NOT NULL CHECK (length(root) = 32),
  signature BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER tree_head_never_goes_back BEFORE UPDATE ON tree_head
WHEN NEW.time_ms <= OLD.time_ms OR NEW.size < OLD.size
BEGIN SELECT RAISE(ABORT, 'a tree head never goes back'); END;
CREATE TRIGGER tree_head_is_never_deleted BEFORE DELETE ON tree_head
BEGIN SELECT RAISE(ABORT, 'a tree head is never deleted'); END;
