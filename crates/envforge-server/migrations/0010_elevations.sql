-- Root policy of an org, and elevations (expand).

ALTER TABLE orgs ADD COLUMN root_mode text NOT NULL DEFAULT 'disabled' CHECK (root_mode IN ('disabled', 'break_glass', 'workspace'));
ALTER TABLE orgs ADD COLUMN root_max_minutes integer NOT NULL DEFAULT 0 CHECK (root_max_minutes BETWEEN 0 AND 480);

-- Whether the host opens root terminals, as its daemon says.
ALTER TABLE hosts ADD COLUMN allows_elevation boolean NOT NULL DEFAULT false;

CREATE TABLE elevations (
    id           uuid PRIMARY KEY,
    org_id       uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    workspace_id uuid NOT NULL,
    -- The policy's mode when it was asked for; it is over when the org has another.
    mode         text NOT NULL CHECK (mode IN ('break_glass', 'workspace')),
    state        text NOT NULL CHECK (state IN ('requested', 'approved', 'active', 'refused', 'withdrawn', 'ended')),
    ended        text CHECK (ended IN ('revoked', 'expired', 'closed')),
    reason       text NOT NULL,
    minutes      integer NOT NULL CHECK (minutes BETWEEN 1 AND 480),
    requested_by uuid NOT NULL REFERENCES users,
    requested_at timestamptz NOT NULL,
    -- Null when the policy approved.
    decided_by   uuid REFERENCES users,
    decided_at   timestamptz,
    expires_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id),
    CHECK ((state = 'ended') = (ended IS NOT NULL)),
    CHECK (decided_by IS DISTINCT FROM requested_by)
);
-- One at a time in a workspace, which is also what its view looks for.
CREATE UNIQUE INDEX elevations_open ON elevations (workspace_id) WHERE state IN ('requested', 'approved', 'active');
CREATE INDEX elevations_org ON elevations (org_id, id);
ALTER TABLE elevations ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON elevations USING (org_id = current_org()) WITH CHECK (org_id = current_org());
GRANT SELECT, INSERT, UPDATE ON elevations TO envforge_app;

-- Orgs with an elevation that somebody has to look at, until it is over.
CREATE FUNCTION system_orgs_with_open_elevations() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT org_id FROM elevations WHERE state IN ('requested', 'approved', 'active')
$$;
REVOKE ALL ON FUNCTION system_orgs_with_open_elevations() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_orgs_with_open_elevations() TO envforge_app;
