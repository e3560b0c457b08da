-- index_valid.sql: whether an index is valid; no row where there is none.
--   $1 index
SELECT indisvalid AS valid FROM pg_index WHERE indexrelid = to_regclass($1)
