-- Near duplicates of a text: at most 3 of 64 bits differ, among the newest 64 that share one of four 16-bit bands.

CREATE TABLE similar_texts AS
WITH bands AS (
    SELECT t.attribute, t.seq, t.simhash, b.band, (t.simhash >> (16 * b.band)) & 65535 AS bits
    FROM texts t CROSS JOIN (SELECT unnest([0, 1, 2, 3]) AS band) b
), candidates AS (
    SELECT DISTINCT now.attribute, now.seq, old.seq AS old_seq, bit_count(xor(now.simhash, old.simhash)) AS n_apart
    FROM bands now JOIN bands old USING (attribute, band, bits)
    WHERE old.seq < now.seq
)
SELECT * FROM candidates QUALIFY row_number() OVER (PARTITION BY attribute, seq ORDER BY old_seq DESC) <= 64;

CREATE TABLE near_texts AS
WITH first_links AS (SELECT seq, entity FROM links QUALIFY row_number() OVER (PARTITION BY seq ORDER BY position) <= 16),
linked AS (
    SELECT DISTINCT a.seq, b.seq AS old_seq
    FROM similar_texts t
    JOIN first_links a ON a.seq = t.seq
    JOIN first_links b ON b.seq = t.old_seq AND b.entity = a.entity
)
SELECT t.attribute, t.seq, t.old_seq, now.time_ms AS now_ms, old.time_ms, l.seq IS NOT NULL AS is_linked,
       coalesce(s.value, 0) = 1 AS is_fraud
FROM similar_texts t
JOIN events now ON now.seq = t.seq
JOIN events old ON old.seq = t.old_seq
LEFT JOIN linked l ON l.seq = t.seq AND l.old_seq = t.old_seq
LEFT JOIN standing s ON s.event_seq = t.old_seq AND s.from_seq < t.seq AND t.seq <= s.until_seq
WHERE t.n_apart <= 3;

INSERT INTO event_facts
SELECT seq, 'attribute.' || attribute || '.' || stat || '_' || name, value
FROM (
    UNPIVOT (
        SELECT t.seq, t.attribute, w.name,
               count(n.old_seq)::DOUBLE AS near_duplicates,
               count(*) FILTER (n.is_linked)::DOUBLE AS near_duplicates_linked,
               count(*) FILTER (NOT n.is_linked)::DOUBLE AS near_duplicates_unlinked,
               count(*) FILTER (n.is_fraud)::DOUBLE AS near_duplicate_frauds,
               hours(any_value(e.time_ms) - max(n.time_ms)) AS near_duplicate_hours
        FROM texts t JOIN events e USING (seq) CROSS JOIN windows w
        LEFT JOIN near_texts n ON n.attribute = t.attribute AND n.seq = t.seq
            AND n.time_ms > floor_of(e.time_ms, w.span_ms)
        GROUP BY t.seq, t.attribute, w.name
    ) ON COLUMNS(* EXCLUDE (seq, attribute, name)) INTO NAME stat VALUE value
);
