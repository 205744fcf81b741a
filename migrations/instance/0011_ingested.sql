-- What was reported over the other ways in, so that what is reported again is known again. A row is written before
-- its record is submitted: whoever finds one still asks the log. Rows are dropped when nobody repeats himself any
-- more; one that is lost makes a repeat a second record.
CREATE TABLE ingested (
  id          INTEGER PRIMARY KEY,
  fingerprint BLOB NOT NULL UNIQUE CHECK (length(fingerprint) = 16),  -- keyed hash of the log and the report
  record      TEXT NOT NULL,          -- the record's id
  noted_ms    INTEGER NOT NULL
) STRICT;
