-- The batch that is being signed, where whoever signs remembers which heads it signed. From then on no other
-- batch of this size can ever be signed, so this one is here before it is, and the commit takes it away.
CREATE TABLE staged (
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  begin   INTEGER NOT NULL CHECK (begin >= 0),   -- index of its first entry
  size    INTEGER NOT NULL CHECK (size > begin), -- of the log with it
  root    BLOB NOT NULL CHECK (length(root) = 32),
  time_ms INTEGER NOT NULL,
  entries BLOB NOT NULL                          -- in the form of chunk.data
) STRICT;
