-- 0025_certificate.sql
--
-- Tokens without a secret: a client's certificate stands for them.
--
-- Invariants  certificate is a DNS name in lower case. hash is then that of the name, in a form that no secret has
--             (store/tokens.rs), so of the tokens that are not revoked one at most has a name. A token that is revoked gets
--             another hash, so that its name is free again.
-- Step        Expand: a release before this one reads such a token like any other, and nothing that a client sends it
--             opens that. One that revokes it leaves the hash, and with it the name, taken.
-- Locks       Adding the column locks token for metadata only.

ALTER TABLE token ADD COLUMN certificate text; -- NULL: it has a secret
