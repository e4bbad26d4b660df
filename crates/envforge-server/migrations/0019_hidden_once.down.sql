-- Once for each table that a statement names again.

CREATE OR REPLACE FUNCTION hidden_projects() RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    org uuid := current_org();
    reader uuid := current_reader();
    role text;
BEGIN
    IF reader IS NULL THEN
        RETURN '{}';
    END IF;
    SELECT m.role INTO role FROM memberships m WHERE m.org_id = org AND m.user_id = reader;
    IF role IS NULL THEN
        RETURN NULL;
    ELSIF role IN ('owner', 'admin') THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(
        SELECT p.id FROM projects p
        WHERE p.org_id = org AND p.is_restricted AND p.id NOT IN (
            SELECT g.project_id FROM group_members m JOIN project_groups g ON g.org_id = org AND g.group_id = m.group_id
            WHERE m.org_id = org AND m.user_id = reader));
END $$;
