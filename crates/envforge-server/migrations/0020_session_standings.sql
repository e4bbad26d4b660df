-- Sessions that their provider is asked about again and again (expand).

CREATE TABLE session_standings (
    session_id  uuid PRIMARY KEY REFERENCES login_sessions ON DELETE CASCADE,
    -- The refresh token, and the nonce of the sign-in.
    sealed      bytea NOT NULL,
    -- When it is asked next. Whoever asks moves it on first, so that no other server asks with the same token.
    due_at      timestamptz NOT NULL,
    -- When it last vouched for the person.
    answered_at timestamptz NOT NULL
);
CREATE INDEX session_standings_due ON session_standings (due_at);
GRANT SELECT, INSERT, UPDATE (sealed, due_at, answered_at), DELETE ON session_standings TO envforge_app;
