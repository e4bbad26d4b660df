-- Schedules of workspaces, and the org's quiet hours (expand).

CREATE TABLE workspace_schedules (
    workspace_id uuid PRIMARY KEY,
    org_id       uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    timetable    jsonb NOT NULL,
    -- The due time that was acted on last; when it was set, until one was.
    acted        timestamptz NOT NULL,
    -- When to look again: the next due time, as far as it was known when this was written.
    due_at       timestamptz NOT NULL,
    -- What came of what was due last.
    last         jsonb,
    set_by       uuid NOT NULL REFERENCES users,
    set_at       timestamptz NOT NULL,
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id)
);
CREATE INDEX workspace_schedules_due ON workspace_schedules (due_at);
ALTER TABLE workspace_schedules ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON workspace_schedules USING (org_id = current_org()) WITH CHECK (org_id = current_org());
CREATE POLICY reader ON workspace_schedules AS RESTRICTIVE USING ((SELECT hidden_list()) = ''
    OR EXISTS (SELECT 1 FROM workspaces w WHERE w.id = workspace_schedules.workspace_id));
GRANT SELECT, INSERT, DELETE, UPDATE (timetable, acted, due_at, last, set_by, set_at) ON workspace_schedules TO envforge_app;

-- Orgs with something due.
CREATE FUNCTION system_orgs_with_due_schedules(at timestamptz) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT s.org_id FROM workspace_schedules s JOIN workspaces w ON w.id = s.workspace_id
    WHERE s.due_at <= at AND w.deleting_at IS NULL
$$;
REVOKE ALL ON FUNCTION system_orgs_with_due_schedules(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_orgs_with_due_schedules(timestamptz) TO envforge_app;

ALTER TABLE orgs ADD COLUMN quiet_hours jsonb;
