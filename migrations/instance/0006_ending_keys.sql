-- Keys of logs that are to end by themselves, once another has signed beside them for long enough. The log says
-- itself which keys it has; a row that is lost is a key that goes on until somebody ends it.
CREATE TABLE ending_key (
  log     TEXT NOT NULL,          -- NAME or NAME.access
  keyid   TEXT NOT NULL,
  due_ms  INTEGER NOT NULL,       -- when to look, milliseconds since 1970
  at_once INTEGER NOT NULL CHECK (at_once IN (0, 1)),  -- others may have it: no overlap is waited for
  PRIMARY KEY (log, keyid)
) STRICT;
