-- Signing in: addresses and identities of users, browser sessions, and what is under way (expand).
--
-- None of these rows belongs to an org, like users and api_keys: a person is one in all orgs. Of every token only the
-- digest is here.

-- An address is in here only once its owner proved it.
CREATE TABLE user_emails (
    address     text PRIMARY KEY,
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    verified_at timestamptz NOT NULL
);
CREATE INDEX user_emails_user ON user_emails (user_id);

-- Who somebody is at a provider.
CREATE TABLE identities (
    issuer       text NOT NULL,
    subject      text NOT NULL,
    user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_user ON identities (user_id);

CREATE TABLE login_sessions (
    id               uuid PRIMARY KEY,
    user_id          uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    digest           text NOT NULL UNIQUE,
    method           text NOT NULL CHECK (method IN ('provider', 'mail', 'key')),
    -- By which provider, and what it calls the person and its own session: it may end ours.
    provider         text,
    issuer           text,
    subject          text,
    provider_session text,
    -- By which key: the session ends with it.
    key_id           uuid REFERENCES api_keys ON DELETE CASCADE,
    user_agent       text NOT NULL,
    created_at       timestamptz NOT NULL,
    -- To the minute.
    last_seen_at     timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    revoked_at       timestamptz
);
CREATE INDEX login_sessions_user ON login_sessions (user_id, id);
CREATE INDEX login_sessions_identity ON login_sessions (issuer, subject) WHERE revoked_at IS NULL;
CREATE INDEX login_sessions_key ON login_sessions (key_id) WHERE key_id IS NOT NULL;

-- Somebody is at a provider. A row is used by deleting it.
CREATE TABLE sign_in_attempts (
    state_digest   text PRIMARY KEY,
    -- The cookie of the browser that began.
    browser_digest text NOT NULL,
    provider       text NOT NULL,
    -- Nonce, PKCE verifier, where to go then.
    sealed         bytea NOT NULL,
    source         text NOT NULL,
    expires_at     timestamptz NOT NULL
);
CREATE INDEX sign_in_attempts_source ON sign_in_attempts (source);
CREATE INDEX sign_in_attempts_expiry ON sign_in_attempts (expires_at);

-- Links in mails; of unknown addresses too, so that both take as long. A row is used by deleting it.
CREATE TABLE magic_links (
    digest     text PRIMARY KEY,
    address    text NOT NULL,
    return_to  text NOT NULL,
    source     text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX magic_links_source ON magic_links (source);
CREATE INDEX magic_links_address ON magic_links (address);
CREATE INDEX magic_links_expiry ON magic_links (expires_at);

-- Machines that wait for a key.
CREATE TABLE device_codes (
    id         uuid PRIMARY KEY,
    -- Of what the machine shows: the device code, or the code its browser brought.
    digest     text NOT NULL UNIQUE,
    -- What a person compares; none in the loopback flow.
    user_code  text UNIQUE,
    -- PKCE's challenge (RFC 7636) in the loopback flow.
    challenge  text,
    machine    text NOT NULL,
    source     text NOT NULL,
    expires_at timestamptz NOT NULL,
    interval_s integer NOT NULL,
    polled_at  timestamptz,
    decision   text CHECK (decision IN ('approved', 'denied')),
    user_id    uuid REFERENCES users ON DELETE CASCADE
);
CREATE INDEX device_codes_source ON device_codes (source);
CREATE INDEX device_codes_expiry ON device_codes (expires_at);

GRANT SELECT, INSERT ON user_emails TO envforge_app;
GRANT SELECT, INSERT, UPDATE (last_used_at) ON identities TO envforge_app;
GRANT SELECT, INSERT, UPDATE (last_seen_at, revoked_at), DELETE ON login_sessions TO envforge_app;
GRANT SELECT, INSERT, DELETE ON sign_in_attempts, magic_links TO envforge_app;
GRANT SELECT, INSERT, UPDATE (interval_s, polled_at, decision, user_id), DELETE ON device_codes TO envforge_app;

-- The user and memberships behind a session's cookie.
CREATE FUNCTION system_authenticate_session(cookie_digest text)
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

CREATE FUNCTION system_org_by_slug(wanted text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT org_id FROM orgs WHERE slug = wanted
$$;

REVOKE ALL ON FUNCTION system_authenticate_session(text), system_org_by_slug(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_authenticate_session(text), system_org_by_slug(text) TO envforge_app;
