-- What every other query stands on: who reads which past, and which labels stood when.
--
-- Given: events, links, labels, texts (the ledger), roles, readers, pairings, windows (the scenario). Records are in
-- time order, so that "earlier" is one thing by seq and by time; streams with late events are left to the twins.

CREATE MACRO floor_of(now_ms, span_ms) AS
    CASE WHEN span_ms <= 3600000 THEN (now_ms - span_ms) // 1000 * 1000
         WHEN span_ms <= 86400000 THEN (now_ms - span_ms) // 60000 * 60000
         ELSE (now_ms - span_ms) // 3600000 * 3600000 END;
CREATE MACRO days(span_ms) AS span_ms / 86400000e0;
CREATE MACRO hours(span_ms) AS span_ms / 3600000e0;
CREATE MACRO shrunk(n_fraud, n_known, prior) AS (n_fraud + prior * 10e0) / (n_known + 10e0);

-- A label stands for whoever reads at seq s with from_seq < s <= until_seq.
CREATE TABLE standing AS
SELECT event_seq, value, known_at_ms, seq AS from_seq,
       coalesce(lead(seq) OVER (PARTITION BY event_seq ORDER BY seq), 9223372036854775807) AS until_seq
FROM labels;

-- The fraud rate of everything known before each event: what rates are shrunk towards.
CREATE TABLE priors AS
WITH changes AS (
    SELECT seq, 0 AS fraud, 0 AS known, true AS is_event FROM events
    UNION ALL
    SELECT seq, value - greatest(replaces, 0), CAST(replaces = -1 AS INT), false FROM labels
), known AS (
    SELECT seq, is_event, sum(fraud) OVER (ORDER BY seq) AS n_fraud, sum(known) OVER (ORDER BY seq) AS n_known
    FROM changes
)
SELECT seq, (n_fraud + 0.5e0) / (n_known + 1e0) AS prior FROM known WHERE is_event;

-- Each pair that an event forms, and whether it is the first time.
CREATE TABLE meetings AS
SELECT row_number() OVER () AS meeting, p.role_a, p.role_b, a.seq, a.entity AS entity_a, b.entity AS entity_b,
       e.time_ms, row_number() OVER (PARTITION BY p.role_a, p.role_b, a.entity, b.entity ORDER BY a.seq) = 1 AS is_first
FROM pairings p
JOIN links a ON a.role = p.role_a
JOIN links b ON b.role = p.role_b AND b.seq = a.seq
JOIN events e ON e.seq = a.seq
WHERE e.decided;

-- Partners that an entity meets for the first time at an event.
CREATE TABLE new_partners AS
SELECT seq, role, entity, count(*) AS n_new
FROM (
    SELECT seq, role_a AS role, entity_a AS entity FROM meetings WHERE is_first
    UNION ALL
    SELECT seq, role_b, entity_b FROM meetings WHERE is_first
)
GROUP BY ALL;

-- A stream sees an entity once per event: in one role of one type of event, or, where roles share an entity type, in any.
CREATE TABLE appearances AS
SELECT stream, entity, seq, any_value(time_ms) AS time_ms, any_value(amount) AS amount, max(n_new) AS n_new
FROM (
    SELECT e.type || '/' || l.role AS stream, l.entity, e.seq, e.time_ms, e.amount, coalesce(n.n_new, 0) AS n_new
    FROM events e JOIN links l USING (seq)
    LEFT JOIN new_partners n ON n.seq = l.seq AND n.role = l.role AND n.entity = l.entity AND e.decided
    UNION ALL
    SELECT 'any/' || r.entity_type, l.entity, e.seq, e.time_ms, e.amount, 0
    FROM events e JOIN links l USING (seq) JOIN roles r USING (role)
    WHERE e.decided
)
GROUP BY stream, entity, seq;

-- Whose past a decided event asks for: one reading per entity and reader.
CREATE TABLE readings AS
SELECT row_number() OVER () AS reading, e.seq, e.time_ms AS now_ms, e.amount AS now_amount, p.prior,
       l.role, r.prefix, r.stream, l.entity
FROM events e JOIN links l USING (seq) JOIN readers r USING (role) JOIN priors p ON p.seq = e.seq
WHERE e.decided;

-- And that past. `back` is 1 for the newest.
CREATE TABLE pasts AS
SELECT r.reading, r.seq, r.now_ms, a.seq AS past_seq, a.time_ms, a.amount, a.n_new,
       row_number() OVER (PARTITION BY r.reading ORDER BY a.seq DESC) AS back
FROM readings r JOIN appearances a ON a.stream = r.stream AND a.entity = r.entity AND a.seq < r.seq;

-- Where answers go: one row per number. NULL, which is not kept, is a missing value.
CREATE TABLE entity_facts (reading BIGINT, stat VARCHAR, value DOUBLE);
CREATE TABLE pair_facts (meeting BIGINT, stat VARCHAR, value DOUBLE);
CREATE TABLE event_facts (seq BIGINT, feature VARCHAR, value DOUBLE);
