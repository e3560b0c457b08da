-- device_charge.sql: counts a wrong proof against a device, and quarantines it at the last one allowed; returns
-- whether it is in quarantine.
--   $1 tenant
--   $2 device
--   $3 rejections_max
INSERT INTO device (tenant, id, rejected, quarantined_at)
VALUES ($1, $2, 1, CASE WHEN $3 <= 1 THEN now() END)
ON CONFLICT (tenant, id) DO UPDATE
SET rejected = device.rejected + 1,
    quarantined_at = CASE WHEN device.rejected + 1 >= $3 THEN coalesce(device.quarantined_at, now())
                          ELSE device.quarantined_at END
RETURNING quarantined_at IS NOT NULL AS quarantined
