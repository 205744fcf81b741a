-- Acts of administration that wait until another holder approves them.
CREATE TABLE request (
  id         TEXT PRIMARY KEY,
  act        TEXT NOT NULL,       -- such as gateway.register
  log        TEXT NOT NULL,       -- the log that it is about, or nothing
  scope      TEXT NOT NULL,       -- JSON: names of logs that whoever decides is bound to
  args       TEXT NOT NULL,       -- JSON: what there is to do
  details    TEXT NOT NULL,       -- JSON: what is shown of it
  holder     TEXT NOT NULL,
  token      TEXT NOT NULL,       -- id of the token that asked
  created_ms INTEGER NOT NULL
) STRICT;
