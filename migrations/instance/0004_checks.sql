-- What the last check of each log found, access logs among them. A log whose tree was found damaged signs
-- nothing until a later check finds it whole, so this outlives the process that found it.
CREATE TABLE log_check (
  log      TEXT PRIMARY KEY,      -- NAME, or NAME.access
  began_ms INTEGER NOT NULL,
  ended_ms INTEGER NOT NULL,
  size     INTEGER NOT NULL,      -- entries that were hashed
  files    INTEGER NOT NULL,      -- content files that were opened
  tree     TEXT NOT NULL CHECK (tree IN ('holds', 'damaged', 'unknown')),
  content  TEXT NOT NULL CHECK (content IN ('holds', 'damaged', 'unknown')),
  found    TEXT NOT NULL          -- JSON list of what is wrong, the first hundred, with places
) STRICT;
