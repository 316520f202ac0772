-- One hop: whom an entity met in its last 16 events, what this event shares with them, and the frauds known there.

-- An entity as neighbours see it: one node whatever its role, where roles share its type. An event has 16 nodes at
-- most, and tells others of nine: the first of every role, then the rest.
CREATE TABLE nodes AS
WITH named AS (
    SELECT l.seq, l.position, l.role, r.hub_cap, l.entity,
           CASE WHEN r.is_shared THEN 'type ' || r.entity_type ELSE 'role ' || r.role END AS kind
    FROM links l JOIN roles r USING (role) JOIN events e USING (seq)
    WHERE e.decided
), once AS (
    SELECT seq, kind, entity, min(position) AS position, arg_min(role, position) AS role,
           arg_min(hub_cap, position) AS hub_cap
    FROM named GROUP BY seq, kind, entity
), taking_part AS (
    SELECT *, row_number() OVER (PARTITION BY seq ORDER BY position) AS place FROM once QUALIFY place <= 16
), in_turn AS (
    SELECT *, row_number() OVER (PARTITION BY seq, role ORDER BY position) = 1 AS is_first_of_role FROM taking_part
)
SELECT seq, role, hub_cap, entity, dense_rank() OVER (ORDER BY kind, entity) AS node,
       row_number() OVER (PARTITION BY seq ORDER BY is_first_of_role DESC, position) <= 9 AS is_kept,
       row_number() OVER (PARTITION BY kind, entity ORDER BY seq) AS nth
FROM in_turn;

-- What was known of a node after each record that changed it.
CREATE TABLE counters AS
SELECT node, seq, sum(event) OVER past AS n_events, sum(known) OVER past AS n_known, sum(fraud) OVER past AS n_fraud
FROM (
    SELECT node, seq, 1 AS event, 0 AS known, 0 AS fraud FROM nodes
    UNION ALL
    SELECT n.node, l.seq, 0, CAST(l.replaces = -1 AS INT), l.value - greatest(l.replaces, 0)
    FROM labels l JOIN nodes n ON n.seq = l.event_seq
)
WINDOW past AS (PARTITION BY node ORDER BY seq);

-- Frauds of those it met: counted when they meet, and again whenever a fraud is confirmed of somebody that it met in
-- that one's last 16 events. A withdrawn fraud counts down, never below zero: a sum that bounces off zero is the plain
-- sum less its lowest point so far (Lindley 1952).
CREATE TABLE near_frauds AS
WITH told AS (
    SELECT n.node, n.seq, CASE WHEN c.n_events <= n.hub_cap THEN c.n_fraud ELSE 0 END AS known
    FROM nodes n ASOF LEFT JOIN counters c ON c.node = n.node AND c.seq < n.seq
), changes AS (
    SELECT node, seq, sum(known) OVER (PARTITION BY seq) - known AS change FROM told
    UNION ALL
    SELECT met.node, l.seq, l.value - greatest(l.replaces, 0)
    FROM labels l JOIN nodes v ON v.seq = l.event_seq
    ASOF JOIN counters c ON c.node = v.node AND c.seq < l.seq
    JOIN nodes last ON last.node = v.node AND last.nth > c.n_events - 16 AND last.nth <= c.n_events
    JOIN nodes met ON met.seq = last.seq AND met.is_kept AND met.node <> v.node
    WHERE c.n_events <= v.hub_cap AND last.seq <> l.event_seq
), steps AS (
    SELECT node, seq, sum(change) AS change FROM changes GROUP BY node, seq
), sums AS (
    SELECT node, seq, sum(change) OVER (PARTITION BY node ORDER BY seq) AS total FROM steps
)
SELECT node, seq, total - least(0, min(total) OVER (PARTITION BY node ORDER BY seq)) AS n_near FROM sums;

-- The last 16 events of each node of each event, and the label that each showed then.
CREATE TABLE lately AS
SELECT v.seq, v.node, last.seq AS event_seq, e.time_ms AS event_ms, e.amount AS event_amount,
       now.time_ms AS now_ms, now.amount AS now_amount, p.prior, s.value
FROM nodes v
JOIN nodes last ON last.node = v.node AND last.nth >= v.nth - 16 AND last.nth < v.nth
JOIN events e ON e.seq = last.seq
JOIN events now ON now.seq = v.seq
JOIN priors p ON p.seq = v.seq
LEFT JOIN standing s ON s.event_seq = last.seq AND s.from_seq < v.seq AND v.seq <= s.until_seq;

-- Whom they met there; who has more events than the cap of the role it was met in is passed over.
CREATE TABLE mentions AS
SELECT l.*, met.node AS met, own.node IS NOT NULL AS is_own, c.n_events, c.n_known, c.n_fraud,
       coalesce(f.n_near, 0) AS n_near
FROM lately l
JOIN nodes met ON met.seq = l.event_seq AND met.is_kept AND met.node <> l.node
LEFT JOIN nodes own ON own.seq = l.seq AND own.node = met.node
ASOF JOIN counters c ON c.node = met.node AND c.seq < l.seq
ASOF LEFT JOIN near_frauds f ON f.node = met.node AND f.seq < l.seq
WHERE c.n_events <= met.hub_cap;

CREATE TABLE reached AS
SELECT seq, node, met, max(event_ms) AS met_ms, any_value(is_own) AS is_own, any_value(now_ms) AS now_ms,
       any_value(n_events) AS n_events, any_value(n_known) AS n_known, any_value(n_fraud) AS n_fraud,
       any_value(n_near) AS n_near, any_value(prior) AS prior,
       count(*) OVER (PARTITION BY seq, met) AS n_by
FROM mentions GROUP BY seq, node, met;

-- Link statistics belong to the role's own reading.
CREATE TABLE seats AS
SELECT r.reading, r.seq, r.now_ms, r.prior, n.node, n.hub_cap, c.n_events, f.n_near
FROM readings r JOIN roles o USING (role)
JOIN nodes n ON n.seq = r.seq AND n.entity = r.entity AND (n.role = r.role OR o.is_shared)
ASOF LEFT JOIN counters c ON c.node = n.node AND c.seq < r.seq
ASOF LEFT JOIN near_frauds f ON f.node = n.node AND f.seq < r.seq
WHERE r.prefix = r.role;

INSERT INTO entity_facts
UNPIVOT (
    WITH of_events AS (
        SELECT l.seq, l.node, l.event_seq, any_value(l.value) AS value,
               count(m.met) FILTER (m.is_own) AS overlap, count(m.met) AS n_mentions,
               any_value(l.now_ms - l.event_ms < 14 * 86400000
                   AND abs(l.event_amount - l.now_amount) <= 0.2e0 * l.now_amount) AS is_similar
        FROM lately l LEFT JOIN mentions m USING (seq, node, event_seq)
        GROUP BY l.seq, l.node, l.event_seq
    ), events_summed AS (
        SELECT seq, node, max(overlap) AS most, max(overlap) FILTER (value = 1) AS most_fraud,
               sum(n_mentions) AS n_mentions, sum(n_mentions) FILTER (value = 1) AS n_own_frauds,
               count(*) FILTER (is_similar) AS n_similar
        FROM of_events GROUP BY seq, node
    ), others_summed AS (
        SELECT seq, node, count(*) AS n, count(*) FILTER (is_own) AS n_shared,
               count(*) FILTER (NOT is_own AND n_by > 1) AS n_common, sum(n_events) AS n_events,
               max(n_events) AS most_events, count(*) FILTER (n_events = 1) AS n_once, sum(n_fraud) AS n_frauds,
               count(*) FILTER (n_fraud > 0) AS n_with_fraud, avg(shrunk(n_fraud, n_known, prior)) AS mean_rate,
               max(shrunk(n_fraud, n_known, prior)) AS most_rate, sum(n_near) AS n_far
        FROM reached GROUP BY seq, node
    )
    SELECT s.reading,
           coalesce(o.n, 0)::DOUBLE AS others,
           e.n_mentions / o.n AS others_repeat,
           coalesce(o.n_shared, 0)::DOUBLE AS shared,
           coalesce(e.most, 0)::DOUBLE AS shared_most,
           coalesce(o.n_common, 0)::DOUBLE AS common,
           coalesce(e.n_similar, 0)::DOUBLE AS similar,
           o.n_events / o.n AS others_events_mean,
           o.most_events::DOUBLE AS others_events_max,
           o.n_once / o.n AS others_once,
           CAST(coalesce(s.n_events, 0) > s.hub_cap AS DOUBLE) AS is_hub,
           greatest(coalesce(o.n_frauds, 0) - coalesce(e.n_own_frauds, 0), 0)::DOUBLE AS others_fraud_count,
           o.n_with_fraud / o.n AS others_fraud_share,
           coalesce(o.mean_rate, s.prior) AS others_fraud_rate,
           coalesce(o.most_rate, s.prior) AS others_fraud_rate_max,
           coalesce(e.most_fraud, 0)::DOUBLE AS shared_fraud,
           coalesce(s.n_near, 0)::DOUBLE AS near_fraud_count,
           coalesce(o.n_far, 0)::DOUBLE AS far_fraud_count
    FROM seats s LEFT JOIN events_summed e USING (seq, node) LEFT JOIN others_summed o USING (seq, node)
) ON COLUMNS(* EXCLUDE (reading)) INTO NAME stat VALUE value;

INSERT INTO entity_facts
SELECT s.reading, 'others_' || w.name, count(r.met)
FROM seats s CROSS JOIN windows w
LEFT JOIN reached r ON r.seq = s.seq AND r.node = s.node AND r.met_ms > floor_of(s.now_ms, w.span_ms)
GROUP BY s.reading, w.name;

-- All entities of an event together: an earlier event or an entity met counts once, whoever leads to it.
INSERT INTO event_facts
SELECT seq, 'event.' || stat, value
FROM (
    UNPIVOT (
        WITH linked AS (
            SELECT seq, count(*) AS n, count(value) AS n_known, count(*) FILTER (value = 1) AS n_fraud
            FROM (SELECT DISTINCT seq, event_seq, value FROM lately) GROUP BY seq
        ), overlapping AS (
            SELECT seq, max(n) AS most FROM (
                SELECT seq, node, event_seq, count(*) AS n FROM mentions WHERE is_own GROUP BY ALL
            ) GROUP BY seq
        ), strangers AS (
            SELECT seq, count(*) AS n, count(*) FILTER (n_by > 1) AS n_common, sum(n_fraud) AS n_fraud,
                   sum(n_known) AS n_known, count(*) FILTER (n_fraud > 0) AS n_with_fraud, sum(n_near) AS n_far,
                   max(shrunk(n_fraud, n_known, prior)) FILTER (n_fraud > 0) AS most_rate
            FROM (SELECT DISTINCT seq, met, n_by, n_events, n_known, n_fraud, n_near, prior FROM reached WHERE NOT is_own)
            GROUP BY seq
        )
        SELECT seq,
               coalesce(l.n, 0)::DOUBLE AS linked_events,
               coalesce(o.most, 0)::DOUBLE AS shared_most,
               coalesce(s.n, 0)::DOUBLE AS others,
               coalesce(s.n_common, 0)::DOUBLE AS common,
               coalesce(l.n_fraud, 0)::DOUBLE AS linked_fraud_count,
               shrunk(coalesce(l.n_fraud, 0), coalesce(l.n_known, 0), p.prior) AS linked_fraud_rate,
               coalesce(s.n_fraud, 0)::DOUBLE AS others_fraud_count,
               s.n_with_fraud / s.n AS others_fraud_share,
               shrunk(coalesce(s.n_fraud, 0), coalesce(s.n_known, 0), p.prior) AS others_fraud_rate,
               greatest(p.prior, coalesce(s.most_rate, p.prior)) AS others_fraud_rate_max,
               coalesce(s.n_far, 0)::DOUBLE AS far_fraud_count
        FROM events e JOIN priors p USING (seq) LEFT JOIN linked l USING (seq) LEFT JOIN overlapping o USING (seq)
        LEFT JOIN strangers s USING (seq)
        WHERE e.decided
    ) ON COLUMNS(* EXCLUDE (seq)) INTO NAME stat VALUE value
);
