-- What a reader may not see is looked up once in a transaction, not once for each table that a statement names (expand).

-- A transaction that changes the reader's own rights goes on with those it had at its first question. Somebody who is no
-- member is asked for anew each time: they may become one in this transaction.
CREATE OR REPLACE FUNCTION hidden_projects() RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    org uuid := current_org();
    reader uuid := current_reader();
    asked text := org || '/' || reader;
    role text;
    hidden uuid[];
BEGIN
    IF reader IS NULL THEN
        RETURN '{}';
    ELSIF current_setting('envforge.hidden_from', true) = asked THEN
        RETURN current_setting('envforge.hidden', true)::uuid[];
    END IF;
    SELECT m.role INTO role FROM memberships m WHERE m.org_id = org AND m.user_id = reader;
    IF role IS NULL THEN
        RETURN NULL;
    ELSIF role IN ('owner', 'admin') THEN
        hidden := '{}';
    ELSE
        hidden := ARRAY(
            SELECT p.id FROM projects p
            WHERE p.org_id = org AND p.is_restricted AND p.id NOT IN (
                SELECT g.project_id FROM group_members m JOIN project_groups g ON g.org_id = org AND g.group_id = m.group_id
                WHERE m.org_id = org AND m.user_id = reader));
    END IF;
    PERFORM set_config('envforge.hidden', hidden::text, true), set_config('envforge.hidden_from', asked, true);
    RETURN hidden;
END $$;
