-- What runtimes did, minute by minute (expand): what the idle rule decides by, and what another policy is tried on.

CREATE TABLE activity_minutes (
    org_id       uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    workspace_id uuid NOT NULL,
    -- Its beginning, by the server's clock.
    minute       timestamptz NOT NULL,
    -- Milliseconds.
    cpu          bigint NOT NULL DEFAULT 0,
    -- Bytes.
    disk         bigint NOT NULL DEFAULT 0,
    network      bigint NOT NULL DEFAULT 0,
    realtime     bigint NOT NULL DEFAULT 0,
    requests     bigint NOT NULL DEFAULT 0,
    -- The most there were at a time.
    jobs         integer NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace_id, minute),
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id) ON DELETE CASCADE
);
CREATE INDEX activity_minutes_old ON activity_minutes (minute);
ALTER TABLE activity_minutes ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON activity_minutes USING (org_id = current_org()) WITH CHECK (org_id = current_org());
CREATE POLICY reader ON activity_minutes AS RESTRICTIVE USING ((SELECT hidden_list()) = '' OR EXISTS (SELECT 1 FROM workspaces w WHERE w.id = activity_minutes.workspace_id));
GRANT SELECT, INSERT, UPDATE, DELETE ON activity_minutes TO envforge_app;

-- Seconds without work after which runtimes sleep at the latest, whatever their manifests say.
ALTER TABLE orgs ADD COLUMN idle_limit integer CHECK (idle_limit BETWEEN 30 AND 86400);
ALTER TABLE projects ADD COLUMN idle_limit integer CHECK (idle_limit BETWEEN 30 AND 86400);
