-- Secrets: names in clear, values sealed under the org's data key (expand).

CREATE TABLE secrets (
    id           uuid PRIMARY KEY,
    org_id       uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    -- Where it is known: in one project, in one workspace, or with neither in the whole org.
    project_id   uuid,
    workspace_id uuid,
    name         text NOT NULL CHECK (name ~ '^[A-Z][A-Z0-9_]{0,63}$'),
    -- The version in use: the newest.
    version      integer NOT NULL CHECK (version > 0),
    last_used_at timestamptz,
    FOREIGN KEY (org_id, project_id) REFERENCES projects (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id) ON DELETE CASCADE,
    CHECK (project_id IS NULL OR workspace_id IS NULL),
    UNIQUE (org_id, id)
);
CREATE UNIQUE INDEX secrets_name ON secrets
    (org_id, name, coalesce(project_id, workspace_id, '00000000-0000-0000-0000-000000000000'));
CREATE INDEX secrets_project ON secrets (project_id) WHERE project_id IS NOT NULL;
CREATE INDEX secrets_workspace ON secrets (workspace_id) WHERE workspace_id IS NOT NULL;

CREATE TABLE secret_versions (
    secret_id     uuid NOT NULL,
    org_id        uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    version       integer NOT NULL,
    sealed        bytea NOT NULL,
    restored_from integer,
    set_by        uuid NOT NULL REFERENCES users,
    set_at        timestamptz NOT NULL,
    PRIMARY KEY (secret_id, version),
    FOREIGN KEY (org_id, secret_id) REFERENCES secrets (org_id, id) ON DELETE CASCADE
);
CREATE INDEX secret_versions_org ON secret_versions (org_id);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['secrets', 'secret_versions']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON %I USING (org_id = current_org()) WITH CHECK (org_id = current_org())', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO envforge_app', name);
    END LOOP;
END $$;

-- On top of the org's policy: secrets of a project or workspace are seen by whoever sees that.
CREATE POLICY reader ON secrets AS RESTRICTIVE USING ((SELECT hidden_projects()) IS NOT NULL
    AND (project_id IS NULL OR project_id <> ALL ((SELECT hidden_projects())::uuid[]))
    AND (workspace_id IS NULL OR EXISTS (SELECT 1 FROM workspaces w WHERE w.id = secrets.workspace_id)));
CREATE POLICY reader ON secret_versions AS RESTRICTIVE USING (
    EXISTS (SELECT 1 FROM secrets s WHERE s.id = secret_versions.secret_id));

-- Whose data keys were rotated once (null: the installation's): what lies under the retired ones is sealed anew.
CREATE FUNCTION system_orgs_with_retired_keys() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT org_id FROM data_keys WHERE retired_at IS NOT NULL
$$;

-- How many data keys each key-encryption key wraps, over all orgs and the installation.
CREATE FUNCTION system_data_key_wrappers() RETURNS TABLE (wrapped_by text, keys bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT wrapped_by, count(*) FROM data_keys GROUP BY wrapped_by ORDER BY wrapped_by
$$;

-- Whose data keys (null: the installation's) one of these key-encryption keys wraps.
CREATE FUNCTION system_orgs_to_rewrap(old text[]) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT org_id FROM data_keys WHERE wrapped_by = ANY (old)
$$;

REVOKE ALL ON FUNCTION system_orgs_with_retired_keys(), system_data_key_wrappers(), system_orgs_to_rewrap(text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_orgs_with_retired_keys(), system_data_key_wrappers(), system_orgs_to_rewrap(text[]) TO envforge_app;
