-- The event itself, and all answers under the names of the catalogue.

INSERT INTO event_facts
SELECT seq, 'event.' || stat, value
FROM (
    UNPIVOT (
        SELECT seq,
               amount / getvariable('minor_per_major') AS amount,
               CAST(hour(local) AS DOUBLE) AS hour,
               CAST(isodow(local) - 1 AS DOUBLE) AS weekday,
               CAST(isodow(local) >= 6 AS DOUBLE) AS weekend,
               CAST(hour(local) < 6 AS DOUBLE) AS night,
               CAST(day(local) AS DOUBLE) AS month_day
        FROM (SELECT *, make_timestamp((time_ms + offset_ms) * 1000) AS local FROM events WHERE decided)
    ) ON COLUMNS(* EXCLUDE (seq)) INTO NAME stat VALUE value
);

INSERT INTO event_facts
SELECT e.seq, r.role || '.n', count(l.entity)
FROM events e CROSS JOIN roles r LEFT JOIN links l ON l.seq = e.seq AND l.role = r.role
WHERE e.decided AND r.is_many
GROUP BY e.seq, r.role;

-- A role that can hold several entities tells the largest and the mean over those that have a value.
CREATE TABLE features AS
WITH by_entity AS (
    SELECT r.seq, r.prefix || '.' || f.stat AS feature, o.is_many, f.value
    FROM entity_facts f JOIN readings r USING (reading) JOIN roles o USING (role)
    UNION ALL
    SELECT m.seq, m.role_a || '~' || m.role_b || '.' || f.stat, a.is_many OR b.is_many, f.value
    FROM pair_facts f JOIN meetings m USING (meeting)
    JOIN roles a ON a.role = m.role_a JOIN roles b ON b.role = m.role_b
)
SELECT seq, feature, value FROM by_entity WHERE NOT is_many AND value IS NOT NULL
UNION ALL
SELECT seq, feature || '.max', max(value) FROM by_entity WHERE is_many AND value IS NOT NULL GROUP BY seq, feature
UNION ALL
SELECT seq, feature || '.mean', avg(value) FROM by_entity WHERE is_many AND value IS NOT NULL GROUP BY seq, feature
UNION ALL
SELECT seq, feature, value FROM event_facts WHERE value IS NOT NULL;
