-- Awake windows and their months for reading, made by the ledger's own rows (expand).

-- What the meter knows beside its open window: since when something can have run, and until when it was metered.
ALTER TABLE runtimes ADD COLUMN start_asked timestamptz, ADD COLUMN metered_until timestamptz;

-- The ledger is the truth, this is what it says. Whoever writes an event writes this too, an older server as well: a trigger
-- does it, and the application may only read.
CREATE TABLE awake_windows (
    window_id        uuid PRIMARY KEY,
    org_id           uuid NOT NULL,
    workspace_id     uuid NOT NULL,
    session_id       uuid NOT NULL,
    opened_at        timestamptz NOT NULL,
    closed_at        timestamptz CHECK (closed_at >= opened_at),
    size             text NOT NULL CHECK (size IN ('small', 'medium', 'large')),
    wake_cause       text NOT NULL,
    end_cause        text,
    unproven_seconds bigint NOT NULL,
    -- The events.
    opened_seq       bigint NOT NULL,
    closed_seq       bigint,
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id) ON DELETE CASCADE
);
CREATE INDEX awake_windows_workspace ON awake_windows (workspace_id, opened_at, window_id);
CREATE INDEX awake_windows_open ON awake_windows (org_id, workspace_id) WHERE closed_at IS NULL;

-- Seconds of closed windows, each window's rounded down in each month.
CREATE TABLE usage_months (
    org_id       uuid NOT NULL,
    workspace_id uuid NOT NULL,
    month        date NOT NULL CHECK (extract(day FROM month) = 1),
    small        bigint NOT NULL DEFAULT 0,
    medium       bigint NOT NULL DEFAULT 0,
    large        bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace_id, month),
    FOREIGN KEY (org_id, workspace_id) REFERENCES workspaces (org_id, id) ON DELETE CASCADE
);
CREATE INDEX usage_months_org ON usage_months (org_id, month);

-- The same for all workspaces of an org together.
CREATE TABLE org_usage_months (
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    month  date NOT NULL CHECK (extract(day FROM month) = 1),
    small  bigint NOT NULL DEFAULT 0,
    medium bigint NOT NULL DEFAULT 0,
    large  bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (org_id, month)
);

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['awake_windows', 'usage_months', 'org_usage_months']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON %I USING (org_id = current_org()) WITH CHECK (org_id = current_org())', name);
        EXECUTE format('GRANT SELECT ON %I TO envforge_app', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['awake_windows', 'usage_months']
    LOOP
        EXECUTE format(
            'CREATE POLICY reader ON %I AS RESTRICTIVE USING ((SELECT hidden_list()) = '''' '
            'OR EXISTS (SELECT 1 FROM workspaces w WHERE w.id = %I.workspace_id))', name, name);
    END LOOP;
END $$;

-- What a workspace's events say, as `envforge_core::usage::fold` reads them: of each window the first opening and the first
-- closing; none ends before it opens, or after the next one opens.
CREATE FUNCTION fold_windows(org uuid, workspace uuid) RETURNS TABLE (
    id uuid, session uuid, opened timestamptz, closed timestamptz, size text, wake text, ended text, unproven bigint,
    opening bigint, closing bigint)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH facts AS (
        SELECT e.verb, right(e.details->>'window', 32)::uuid AS id, e.details AS d, (e.details->>'at')::timestamptz AS at, e.seq
        FROM ledger_events e
        WHERE e.org_id = org AND e.subject = 'ws_' || replace(workspace::text, '-', '')
          AND e.verb IN ('window.opened', 'window.closed')
    ), openings AS (
        SELECT DISTINCT ON (f.id) f.* FROM facts f WHERE f.verb = 'window.opened' ORDER BY f.id, f.seq
    ), closings AS (
        SELECT DISTINCT ON (f.id) f.* FROM facts f WHERE f.verb = 'window.closed' ORDER BY f.id, f.seq
    ), paired AS (
        SELECT o.id, o.d, o.at, CASE WHEN c.id IS NOT NULL THEN greatest(c.at, o.at) END AS ends, c.d AS end_d,
               o.seq AS opening, c.seq AS closing, lead(o.at) OVER (ORDER BY o.at, greatest(c.at, CASE WHEN c.id IS NOT NULL THEN o.at END), o.id) AS next
        FROM openings o LEFT JOIN closings c ON c.id = o.id
    )
    SELECT p.id, right(p.d->>'session', 32)::uuid, p.at,
           CASE WHEN p.next IS NOT NULL AND (p.ends IS NULL OR p.ends > p.next) THEN p.next ELSE p.ends END,
           p.d->>'size', p.d->>'cause',
           CASE WHEN p.next IS NOT NULL AND p.ends IS NULL THEN 'superseded by the next window' ELSE p.end_d->>'cause' END,
           coalesce((p.end_d->>'unproven_seconds')::bigint, 0), p.opening, p.closing
    FROM paired p
$$;

-- Whole seconds of a time in each of its months, in UTC.
CREATE FUNCTION seconds_of_months(opened timestamptz, closed timestamptz) RETURNS TABLE (month date, seconds bigint)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT m::date,
           greatest(0, floor(extract(epoch FROM least(closed, (m + interval '1 month') AT TIME ZONE 'UTC')
                                          - greatest(opened, m AT TIME ZONE 'UTC'))))::bigint
    FROM generate_series(date_trunc('month', opened AT TIME ZONE 'UTC'), closed AT TIME ZONE 'UTC', interval '1 month') m
$$;

-- Makes a workspace's rows anew from its events.
CREATE FUNCTION rebuild_windows(org uuid, workspace uuid) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE org_usage_months o SET small = o.small - u.small, medium = o.medium - u.medium, large = o.large - u.large
    FROM usage_months u WHERE u.workspace_id = workspace AND u.org_id = org AND o.org_id = org AND o.month = u.month;
    DELETE FROM usage_months u WHERE u.workspace_id = workspace AND u.org_id = org;
    DELETE FROM awake_windows a WHERE a.workspace_id = workspace AND a.org_id = org;
    INSERT INTO awake_windows
    SELECT f.id, org, workspace, f.session, f.opened, f.closed, f.size, f.wake, f.ended, f.unproven, f.opening, f.closing
    FROM fold_windows(org, workspace) f;
    INSERT INTO usage_months (org_id, workspace_id, month, small, medium, large)
    SELECT org, workspace, m.month, coalesce(sum(m.seconds) FILTER (WHERE a.size = 'small'), 0),
           coalesce(sum(m.seconds) FILTER (WHERE a.size = 'medium'), 0), coalesce(sum(m.seconds) FILTER (WHERE a.size = 'large'), 0)
    FROM awake_windows a CROSS JOIN LATERAL seconds_of_months(a.opened_at, a.closed_at) m
    WHERE a.workspace_id = workspace AND a.org_id = org AND a.closed_at IS NOT NULL
    GROUP BY m.month;
    INSERT INTO org_usage_months AS o (org_id, month, small, medium, large)
    SELECT org, u.month, u.small, u.medium, u.large FROM usage_months u WHERE u.workspace_id = workspace AND u.org_id = org ORDER BY u.month
    ON CONFLICT (org_id, month) DO UPDATE
    SET small = o.small + excluded.small, medium = o.medium + excluded.medium, large = o.large + excluded.large;
END $$;

CREATE FUNCTION system_rebuild_windows(workspace uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT rebuild_windows(current_org(), workspace)
$$;

-- Makes the org's months anew from its workspaces'.
CREATE FUNCTION system_rebuild_org_months() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    org uuid := current_org();
BEGIN
    INSERT INTO org_usage_months (org_id, month) SELECT DISTINCT org, u.month FROM usage_months u WHERE u.org_id = org ORDER BY 2
    ON CONFLICT DO NOTHING;
    -- A window that closes meanwhile waits for these rows, and so does this for it.
    PERFORM 1 FROM org_usage_months o WHERE o.org_id = org ORDER BY o.month FOR UPDATE;
    UPDATE org_usage_months o SET small = s.small, medium = s.medium, large = s.large
    FROM (SELECT o2.month, coalesce(sum(u.small), 0) AS small, coalesce(sum(u.medium), 0) AS medium, coalesce(sum(u.large), 0) AS large
          FROM org_usage_months o2 LEFT JOIN usage_months u ON u.org_id = org AND u.month = o2.month
          WHERE o2.org_id = org GROUP BY o2.month) s
    WHERE o.org_id = org AND o.month = s.month;
END $$;

CREATE FUNCTION project_window() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    workspace uuid;
    id uuid;
    instant timestamptz := (NEW.details->>'at')::timestamptz;
    known awake_windows;
BEGIN
    IF NEW.subject !~ '^ws_[0-9a-f]{32}$' OR NEW.details->>'window' !~ '^win_[0-9a-f]{32}$' THEN
        RETURN NULL;
    END IF;
    SELECT w.id INTO workspace FROM workspaces w WHERE w.org_id = NEW.org_id AND w.id = right(NEW.subject, 32)::uuid;
    IF workspace IS NULL THEN
        RETURN NULL;
    END IF;
    id := right(NEW.details->>'window', 32)::uuid;
    IF NEW.verb = 'window.opened' THEN
        -- It usually comes after the others, and they have ended.
        SELECT * INTO known FROM awake_windows a WHERE a.workspace_id = workspace
        ORDER BY a.opened_at DESC, a.closed_at DESC, a.window_id DESC LIMIT 1;
        IF FOUND AND (known.closed_at IS NULL OR known.closed_at > instant OR known.opened_at >= instant) THEN
            PERFORM rebuild_windows(NEW.org_id, workspace);
            RETURN NULL;
        END IF;
        INSERT INTO awake_windows (window_id, org_id, workspace_id, session_id, opened_at, size, wake_cause, unproven_seconds, opened_seq)
        VALUES (id, NEW.org_id, workspace, right(NEW.details->>'session', 32)::uuid, instant, NEW.details->>'size',
                NEW.details->>'cause', 0, NEW.seq);
        RETURN NULL;
    END IF;
    UPDATE awake_windows a
    SET closed_at = greatest(instant, a.opened_at), end_cause = NEW.details->>'cause',
        unproven_seconds = (NEW.details->>'unproven_seconds')::bigint, closed_seq = NEW.seq
    WHERE a.window_id = id AND a.workspace_id = workspace AND a.closed_at IS NULL
    RETURNING * INTO known;
    IF NOT FOUND THEN
        -- Told twice, or of a window that another took the place of.
        PERFORM rebuild_windows(NEW.org_id, workspace);
        RETURN NULL;
    END IF;
    INSERT INTO usage_months AS u (org_id, workspace_id, month, small, medium, large)
    SELECT NEW.org_id, workspace, m.month, CASE known.size WHEN 'small' THEN m.seconds ELSE 0 END,
           CASE known.size WHEN 'medium' THEN m.seconds ELSE 0 END, CASE known.size WHEN 'large' THEN m.seconds ELSE 0 END
    FROM seconds_of_months(known.opened_at, known.closed_at) m ORDER BY m.month
    ON CONFLICT (workspace_id, month) DO UPDATE
    SET small = u.small + excluded.small, medium = u.medium + excluded.medium, large = u.large + excluded.large;
    INSERT INTO org_usage_months AS o (org_id, month, small, medium, large)
    SELECT NEW.org_id, m.month, CASE known.size WHEN 'small' THEN m.seconds ELSE 0 END,
           CASE known.size WHEN 'medium' THEN m.seconds ELSE 0 END, CASE known.size WHEN 'large' THEN m.seconds ELSE 0 END
    FROM seconds_of_months(known.opened_at, known.closed_at) m ORDER BY m.month
    ON CONFLICT (org_id, month) DO UPDATE
    SET small = o.small + excluded.small, medium = o.medium + excluded.medium, large = o.large + excluded.large;
    RETURN NULL;
END $$;

CREATE TRIGGER project_window AFTER INSERT ON ledger_events FOR EACH ROW
    WHEN (NEW.org_id IS NOT NULL AND NEW.verb IN ('window.opened', 'window.closed')) EXECUTE FUNCTION project_window();

-- The org's row of a month, held until the transaction ends: a wake that may reach the org's cap waits here for the others, and
-- for windows that close.
CREATE FUNCTION system_lock_org_usage(wanted date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO org_usage_months (org_id, month) VALUES (current_org(), wanted) ON CONFLICT DO NOTHING;
    PERFORM 1 FROM org_usage_months o WHERE o.org_id = current_org() AND o.month = wanted FOR UPDATE;
END $$;

-- Seconds of a month up to an instant, of all workspaces together, also those the reader does not see.
CREATE FUNCTION system_org_usage(wanted date, now timestamptz) RETURNS TABLE (small bigint, medium bigint, large bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH all_of_it AS (
        SELECT o.small, o.medium, o.large FROM org_usage_months o WHERE o.org_id = current_org() AND o.month = wanted
        UNION ALL
        SELECT CASE a.size WHEN 'small' THEN m.seconds END, CASE a.size WHEN 'medium' THEN m.seconds END,
               CASE a.size WHEN 'large' THEN m.seconds END
        FROM awake_windows a CROSS JOIN LATERAL seconds_of_months(a.opened_at, now) m
        WHERE a.org_id = current_org() AND a.closed_at IS NULL AND m.month = wanted
    )
    SELECT coalesce(sum(t.small), 0)::bigint, coalesce(sum(t.medium), 0)::bigint, coalesce(sum(t.large), 0)::bigint FROM all_of_it t
$$;

DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['fold_windows(uuid, uuid)', 'rebuild_windows(uuid, uuid)', 'seconds_of_months(timestamptz, timestamptz)', 'system_rebuild_windows(uuid)',
        'system_rebuild_org_months()', 'project_window()', 'system_lock_org_usage(date)', 'system_org_usage(date, timestamptz)']
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', name);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION system_rebuild_windows(uuid), system_rebuild_org_months(), system_lock_org_usage(date),
    system_org_usage(date, timestamptz), seconds_of_months(timestamptz, timestamptz) TO envforge_app;

-- What the ledger has.
DO $$
DECLARE chosen record;
BEGIN
    FOR chosen IN
        SELECT DISTINCT w.org_id, w.id FROM ledger_events e
        JOIN workspaces w ON w.org_id = e.org_id AND e.subject = 'ws_' || replace(w.id::text, '-', '')
        WHERE e.verb = 'window.opened'
    LOOP
        PERFORM rebuild_windows(chosen.org_id, chosen.id);
    END LOOP;
END $$;
