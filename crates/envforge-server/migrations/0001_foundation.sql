-- Foundation: orgs, accounts, hosts, projects, workspaces, runtimes, commands, runs, links, ledger.
--
-- Every table with org_id has row-level security from the start. The application connects as `envforge_app`,
-- which owns nothing and can't bypass it; a transaction names its org with `SET LOCAL envforge.org`. The few
-- look-ups that must cross orgs are the `system_…` functions at the end: narrow, owned by the schema's owner.

CREATE FUNCTION current_org() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT nullif(current_setting('envforge.org', true), '')::uuid
$$;

CREATE TABLE orgs (
    org_id      uuid PRIMARY KEY,
    slug        text NOT NULL UNIQUE,
    name        text NOT NULL,
    cap_mode    text NOT NULL DEFAULT 'none' CHECK (cap_mode IN ('none', 'warn', 'stop')),
    cap_minutes bigint NOT NULL DEFAULT 0 CHECK (cap_minutes >= 0),
    created_at  timestamptz NOT NULL
);

CREATE TABLE users (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE memberships (
    org_id     uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    role       text NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'reviewer', 'billing')),
    PRIMARY KEY (org_id, user_id)
);
CREATE INDEX memberships_user ON memberships (user_id);

-- Keys belong to people, not to orgs; a key can do what its person can.
CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    name         text NOT NULL,
    prefix       text NOT NULL,
    digest       text NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE INDEX api_keys_user ON api_keys (user_id);

-- A host belongs to one org. Everything placed on it carries the org on both sides of its foreign key, so a second
-- org on a host can't be expressed.
CREATE TABLE hosts (
    id           uuid NOT NULL,
    org_id       uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    name         text NOT NULL,
    is_local     boolean NOT NULL DEFAULT false,
    token_digest text UNIQUE,
    key_digest   text UNIQUE,
    generation   bigint NOT NULL DEFAULT 0,
    online       boolean NOT NULL DEFAULT false,
    reductions   jsonb NOT NULL DEFAULT '[]',
    milli_cpu    bigint NOT NULL DEFAULT 0,
    memory       bigint NOT NULL DEFAULT 0,
    last_seen_at timestamptz,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (org_id, id),
    UNIQUE (org_id, name)
);

CREATE TABLE projects (
    id         uuid PRIMARY KEY,
    org_id     uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    slug       text NOT NULL,
    repository text NOT NULL,
    created_at timestamptz NOT NULL,
    UNIQUE (org_id, slug),
    UNIQUE (org_id, id)
);

CREATE TABLE workspaces (
    id          uuid PRIMARY KEY,
    org_id      uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    project_id  uuid NOT NULL,
    host_id     uuid NOT NULL,
    slug        text NOT NULL,
    branch      text NOT NULL,
    size        text NOT NULL CHECK (size IN ('small', 'medium', 'large')),
    size_pinned boolean NOT NULL DEFAULT false,
    shell       jsonb NOT NULL,
    parts       jsonb NOT NULL DEFAULT '[]',
    known_good  jsonb NOT NULL DEFAULT '[]',
    manifest    jsonb,
    diagnostics jsonb NOT NULL DEFAULT '[]',
    sequence    bigint NOT NULL DEFAULT 0,
    created_by  uuid NOT NULL REFERENCES users,
    created_at  timestamptz NOT NULL,
    deleting_at timestamptz,
    deleted_at  timestamptz,
    FOREIGN KEY (org_id, project_id) REFERENCES projects (org_id, id),
    FOREIGN KEY (org_id, host_id) REFERENCES hosts (org_id, id),
    UNIQUE (org_id, id)
);
CREATE UNIQUE INDEX workspaces_slug ON workspaces (org_id, slug) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX workspaces_branch ON workspaces (org_id, project_id, branch) WHERE deleted_at IS NULL;
CREATE INDEX workspaces_host ON workspaces (host_id);

-- One runtime per workspace: intent and observation side by side, changed by compare-and-set on the generation.
CREATE TABLE runtimes (
    workspace_id  uuid PRIMARY KEY,
    org_id        uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    intent        text NOT NULL DEFAULT 'asleep' CHECK (intent IN ('awake', 'frozen', 'asleep')),
    state         text NOT NULL DEFAULT 'asleep' CHECK (state IN ('asleep', 'waking', 'awake', 'frozen', 'stopping', 'blocked')),
    generation    bigint NOT NULL DEFAULT 0,
    size          text NOT NULL CHECK (size IN ('small', 'medium', 'large')),
    session_id    uuid,
    window_id     uuid,
    window_opened timestamptz,
    wake_cause    text,
    last_proof    timestamptz,
    blocked_code  text,
    blocked_cause text,
    blocked_fix   text,
    changed_at    timestamptz NOT NULL,
    -- Facts for the idle rule.
    last_activity timestamptz,
    in_flight     integer NOT NULL DEFAULT 0,
    jobs_running  integer NOT NULL DEFAULT 0,
    milli_cpu     bigint NOT NULL DEFAULT 0,
    cap_mode      text NOT NULL DEFAULT 'none' CHECK (cap_mode IN ('none', 'warn', 'stop')),
    cap_minutes   bigint NOT NULL DEFAULT 0 CHECK (cap_minutes >= 0),
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id) ON DELETE CASCADE
);
CREATE INDEX runtimes_live ON runtimes (org_id) WHERE state <> 'asleep' OR window_id IS NOT NULL;

-- Host labels are stored when a service becomes known and never reissued to another org: rows stay after deletion.
CREATE TABLE labels (
    label        text PRIMARY KEY CHECK (length(label) <= 63),
    org_id       uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    workspace_id uuid NOT NULL,
    service      text NOT NULL,
    created_at   timestamptz NOT NULL,
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id)
);
CREATE INDEX labels_workspace ON labels (workspace_id);

CREATE TABLE host_commands (
    id           uuid PRIMARY KEY,
    org_id       uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    host_id      uuid NOT NULL,
    workspace_id uuid NOT NULL,
    generation   bigint NOT NULL,
    verb         text NOT NULL,
    command      jsonb NOT NULL,
    outcome      jsonb,
    created_at   timestamptz NOT NULL,
    answered_at  timestamptz,
    FOREIGN KEY (org_id, host_id) REFERENCES hosts (org_id, id),
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id)
);
CREATE INDEX host_commands_open ON host_commands (host_id, id) WHERE answered_at IS NULL;

CREATE TABLE runs (
    id           uuid PRIMARY KEY,
    org_id       uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    workspace_id uuid NOT NULL,
    argv         jsonb NOT NULL,
    state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'ended', 'failed')),
    exit_code    integer,
    cause        text,
    created_by   uuid NOT NULL REFERENCES users,
    created_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id)
);
CREATE INDEX runs_workspace ON runs (workspace_id, id);

CREATE TABLE links (
    id           uuid PRIMARY KEY,
    org_id       uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    workspace_id uuid NOT NULL,
    service      text NOT NULL,
    label        text NOT NULL REFERENCES labels,
    created_by   uuid NOT NULL REFERENCES users,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    visits       integer NOT NULL DEFAULT 0,
    visit_budget integer,
    wakes        integer NOT NULL DEFAULT 0,
    wake_budget  integer NOT NULL,
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id),
    UNIQUE (org_id, id)
);
CREATE INDEX links_workspace ON links (workspace_id, id);
CREATE INDEX links_revoked ON links (expires_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE link_sessions (
    id         uuid PRIMARY KEY,
    org_id     uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    link_id    uuid NOT NULL,
    user_agent text,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    FOREIGN KEY (org_id, link_id) REFERENCES links (org_id, id)
);
CREATE INDEX link_sessions_link ON link_sessions (link_id);

-- The ledger: rows are inserted and never changed; seals and checkpoints are rows of their own.
CREATE TABLE ledger_events (
    seq     bigserial PRIMARY KEY,
    id      uuid NOT NULL UNIQUE,
    org_id  uuid REFERENCES orgs,
    at      timestamptz NOT NULL,
    actor   text NOT NULL,
    verb    text NOT NULL,
    subject text NOT NULL,
    cause   text NOT NULL,
    details jsonb NOT NULL
);
CREATE INDEX ledger_events_subject ON ledger_events (org_id, subject, verb, seq);
CREATE INDEX ledger_events_org ON ledger_events (org_id, seq);

CREATE TABLE ledger_seals (
    event_id uuid PRIMARY KEY REFERENCES ledger_events (id),
    org_id   uuid REFERENCES orgs,
    position bigint NOT NULL,
    hash     text NOT NULL
);
-- One chain per org and one for the installation (org_id null): a position exists once in each.
CREATE UNIQUE INDEX ledger_seals_position ON ledger_seals (coalesce(org_id, '00000000-0000-0000-0000-000000000000'), position);

CREATE TABLE ledger_checkpoints (
    org_id    uuid REFERENCES orgs,
    position  bigint NOT NULL,
    hash      text NOT NULL,
    at        timestamptz NOT NULL,
    key       text NOT NULL,
    signature text NOT NULL
);
CREATE UNIQUE INDEX ledger_checkpoints_position ON ledger_checkpoints (coalesce(org_id, '00000000-0000-0000-0000-000000000000'), position);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['orgs', 'memberships', 'hosts', 'projects', 'workspaces', 'runtimes', 'labels', 'host_commands', 'runs', 'links', 'link_sessions']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON %I USING (org_id = current_org()) WITH CHECK (org_id = current_org())', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO envforge_app', name);
    END LOOP;
    -- The ledger's rows of the installation (org_id null) are visible only outside any org.
    FOREACH name IN ARRAY ARRAY['ledger_events', 'ledger_seals', 'ledger_checkpoints']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON %I USING (org_id IS NOT DISTINCT FROM current_org()) WITH CHECK (org_id IS NOT DISTINCT FROM current_org())', name);
        EXECUTE format('GRANT SELECT, INSERT ON %I TO envforge_app', name);
    END LOOP;
END $$;
GRANT USAGE ON SEQUENCE ledger_events_seq_seq TO envforge_app;
GRANT SELECT, INSERT, UPDATE ON users, api_keys TO envforge_app;
GRANT DELETE ON api_keys TO envforge_app;

-- Look-ups that cross orgs: each answers one question about one credential or name.

CREATE FUNCTION system_authenticate(key_digest text)
RETURNS TABLE (key_id uuid, user_id uuid, user_name text, org_id uuid, org_slug text, role text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT k.id, u.id, u.name, o.org_id, o.slug, m.role
    FROM api_keys k
    JOIN users u ON u.id = k.user_id
    LEFT JOIN memberships m ON m.user_id = u.id
    LEFT JOIN orgs o ON o.org_id = m.org_id
    WHERE k.digest = key_digest AND k.revoked_at IS NULL
$$;

CREATE FUNCTION system_find_host(digest text)
RETURNS TABLE (host_id uuid, org_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT h.id, h.org_id FROM hosts h WHERE h.key_digest = digest
$$;

CREATE FUNCTION system_find_host_token(digest text)
RETURNS TABLE (host_id uuid, org_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT h.id, h.org_id FROM hosts h WHERE h.token_digest = digest
$$;

CREATE FUNCTION system_resolve_label(wanted text)
RETURNS TABLE (org_id uuid, workspace_id uuid, service text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT l.org_id, l.workspace_id, l.service FROM labels l WHERE l.label = wanted
$$;

CREATE FUNCTION system_workspace_org(wanted uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT w.org_id FROM workspaces w WHERE w.id = wanted
$$;

-- Who holds a label, without telling what is behind it: needed to refuse a clash across orgs by name.
CREATE FUNCTION system_label_org(wanted text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT l.org_id FROM labels l WHERE l.label = wanted
$$;

CREATE FUNCTION system_org_ids() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT org_id FROM orgs ORDER BY created_at
$$;

-- Orgs with something a reconciler must look at: live runtimes, or events not sealed yet.
CREATE FUNCTION system_orgs_with_live_runtimes() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT org_id FROM runtimes WHERE state <> 'asleep' OR window_id IS NOT NULL
$$;

CREATE FUNCTION system_unsealed_chains() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT DISTINCT e.org_id FROM ledger_events e WHERE NOT EXISTS (SELECT 1 FROM ledger_seals s WHERE s.event_id = e.id)
$$;

CREATE FUNCTION system_revoked_links(after timestamptz) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT id FROM links WHERE revoked_at IS NOT NULL AND expires_at > after
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO envforge_app;
