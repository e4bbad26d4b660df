DROP INDEX host_commands_answered;
DROP FUNCTION system_forget_streams();
DROP FUNCTION system_forget_requests();
-- With the column go its sequence and both indexes. Commands are ordered by their ids again.
ALTER TABLE host_commands DROP COLUMN seq;
ALTER TABLE runtimes DROP COLUMN absent;
