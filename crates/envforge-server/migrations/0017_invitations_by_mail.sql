-- Invitations that are sent by mail, and found by the address they are for (expand).

-- The token until the mail server has it.
ALTER TABLE invitations ADD COLUMN sealed_token bytea;
CREATE INDEX invitations_address ON invitations (lower(address)) WHERE used_at IS NULL AND revoked_at IS NULL;

-- Invitations for an address, and what their inviters are now: whoever signs in is no member yet.
CREATE FUNCTION system_invitations_for(wanted text)
RETURNS TABLE (org_id uuid, invitation_id uuid, role text, inviter text, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT i.org_id, i.id, i.role, m.role, i.expires_at
    FROM invitations i JOIN memberships m ON m.org_id = i.org_id AND m.user_id = i.created_by
    WHERE lower(i.address) = wanted AND i.used_at IS NULL AND i.revoked_at IS NULL
    ORDER BY i.org_id, i.id
$$;
REVOKE ALL ON FUNCTION system_invitations_for(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION system_invitations_for(text) TO envforge_app;
