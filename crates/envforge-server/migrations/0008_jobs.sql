-- Background jobs, kept after their end (expand).

CREATE TABLE jobs (
    id              uuid PRIMARY KEY,
    -- The org it works for; null for the installation's own.
    org_id          uuid REFERENCES orgs ON DELETE CASCADE,
    -- The same, never null: what is unique and what is fair is told per org.
    org_key         uuid NOT NULL GENERATED ALWAYS AS (coalesce(org_id, '00000000-0000-0000-0000-000000000000')) STORED,
    queue           text NOT NULL,
    kind            text NOT NULL,
    arguments       jsonb NOT NULL,
    priority        smallint NOT NULL,
    unique_key      text,
    state           text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled', 'dead')),
    attempt         integer NOT NULL DEFAULT 0,
    max_attempts    integer NOT NULL CHECK (max_attempts > 0),
    run_at          timestamptz NOT NULL,
    -- Who runs it, and until when that is believed without a heartbeat.
    lease           uuid,
    lease_until     timestamptz,
    cancel_asked_at timestamptz,
    error           text,
    created_at      timestamptz NOT NULL,
    started_at      timestamptz,
    finished_at     timestamptz,
    CHECK ((state = 'running') = (lease IS NOT NULL AND lease_until IS NOT NULL)),
    CHECK ((state IN ('waiting', 'running')) = (finished_at IS NULL))
);
CREATE UNIQUE INDEX jobs_unique ON jobs (org_key, kind, unique_key) WHERE unique_key IS NOT NULL AND state IN ('waiting', 'running');
CREATE INDEX jobs_waiting ON jobs (queue, org_key, priority DESC, run_at, id) WHERE state = 'waiting';
CREATE INDEX jobs_due ON jobs (queue, run_at) WHERE state = 'waiting';
CREATE INDEX jobs_running ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_finished ON jobs (state, finished_at) WHERE finished_at IS NOT NULL;

-- An org's transaction may enqueue and see the org's own jobs, and change none; workers and the operator's board say
-- what they are with `SET LOCAL envforge.jobs`.
ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY enqueue ON jobs FOR INSERT WITH CHECK (org_id IS NOT DISTINCT FROM current_org() AND state = 'waiting');
CREATE POLICY tenant ON jobs FOR SELECT USING (org_id IS NOT DISTINCT FROM current_org());
CREATE POLICY workers ON jobs USING (current_setting('envforge.jobs', true) = 'on') WITH CHECK (current_setting('envforge.jobs', true) = 'on');
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs TO envforge_app;

-- The due time each schedule was acted on last; of the installation.
CREATE TABLE job_schedules (
    kind     text PRIMARY KEY,
    last_due timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON job_schedules TO envforge_app;

-- Browser sessions that ended long ago are deleted by their age.
CREATE INDEX link_sessions_expired ON link_sessions (org_id, expires_at);
