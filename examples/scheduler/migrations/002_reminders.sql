-- One reminder per shift. This table is the truth; the Redis queue only carries ids.
CREATE TABLE reminders (
  id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  shift_id       integer NOT NULL UNIQUE REFERENCES shifts (id) ON DELETE CASCADE,
  minutes_before integer CHECK (minutes_before BETWEEN 0 AND 10080),
  remind_at      timestamptz NOT NULL,
  status         text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed')),
  attempts       integer NOT NULL DEFAULT 0,
  last_error     text,
  sent_at        timestamptz
);

CREATE INDEX reminders_pending_idx ON reminders (remind_at) WHERE status = 'pending';
