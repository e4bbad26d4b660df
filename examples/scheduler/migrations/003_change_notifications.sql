-- Every change, whoever makes it (api, worker, psql), is announced on one channel.
-- The api listens and passes it on to the browsers.
CREATE FUNCTION announce_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  row_id integer;
BEGIN
  IF TG_OP = 'DELETE' THEN row_id := OLD.id; ELSE row_id := NEW.id; END IF;
  PERFORM pg_notify('scheduler_changes', json_build_object(
    'type', 'change',
    'entity', TG_ARGV[0],
    'action', CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'updated' ELSE 'deleted' END,
    'id', row_id
  )::text);
  RETURN NULL;
END $$;

CREATE TRIGGER people_announce AFTER INSERT OR UPDATE OR DELETE ON people
  FOR EACH ROW EXECUTE FUNCTION announce_change('person');
CREATE TRIGGER shifts_announce AFTER INSERT OR UPDATE OR DELETE ON shifts
  FOR EACH ROW EXECUTE FUNCTION announce_change('shift');
CREATE TRIGGER reminders_announce AFTER INSERT OR UPDATE OR DELETE ON reminders
  FOR EACH ROW EXECUTE FUNCTION announce_change('reminder');
