-- What a link may cause and where it leads (expand): awake minutes, routes.

ALTER TABLE links ADD COLUMN minute_budget integer NOT NULL DEFAULT 240;
-- Of the awake windows that its wakes opened and that are closed.
ALTER TABLE links ADD COLUMN awake_seconds bigint NOT NULL DEFAULT 0;
-- Path prefixes it is limited to; none is no limit.
ALTER TABLE links ADD COLUMN routes jsonb NOT NULL DEFAULT '[]';

-- The link whose visitor woke the runtime, if that was one.
ALTER TABLE runtimes ADD COLUMN woken_by uuid REFERENCES links ON DELETE SET NULL;
