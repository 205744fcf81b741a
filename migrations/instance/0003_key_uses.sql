-- What each key of this instance's own is for: one purpose, in one log. A key that serves for two things could
-- say in one place what is taken for something else in another, so the second use is refused.
CREATE TABLE key_use (
  keyid TEXT PRIMARY KEY,         -- lower-case hex of SHA-256 of its SPKI
  use   TEXT NOT NULL             -- such as "the identity key of log team-a"
) STRICT;
