-- Keys of the server's own, of access records or of the proxy, that are to be revoked wherever they are registered.
-- A row that is lost is a key that stays registered until somebody revokes it.
CREATE TABLE ending_own_key (
  keyid   TEXT PRIMARY KEY,
  due_ms  INTEGER NOT NULL        -- milliseconds since 1970
) STRICT;
