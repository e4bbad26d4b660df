-- Prices with the instant from which they hold (expand).

-- What the versions of the setting `prices` say, in the clear: whoever decides or adds up inside an org's transaction reads it there.
-- Rows are never changed.
CREATE TABLE price_versions (
    version         bigint PRIMARY KEY CHECK (version > 0),
    holds_from      timestamptz NOT NULL,
    -- Null: the server's configuration again.
    currency        text,
    small           bigint NOT NULL,
    medium          bigint NOT NULL,
    large           bigint NOT NULL,
    included_credit bigint NOT NULL,
    month_minimum   bigint NOT NULL
);
GRANT SELECT, INSERT ON price_versions TO envforge_app;

-- Whole seconds of a time between these bounds, numbered from 0: they add up to its whole seconds, as
-- `envforge_core::usage::PriceList::parts` counts them.
CREATE FUNCTION seconds_of_spans(opened timestamptz, closed timestamptz, bounds timestamptz[]) RETURNS TABLE (span int, seconds bigint)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT s.span, floor(extract(epoch FROM least(closed, s.ends) - opened))::bigint
                   - floor(extract(epoch FROM greatest(opened, s.begins) - opened))::bigint
    FROM (SELECT k AS span, coalesce(bounds[k], '-infinity') AS begins, coalesce(bounds[k + 1], 'infinity') AS ends
          FROM generate_series(0, cardinality(bounds)) k) s
    WHERE s.begins < closed AND s.ends > opened
$$;

-- Seconds of a month up to an instant between bounds, of all workspaces together, also those the reader does not see.
CREATE FUNCTION system_org_spans(wanted date, now timestamptz, bounds timestamptz[])
RETURNS TABLE (span int, small bigint, medium bigint, large bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.span, coalesce(sum(s.seconds) FILTER (WHERE a.size = 'small'), 0)::bigint,
           coalesce(sum(s.seconds) FILTER (WHERE a.size = 'medium'), 0)::bigint,
           coalesce(sum(s.seconds) FILTER (WHERE a.size = 'large'), 0)::bigint
    FROM awake_windows a CROSS JOIN LATERAL seconds_of_spans(
        greatest(a.opened_at, wanted::timestamp AT TIME ZONE 'UTC'),
        least(coalesce(a.closed_at, now), (wanted + interval '1 month') AT TIME ZONE 'UTC'), bounds) s
    WHERE a.org_id = current_org() AND a.opened_at < (wanted + interval '1 month') AT TIME ZONE 'UTC'
      AND coalesce(a.closed_at, now) > wanted::timestamp AT TIME ZONE 'UTC'
    GROUP BY s.span
$$;
REVOKE ALL ON FUNCTION seconds_of_spans(timestamptz, timestamptz, timestamptz[]), system_org_spans(date, timestamptz, timestamptz[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION seconds_of_spans(timestamptz, timestamptz, timestamptz[]), system_org_spans(date, timestamptz, timestamptz[]) TO envforge_app;
