-- Members on dev hosts: codes to enter with, and the sessions they become (expand).

-- A row begins as a code and is spent by becoming a session. The tokens themselves are signed and not here.
CREATE TABLE member_sessions (
    id           uuid PRIMARY KEY,
    org_id       uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    workspace_id uuid NOT NULL,
    user_id      uuid NOT NULL REFERENCES users,
    -- Null once the login session is gone. The row has to stay: gateways are told from it that the session ended.
    login_id     uuid REFERENCES login_sessions ON DELETE SET NULL,
    service      text NOT NULL,
    label        text NOT NULL,
    user_agent   text,
    created_at   timestamptz NOT NULL,
    -- When the code was spent.
    opened_at    timestamptz,
    -- Of the code, and then of the session.
    expires_at   timestamptz NOT NULL,
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id)
);
CREATE INDEX member_sessions_user ON member_sessions (org_id, user_id, expires_at);
CREATE INDEX member_sessions_login ON member_sessions (login_id);
CREATE INDEX member_sessions_open ON member_sessions (expires_at) WHERE opened_at IS NOT NULL;

ALTER TABLE member_sessions ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON member_sessions USING (org_id = current_org()) WITH CHECK (org_id = current_org());
CREATE POLICY reader ON member_sessions AS RESTRICTIVE USING ((SELECT hidden_list()) = ''
    OR EXISTS (SELECT 1 FROM workspaces w WHERE w.id = member_sessions.workspace_id));
GRANT SELECT, INSERT, DELETE, UPDATE (opened_at, expires_at, user_agent) ON member_sessions TO envforge_app;

-- Sessions that have not expired and have no right to go on: their login session ended, or their member may not open the
-- workspace any more. `roles` are those that may open dev hosts; who sees a restricted project is said by hidden_projects().
CREATE FUNCTION system_ended_member_sessions(after timestamptz, roles text[]) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.id FROM member_sessions s
    WHERE s.opened_at IS NOT NULL AND s.expires_at > after AND NOT EXISTS (
        SELECT 1 FROM login_sessions l
        LEFT JOIN api_keys k ON k.id = l.key_id
        JOIN memberships m ON m.org_id = s.org_id AND m.user_id = s.user_id
        JOIN workspaces w ON w.org_id = s.org_id AND w.id = s.workspace_id
        JOIN projects p ON p.org_id = s.org_id AND p.id = w.project_id
        WHERE l.id = s.login_id AND l.revoked_at IS NULL AND k.revoked_at IS NULL
          AND m.role = ANY (roles) AND w.deleting_at IS NULL
          AND (NOT p.is_restricted OR m.role IN ('owner', 'admin') OR EXISTS (
              SELECT 1 FROM group_members g JOIN project_groups pg ON pg.org_id = s.org_id AND pg.group_id = g.group_id
              WHERE g.org_id = s.org_id AND g.user_id = s.user_id AND pg.project_id = p.id)))
$$;
REVOKE ALL ON FUNCTION system_ended_member_sessions(timestamptz, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_ended_member_sessions(timestamptz, text[]) TO envforge_app;
