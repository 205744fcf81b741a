-- How much was logged, counted in the row that every commit writes anyway: entries' bytes of all time, and
-- of the day (since 1970, UTC) of the newest entry. A log from before counts what it has.
ALTER TABLE head ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE head ADD COLUMN day INTEGER NOT NULL DEFAULT 0;
ALTER TABLE head ADD COLUMN day_entries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE head ADD COLUMN day_bytes INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER head_never_goes_back;
UPDATE head SET bytes = (SELECT coalesce(sum(length(data) - 2 * count), 0) FROM chunk);
CREATE TRIGGER head_never_goes_back BEFORE UPDATE ON head WHEN NEW.size <= OLD.size
BEGIN SELECT RAISE(ABORT, 'a head never goes back'); END;
