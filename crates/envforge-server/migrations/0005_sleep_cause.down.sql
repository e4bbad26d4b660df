ALTER TABLE runtimes DROP COLUMN sleep_cause;
