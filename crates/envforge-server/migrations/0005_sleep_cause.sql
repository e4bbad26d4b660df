-- Who or what put the runtime to sleep last, for the receipt.

ALTER TABLE runtimes ADD COLUMN sleep_cause text;
