DROP FUNCTION system_figures();
DROP VIEW schema_state;
