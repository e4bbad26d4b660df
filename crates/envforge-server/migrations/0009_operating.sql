-- What an operator asks an installation (expand): the schema's version, and a few figures across orgs.

-- `oldest` is the last step that took something away: a program that does not know it can't work here.
CREATE VIEW schema_state AS
    SELECT coalesce(max(version), 0) AS version,
           coalesce(max(version) FILTER (WHERE description LIKE 'contract:%'), 0) AS oldest
    FROM _sqlx_migrations WHERE success;
GRANT SELECT ON schema_state TO envforge_app;

-- Numbers only, of no org. Events wait for their seal at the ledger's end: a look at the newest is enough, whatever its length.
CREATE FUNCTION system_figures()
RETURNS TABLE (unsealed bigint, oldest_unsealed timestamptz, commands_open bigint, runtimes_awake bigint, hosts bigint, hosts_online bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT w.events, w.oldest,
           (SELECT count(*) FROM host_commands WHERE answered_at IS NULL),
           (SELECT count(*) FROM runtimes WHERE state = 'awake'),
           (SELECT count(*) FROM hosts WHERE key_digest IS NOT NULL),
           (SELECT count(*) FROM hosts WHERE online)
    FROM (
        SELECT count(*) AS events, min(e.at) AS oldest
        FROM (SELECT id, at FROM ledger_events ORDER BY seq DESC LIMIT 10000) e
        WHERE NOT EXISTS (SELECT 1 FROM ledger_seals s WHERE s.event_id = e.id)
    ) w
$$;
REVOKE ALL ON FUNCTION system_figures() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_figures() TO envforge_app;
