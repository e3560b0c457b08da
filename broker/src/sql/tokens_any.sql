-- tokens_any.sql: whether a token was ever made, valid or not.
SELECT EXISTS (SELECT 1 FROM token) AS found
