-- Label risk: what was known of an entity's own events before this one.

-- Labels that stood, newest first: by the time they became known, then by seq.
CREATE TABLE known AS
SELECT p.reading, p.now_ms, p.time_ms AS event_ms, s.known_at_ms, s.value, s.from_seq,
       row_number() OVER (PARTITION BY p.reading ORDER BY s.known_at_ms DESC, s.from_seq DESC) AS back,
       s.known_at_ms > max(s.known_at_ms) OVER (PARTITION BY p.reading) - getvariable('retention_ms') AS remembered
FROM pasts p JOIN standing s ON s.event_seq = p.past_seq AND s.from_seq < p.seq AND p.seq <= s.until_seq;

-- The newest fraud is remembered for ever, until one is withdrawn: then it is looked for among the labels that are
-- remembered at that time.
CREATE TABLE withdrawals AS
WITH told AS (
    SELECT p.reading, l.seq, l.known_at_ms, max(l.seq) FILTER (l.replaces = 1) OVER (PARTITION BY p.reading) AS last_seq
    FROM pasts p JOIN labels l ON l.event_seq = p.past_seq AND l.seq < p.seq
)
SELECT reading, last_seq, max(known_at_ms) FILTER (seq < last_seq) - getvariable('retention_ms') AS cutoff_ms
FROM told WHERE last_seq IS NOT NULL GROUP BY reading, last_seq;

INSERT INTO entity_facts
UNPIVOT (
    WITH frauds AS (
        SELECT k.*, w.reading IS NULL OR k.from_seq > w.last_seq OR k.known_at_ms > w.cutoff_ms AS is_told
        FROM known k LEFT JOIN withdrawals w USING (reading)
    )
    SELECT r.reading,
           count(*) FILTER (k.value = 1)::DOUBLE AS fraud_count,
           count(k.value)::DOUBLE AS known_count,
           shrunk(count(*) FILTER (k.value = 1), count(k.value), any_value(r.prior)) AS fraud_rate,
           days(any_value(r.now_ms) - max(k.known_at_ms) FILTER (k.value = 1 AND k.is_told)) AS fraud_known_days,
           days(any_value(r.now_ms) - max(k.event_ms) FILTER (k.value = 1 AND k.is_told)) AS fraud_days
    FROM readings r LEFT JOIN frauds k USING (reading)
    GROUP BY r.reading
) ON COLUMNS(* EXCLUDE (reading)) INTO NAME stat VALUE value;

INSERT INTO entity_facts
SELECT reading, stat || '_' || name, value
FROM (
    UNPIVOT (
        SELECT r.reading, w.name,
               count(*) FILTER (k.value = 1)::DOUBLE AS fraud_count,
               count(k.value)::DOUBLE AS known_count,
               shrunk(count(*) FILTER (k.value = 1), count(k.value), any_value(r.prior)) AS fraud_rate
        FROM readings r CROSS JOIN windows w
        LEFT JOIN known k ON k.reading = r.reading AND k.known_at_ms > floor_of(r.now_ms, w.span_ms)
        GROUP BY r.reading, w.name
    ) ON COLUMNS(* EXCLUDE (reading, name)) INTO NAME stat VALUE value
);

-- The newest run of frauds among the newest 32 labels, and the legit ones that came after it.
INSERT INTO entity_facts
UNPIVOT (
    WITH recent AS (SELECT * FROM known WHERE remembered AND back <= 32),
    ends AS (
        SELECT reading, count(*) AS n, min(back) FILTER (value = 1) AS newest_fraud FROM recent GROUP BY reading
    ), runs AS (
        SELECT e.reading, e.n, e.newest_fraud, min(r.back) AS stop
        FROM ends e LEFT JOIN recent r ON r.reading = e.reading AND r.value = 0 AND r.back > e.newest_fraud
        GROUP BY ALL
    )
    SELECT r.reading,
           coalesce(any_value(u.newest_fraud) - 1, any_value(u.n), 0)::DOUBLE AS legit_run,
           coalesce(coalesce(any_value(u.stop), any_value(u.n) + 1) - any_value(u.newest_fraud), 0)::DOUBLE AS fraud_run,
           days(any_value(r.now_ms) - arg_max(k.event_ms, k.back)
                FILTER (k.value = 1 AND (u.stop IS NULL OR k.back < u.stop))) AS fraud_run_days,
           (count(*) FILTER (k.value = 1 AND k.back <= 10)) / nullif(count(*) FILTER (k.back <= 10), 0)
               AS recent_fraud_share,
           days(any_value(r.now_ms) - any_value(k.event_ms) FILTER (k.back = 1)) AS known_days
    FROM readings r LEFT JOIN runs u USING (reading) LEFT JOIN recent k USING (reading)
    GROUP BY r.reading
) ON COLUMNS(* EXCLUDE (reading)) INTO NAME stat VALUE value;
