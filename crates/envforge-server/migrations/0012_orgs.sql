-- Invitations, groups, and who may see which project (expand).

CREATE TABLE groups (
    id         uuid PRIMARY KEY,
    org_id     uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    name       text NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (org_id, name),
    UNIQUE (org_id, id)
);

-- Who leaves the org leaves its groups.
CREATE TABLE group_members (
    org_id   uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    group_id uuid NOT NULL,
    user_id  uuid NOT NULL,
    PRIMARY KEY (group_id, user_id),
    FOREIGN KEY (org_id, group_id) REFERENCES groups (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, user_id) REFERENCES memberships ON DELETE CASCADE
);
CREATE INDEX group_members_user ON group_members (org_id, user_id);

-- A restricted project is seen by its groups, and by owners and admins; without any group by these alone.
ALTER TABLE projects ADD COLUMN is_restricted boolean NOT NULL DEFAULT false;
CREATE TABLE project_groups (
    org_id     uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    project_id uuid NOT NULL,
    group_id   uuid NOT NULL,
    PRIMARY KEY (project_id, group_id),
    FOREIGN KEY (org_id, project_id) REFERENCES projects (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, group_id) REFERENCES groups (org_id, id) ON DELETE CASCADE
);
CREATE INDEX project_groups_group ON project_groups (org_id, group_id);

CREATE TABLE invitations (
    id         uuid PRIMARY KEY,
    org_id     uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    role       text NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'reviewer', 'billing')),
    -- Those of them that still exist are joined.
    group_ids  uuid[] NOT NULL DEFAULT '{}',
    address    text,
    digest     text NOT NULL UNIQUE,
    created_by uuid NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    used_by    uuid REFERENCES users,
    revoked_at timestamptz
);
CREATE INDEX invitations_org ON invitations (org_id, id);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['groups', 'group_members', 'project_groups', 'invitations']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON %I USING (org_id = current_org()) WITH CHECK (org_id = current_org())', name);
    END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON groups TO envforge_app;
GRANT SELECT, INSERT, DELETE ON group_members, project_groups TO envforge_app;
GRANT SELECT, INSERT, UPDATE ON invitations TO envforge_app;

-- Whom the transaction reads for; null is the system's own work.
CREATE FUNCTION current_reader() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('envforge.reader', true), '')::uuid
$$;
REVOKE ALL ON FUNCTION current_reader() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION current_reader() TO envforge_app;

-- Projects that the reader may not see. Of somebody who is no member any more it is null, which compares as true to nothing:
-- they see none at all. Asked once per statement; with nothing hidden no row is looked at.
CREATE INDEX projects_restricted ON projects (org_id) WHERE is_restricted;
CREATE FUNCTION hidden_projects() RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    org uuid := current_org();
    reader uuid := current_reader();
    role text;
BEGIN
    IF reader IS NULL THEN
        RETURN '{}';
    END IF;
    SELECT m.role INTO role FROM memberships m WHERE m.org_id = org AND m.user_id = reader;
    IF role IS NULL THEN
        RETURN NULL;
    ELSIF role IN ('owner', 'admin') THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(
        SELECT p.id FROM projects p
        WHERE p.org_id = org AND p.is_restricted AND p.id NOT IN (
            SELECT g.project_id FROM group_members m JOIN project_groups g ON g.org_id = org AND g.group_id = m.group_id
            WHERE m.org_id = org AND m.user_id = reader));
END $$;
REVOKE ALL ON FUNCTION hidden_projects() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hidden_projects() TO envforge_app;

-- Restrictive: on top of the org's policy.
CREATE POLICY reader ON projects AS RESTRICTIVE USING (id <> ALL ((SELECT hidden_projects())::uuid[]));
CREATE POLICY reader ON project_groups AS RESTRICTIVE USING (project_id <> ALL ((SELECT hidden_projects())::uuid[]));
CREATE POLICY reader ON workspaces AS RESTRICTIVE USING (project_id <> ALL ((SELECT hidden_projects())::uuid[]));

-- Whatever is in a workspace is seen by whoever sees that: the policies of the table asked apply to the question too.
CREATE POLICY reader ON link_sessions AS RESTRICTIVE USING (
    (SELECT hidden_projects()) = '{}' OR EXISTS (SELECT 1 FROM links l WHERE l.id = link_sessions.link_id));
DO $$
DECLARE name text;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attname = 'workspace_id' AND NOT a.attisdropped
    LOOP
        EXECUTE format(
            'CREATE POLICY reader ON %I AS RESTRICTIVE USING ((SELECT hidden_projects()) = ''{}'' OR workspace_id IS NULL '
            'OR EXISTS (SELECT 1 FROM workspaces w WHERE w.id = %I.workspace_id))', name, name);
    END LOOP;
END $$;

-- Limits and capacity count what the reader does not see too.

CREATE FUNCTION system_workspace_count() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*) FROM workspaces WHERE org_id = current_org() AND deleted_at IS NULL
$$;
REVOKE ALL ON FUNCTION system_workspace_count() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_workspace_count() TO envforge_app;

-- Sizes of the other runtimes on a host that are to be awake.
CREATE FUNCTION system_awake_sizes(host uuid, except_workspace uuid) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT r.size FROM runtimes r JOIN workspaces w ON w.id = r.workspace_id
    WHERE w.org_id = current_org() AND w.host_id = host AND w.id <> except_workspace
      AND r.intent = 'awake' AND w.deleting_at IS NULL
$$;
REVOKE ALL ON FUNCTION system_awake_sizes(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_awake_sizes(uuid, uuid) TO envforge_app;

-- An invitation by its token's digest: whoever accepts is no member yet.
CREATE FUNCTION system_find_invitation(wanted text)
RETURNS TABLE (org_id uuid, invitation_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT i.org_id, i.id FROM invitations i WHERE i.digest = wanted
$$;
REVOKE ALL ON FUNCTION system_find_invitation(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_find_invitation(text) TO envforge_app;

-- How many orgs somebody owns: a limit where everybody may make one.
CREATE FUNCTION system_owned_orgs(owner uuid) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*) FROM memberships WHERE user_id = owner AND role = 'owner'
$$;
REVOKE ALL ON FUNCTION system_owned_orgs(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_owned_orgs(uuid) TO envforge_app;
