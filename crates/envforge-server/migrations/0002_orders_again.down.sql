CREATE OR REPLACE FUNCTION system_orgs_with_live_runtimes() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT org_id FROM runtimes WHERE state <> 'asleep' OR window_id IS NOT NULL
$$;
DROP INDEX host_commands_workspace;
