-- Novelty, gaps, velocity: an entity's own events before this one.

INSERT INTO entity_facts
UNPIVOT (
    SELECT r.reading,
           CAST(count(p.past_seq) = 0 AS DOUBLE) AS is_new,
           count(p.past_seq)::DOUBLE AS n_events,
           days(any_value(r.now_ms) - min(p.time_ms)) AS age_days,
           hours(any_value(r.now_ms) - max(p.time_ms)) AS gap_hours,
           CASE WHEN count(p.past_seq) > 1
                THEN hours((max(p.time_ms) - min(p.time_ms)) / (count(p.past_seq) - 1)) END AS mean_gap_hours,
           avg(p.amount) / getvariable('minor_per_major') AS mean_amount,
           CASE WHEN avg(p.amount) > 0 THEN any_value(r.now_amount) / avg(p.amount) END AS amount_to_mean,
           (any_value(r.now_amount) - avg(p.amount)) / nullif(stddev_samp(p.amount), 0) AS amount_z,
           any_value(r.now_amount) / nullif(greatest(arg_min(p.amount, p.back), 0), 0) AS amount_to_last
    FROM readings r LEFT JOIN pasts p USING (reading)
    GROUP BY r.reading
) ON COLUMNS(* EXCLUDE (reading)) INTO NAME stat VALUE value;

-- Entities of another role that this one was seen with: every one has been a first meeting.
INSERT INTO entity_facts
SELECT r.reading, 'partners_' || o.other, count(m.seq)
FROM readings r
JOIN (
    SELECT role_a AS role, role_b AS other FROM pairings UNION ALL SELECT role_b, role_a FROM pairings
) o USING (role)
LEFT JOIN (
    SELECT role_a AS role, role_b AS other, entity_a AS entity, seq FROM meetings WHERE is_first
    UNION ALL
    SELECT role_b, role_a, entity_b, seq FROM meetings WHERE is_first
) m ON m.role = r.role AND m.other = o.other AND m.entity = r.entity AND m.seq < r.seq
WHERE r.prefix = r.role
GROUP BY r.reading, o.other;

CREATE TABLE windowed AS
WITH means AS (SELECT reading, avg(amount) AS mean FROM pasts GROUP BY reading)
SELECT r.reading, w.name, w.is_shortest, w.is_longest, any_value(r.now_amount) AS now_amount,
       any_value(r.now_ms) AS now_ms, any_value(floor_of(r.now_ms, w.span_ms)) AS floor_ms,
       count(p.past_seq) AS n, coalesce(sum(p.amount), 0) AS paid, count(p.amount) AS n_paid,
       coalesce(sum(p.n_new), 0) AS n_new,
       max(p.amount) FILTER (p.back <= 32) AS largest,
       count(*) FILTER (p.back <= 32 AND p.amount > 3e0 * m.mean) AS n_large,
       list_slice(list(p.amount ORDER BY p.back) FILTER (p.back <= 32 AND p.amount IS NOT NULL), 1, 5) AS newest
FROM readings r CROSS JOIN windows w
LEFT JOIN pasts p ON p.reading = r.reading AND p.time_ms > floor_of(r.now_ms, w.span_ms)
LEFT JOIN means m ON m.reading = r.reading
GROUP BY r.reading, w.name, w.is_shortest, w.is_longest;

INSERT INTO entity_facts
SELECT reading, stat || '_' || name, value
FROM (
    UNPIVOT (
        SELECT reading, name,
               n::DOUBLE AS "count",
               paid / getvariable('minor_per_major') AS amount_sum,
               paid / n_paid / getvariable('minor_per_major') AS amount_mean,
               CASE WHEN paid > 0 THEN now_amount / (paid / n_paid) END AS amount_to_mean,
               largest / getvariable('minor_per_major') AS amount_max,
               n_large::DOUBLE AS large_count,
               n_new::DOUBLE AS new_partners
        FROM windowed
    ) ON COLUMNS(* EXCLUDE (reading, name)) INTO NAME stat VALUE value
);

INSERT INTO entity_facts
SELECT reading, 'burst', any_value(n) FILTER (is_shortest) / nullif(any_value(n) FILTER (is_longest), 0)
FROM windowed GROUP BY reading
UNION ALL
SELECT reading, 'amount_to_recent_mean', now_amount / nullif(list_sum(newest) / len(newest), 0)
FROM windowed WHERE is_longest
UNION ALL
SELECT reading, 'amount_to_recent_max', now_amount / nullif(greatest(largest, 0), 0)
FROM windowed WHERE is_longest;
