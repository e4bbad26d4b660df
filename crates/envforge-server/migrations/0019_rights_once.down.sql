-- Once for each table that a statement names again.

ALTER POLICY reader ON projects USING (id <> ALL ((SELECT hidden_projects())::uuid[]));
ALTER POLICY reader ON project_groups USING (project_id <> ALL ((SELECT hidden_projects())::uuid[]));
ALTER POLICY reader ON workspaces USING (project_id <> ALL ((SELECT hidden_projects())::uuid[]));
ALTER POLICY reader ON link_sessions USING (
    (SELECT hidden_projects()) = '{}' OR EXISTS (SELECT 1 FROM links l WHERE l.id = link_sessions.link_id));
ALTER POLICY reader ON secrets USING ((SELECT hidden_projects()) IS NOT NULL
    AND (project_id IS NULL OR project_id <> ALL ((SELECT hidden_projects())::uuid[]))
    AND (workspace_id IS NULL OR EXISTS (SELECT 1 FROM workspaces w WHERE w.id = secrets.workspace_id)));
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['runtimes', 'labels', 'runs', 'host_commands', 'links', 'elevations']
    LOOP
        EXECUTE format(
            'ALTER POLICY reader ON %I USING ((SELECT hidden_projects()) = ''{}'' OR workspace_id IS NULL '
            'OR EXISTS (SELECT 1 FROM workspaces w WHERE w.id = %I.workspace_id))', name, name);
    END LOOP;
END $$;
DROP FUNCTION hidden_list();

CREATE OR REPLACE FUNCTION system_authenticate(key_digest text)
RETURNS TABLE (
    key_id uuid, user_id uuid, user_name text, org_id uuid, org_slug text, role text,
    expires_at timestamptz, scopes text[], is_operator boolean
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT k.id, u.id, u.name, o.org_id, o.slug, m.role, k.expires_at, k.scopes, u.is_operator
    FROM api_keys k
    JOIN users u ON u.id = k.user_id
    LEFT JOIN memberships m ON m.user_id = u.id
    LEFT JOIN orgs o ON o.org_id = m.org_id
    WHERE k.digest = key_digest AND k.revoked_at IS NULL
$$;

CREATE OR REPLACE FUNCTION system_authenticate_session(cookie_digest text)
RETURNS TABLE (
    session_id uuid, last_seen_at timestamptz, expires_at timestamptz,
    user_id uuid, user_name text, is_operator boolean, org_id uuid, org_slug text, role text
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.id, s.last_seen_at, s.expires_at, u.id, u.name, u.is_operator, o.org_id, o.slug, m.role
    FROM login_sessions s
    JOIN users u ON u.id = s.user_id
    LEFT JOIN api_keys k ON k.id = s.key_id
    LEFT JOIN memberships m ON m.user_id = u.id
    LEFT JOIN orgs o ON o.org_id = m.org_id
    WHERE s.digest = cookie_digest AND s.revoked_at IS NULL AND k.revoked_at IS NULL
$$;
