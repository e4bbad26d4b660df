-- Caps in money too, of projects too, with a warning, grace for jobs, and overrides (expand).

DO $$
DECLARE name text;
BEGIN
    ALTER TABLE projects ADD COLUMN cap_mode text NOT NULL DEFAULT 'none' CHECK (cap_mode IN ('none', 'warn', 'stop')),
        ADD COLUMN cap_minutes bigint NOT NULL DEFAULT 0 CHECK (cap_minutes >= 0);
    FOREACH name IN ARRAY ARRAY['orgs', 'projects', 'runtimes']
    LOOP
        EXECUTE format(
            'ALTER TABLE %I ADD COLUMN cap_micros bigint CHECK (cap_micros >= 0), '
            'ADD COLUMN cap_warn_at smallint NOT NULL DEFAULT 80 CHECK (cap_warn_at BETWEEN 1 AND 100), '
            'ADD COLUMN cap_grace_minutes integer NOT NULL DEFAULT 10 CHECK (cap_grace_minutes >= 0)', name);
    END LOOP;
END $$;

-- Since when a runtime that a cap stops goes on for the jobs in it.
ALTER TABLE runtimes ADD COLUMN cap_grace_since timestamptz;

-- What of a cap was told in a month; the subject is the id of the workspace, the project or the org.
CREATE TABLE cap_steps (
    subject      uuid NOT NULL,
    month        date NOT NULL CHECK (extract(day FROM month) = 1),
    step         text NOT NULL CHECK (step IN ('warned', 'reached', 'continued')),
    org_id       uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    project_id   uuid,
    workspace_id uuid,
    PRIMARY KEY (subject, month, step),
    FOREIGN KEY (org_id, project_id) REFERENCES projects (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id) ON DELETE CASCADE
);

-- Stops that somebody has lifted for a while; one for each cap.
CREATE TABLE cap_overrides (
    subject       uuid PRIMARY KEY,
    org_id        uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    project_id    uuid,
    workspace_id  uuid,
    until         timestamptz NOT NULL,
    up_to_seconds bigint CHECK (up_to_seconds >= 0),
    up_to_micros  bigint CHECK (up_to_micros >= 0),
    reason        text NOT NULL,
    given_by      uuid NOT NULL REFERENCES users,
    given_at      timestamptz NOT NULL,
    FOREIGN KEY (org_id, project_id) REFERENCES projects (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id) ON DELETE CASCADE
);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['cap_steps', 'cap_overrides']
    LOOP
        EXECUTE format('CREATE INDEX %I ON %I (org_id)', name || '_org', name);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON %I USING (org_id = current_org()) WITH CHECK (org_id = current_org())', name);
        EXECUTE format(
            'CREATE POLICY reader ON %1$I AS RESTRICTIVE USING ((SELECT hidden_list()) = '''' '
            'OR ((project_id IS NULL OR EXISTS (SELECT 1 FROM projects p WHERE p.id = %1$I.project_id)) '
            'AND (workspace_id IS NULL OR EXISTS (SELECT 1 FROM workspaces w WHERE w.id = %1$I.workspace_id))))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO envforge_app', name);
    END LOOP;
END $$;

-- Runtimes that are on their way and have no window yet, by size: of a project, or of the whole org, also those the reader does
-- not see. Each will be awake, and counts when another asks.
CREATE FUNCTION system_waking(project uuid) RETURNS TABLE (small bigint, medium bigint, large bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*) FILTER (WHERE r.size = 'small'), count(*) FILTER (WHERE r.size = 'medium'), count(*) FILTER (WHERE r.size = 'large')
    FROM runtimes r JOIN workspaces w ON w.id = r.workspace_id
    WHERE r.org_id = current_org() AND r.intent = 'awake' AND r.state = 'waking' AND r.window_id IS NULL
      AND (project IS NULL OR w.project_id = project)
$$;
REVOKE ALL ON FUNCTION system_waking(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_waking(uuid) TO envforge_app;
