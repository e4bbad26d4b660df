-- Orders that failed are given again (expand): what the reconciler of runtimes looks for.

-- The last order of a workspace.
CREATE INDEX host_commands_workspace ON host_commands (workspace_id, id);

-- Now also orgs with a workspace that is still to be destroyed.
CREATE OR REPLACE FUNCTION system_orgs_with_live_runtimes() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT org_id FROM runtimes WHERE state <> 'asleep' OR window_id IS NOT NULL
    UNION
    SELECT org_id FROM workspaces WHERE deleting_at IS NOT NULL AND deleted_at IS NULL
$$;
