-- How far what a target took up was searched for heads of this instance's logs: as the target understands it.
ALTER TABLE anchor_target ADD COLUMN searched BLOB;

-- Heads that a log's anchor key signed, that somebody else had taken up: there is another copy of the log, or
-- it has lost data. Such a log signs nothing more.
CREATE TABLE stranger (
  log       TEXT NOT NULL,
  digest    BLOB NOT NULL CHECK (length(digest) = 32),  -- of the head's text, which is not known
  target    TEXT NOT NULL,
  place     TEXT NOT NULL,      -- which entry of which log, for people
  signature BLOB NOT NULL,
  spki      BLOB NOT NULL,
  found_ms  INTEGER NOT NULL,
  PRIMARY KEY (log, digest)
) STRICT, WITHOUT ROWID;
