-- What a reader may not see is looked up once in a transaction, and looking up a credential is planned once (expand).

-- The ids of `hidden_projects()`. Kept as text, which is compared without being read: a statement of many tables asks once for
-- each of them. A transaction that changes the reader's own rights goes on with those it had at its first question; for
-- somebody who is no member nothing is kept, since they may become one in this transaction.
CREATE FUNCTION hidden_list() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    asked text := current_setting('envforge.org', true) || '/' || current_setting('envforge.reader', true);
    hidden text;
BEGIN
    IF current_setting('envforge.hidden_of', true) = asked THEN
        RETURN current_setting('envforge.hidden', true);
    END IF;
    hidden := array_to_string(public.hidden_projects(), ' ');
    IF hidden IS NOT NULL THEN
        PERFORM set_config('envforge.hidden', hidden, true), set_config('envforge.hidden_of', asked, true);
    END IF;
    RETURN hidden;
END $$;
REVOKE ALL ON FUNCTION hidden_list() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hidden_list() TO envforge_app;

-- As before: what compares with null is not there.
ALTER POLICY reader ON projects USING (strpos((SELECT hidden_list()), id::text) = 0);
ALTER POLICY reader ON project_groups USING (strpos((SELECT hidden_list()), project_id::text) = 0);
ALTER POLICY reader ON workspaces USING (strpos((SELECT hidden_list()), project_id::text) = 0);
ALTER POLICY reader ON link_sessions USING (
    (SELECT hidden_list()) = '' OR EXISTS (SELECT 1 FROM links l WHERE l.id = link_sessions.link_id));
ALTER POLICY reader ON secrets USING ((SELECT hidden_list()) IS NOT NULL
    AND (project_id IS NULL OR strpos((SELECT hidden_list()), project_id::text) = 0)
    AND (workspace_id IS NULL OR EXISTS (SELECT 1 FROM workspaces w WHERE w.id = secrets.workspace_id)));
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['runtimes', 'labels', 'runs', 'host_commands', 'links', 'elevations']
    LOOP
        EXECUTE format(
            'ALTER POLICY reader ON %I USING ((SELECT hidden_list()) = '''' OR workspace_id IS NULL '
            'OR EXISTS (SELECT 1 FROM workspaces w WHERE w.id = %I.workspace_id))', name, name);
    END LOOP;
END $$;

-- In a language whose functions keep their plans.
CREATE OR REPLACE FUNCTION system_authenticate(key_digest text)
RETURNS TABLE (
    key_id uuid, user_id uuid, user_name text, org_id uuid, org_slug text, role text,
    expires_at timestamptz, scopes text[], is_operator boolean
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT k.id, u.id, u.name, o.org_id, o.slug, m.role, k.expires_at, k.scopes, u.is_operator
    FROM api_keys k
    JOIN users u ON u.id = k.user_id
    LEFT JOIN memberships m ON m.user_id = u.id
    LEFT JOIN orgs o ON o.org_id = m.org_id
    WHERE k.digest = key_digest AND k.revoked_at IS NULL;
END $$;

CREATE OR REPLACE FUNCTION system_authenticate_session(cookie_digest text)
RETURNS TABLE (
    session_id uuid, last_seen_at timestamptz, expires_at timestamptz,
    user_id uuid, user_name text, is_operator boolean, org_id uuid, org_slug text, role text
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT s.id, s.last_seen_at, s.expires_at, u.id, u.name, u.is_operator, o.org_id, o.slug, m.role
    FROM login_sessions s
    JOIN users u ON u.id = s.user_id
    LEFT JOIN api_keys k ON k.id = s.key_id
    LEFT JOIN memberships m ON m.user_id = u.id
    LEFT JOIN orgs o ON o.org_id = m.org_id
    WHERE s.digest = cookie_digest AND s.revoked_at IS NULL AND k.revoked_at IS NULL;
END $$;
