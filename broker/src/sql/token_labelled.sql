-- token_labelled.sql: whether a token has this label, valid or not.
--   $1 label
SELECT EXISTS (SELECT 1 FROM token WHERE label = $1) AS found
