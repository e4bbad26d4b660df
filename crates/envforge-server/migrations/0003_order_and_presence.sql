-- What the order of commands and the presence of hosts need (expand).

-- Whether the last report of the present generation saw nothing run: with it, the answer to a start tells whether what was
-- started is gone again.
ALTER TABLE runtimes ADD COLUMN absent boolean NOT NULL DEFAULT false;

-- Commands are sent in the order of their writing; their ids order only to the millisecond.
ALTER TABLE host_commands ADD COLUMN seq bigserial;
GRANT USAGE ON SEQUENCE host_commands_seq_seq TO envforge_app;
CREATE INDEX host_commands_open_seq ON host_commands (host_id, seq) WHERE answered_at IS NULL;
CREATE INDEX host_commands_workspace_seq ON host_commands (workspace_id, seq);

-- A gateway that begins anew tells its open requests anew; what the one before it told is forgotten.
CREATE FUNCTION system_forget_requests() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE runtimes SET in_flight = 0 WHERE in_flight <> 0
$$;
REVOKE ALL ON FUNCTION system_forget_requests() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_forget_requests() TO envforge_app;

-- A server that starts holds no control stream yet; hosts that are there say so within seconds.
CREATE FUNCTION system_forget_streams() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE hosts SET online = false WHERE online
$$;
REVOKE ALL ON FUNCTION system_forget_streams() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_forget_streams() TO envforge_app;

-- What was answered long ago is deleted by its age.
CREATE INDEX host_commands_answered ON host_commands (org_id, answered_at) WHERE answered_at IS NOT NULL;
