-- Control charts: EWMA and CUSUM of log amounts and log gaps, point by point, and counts against what is expected.

-- An entity's points in its role's own stream, each beside the mean and spread of the points before it.
CREATE TABLE points AS
WITH gaps AS (
    SELECT stream, entity, seq, row_number() OVER past AS nth,
           sign(amount) * ln(1 + abs(amount)) AS x,
           time_ms - max(time_ms) OVER before AS gap_ms
    FROM appearances WHERE stream IN (SELECT stream FROM readers WHERE prefix = role)
    WINDOW past AS (PARTITION BY stream, entity ORDER BY seq),
           before AS (PARTITION BY stream, entity ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
), logs AS (
    SELECT *, ln(1 + gap_ms / 1000e0) AS y, gap_ms > getvariable('quiet_ms') AS is_silent FROM gaps
)
SELECT stream, entity, seq, nth, x, y, coalesce(is_silent, false) AS is_silent,
       count(x) OVER before AS n_x, avg(x) OVER before AS mean_x,
       greatest(stddev_samp(x) OVER before, 0.05e0) AS spread_x,
       count(y) OVER before AS n_y, avg(y) OVER before AS mean_y,
       greatest(stddev_samp(y) OVER before, 0.05e0) AS spread_y
FROM logs
WINDOW before AS (PARTITION BY stream, entity ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING);

CREATE MACRO raised(total, step) AS least(20e0, greatest(0e0, total + least(4e0, greatest(-4e0, step)) - 0.5e0));

-- All entities step to their next point together. Fewer than five points before say nothing.
CREATE TABLE charts AS
WITH RECURSIVE walk AS (
    SELECT stream, entity, seq, nth, x AS level_x, CAST(NULL AS DOUBLE) AS level_y, 0e0 AS sum_x, 0e0 AS sum_y
    FROM points WHERE nth = 1
    UNION ALL
    SELECT p.stream, p.entity, p.seq, p.nth,
           CASE WHEN p.x IS NULL THEN w.level_x
                ELSE coalesce(w.level_x, p.x) + 0.2e0 * (p.x - coalesce(w.level_x, p.x)) END,
           coalesce(w.level_y, p.y) + 0.2e0 * (p.y - coalesce(w.level_y, p.y)),
           CASE WHEN p.x IS NOT NULL AND p.n_x >= 5
                THEN raised(CASE WHEN p.is_silent THEN 0e0 ELSE w.sum_x END, (p.x - p.mean_x) / p.spread_x)
                WHEN p.is_silent THEN 0e0 ELSE w.sum_x END,
           CASE WHEN p.n_y >= 5
                THEN raised(CASE WHEN p.is_silent THEN 0e0 ELSE w.sum_y END, (p.mean_y - p.y) / p.spread_y)
                WHEN p.is_silent THEN 0e0 ELSE w.sum_y END
    FROM walk w JOIN points p ON p.stream = w.stream AND p.entity = w.entity AND p.nth = w.nth + 1
)
SELECT w.stream, w.entity, w.seq,
       CASE WHEN p.x IS NOT NULL AND p.n_x >= 5
            THEN (w.level_x - p.mean_x) / (p.spread_x * sqrt(0.2e0 / 1.8e0)) END AS amount_ewma_z,
       CASE WHEN p.x IS NOT NULL AND p.n_x >= 5 THEN w.sum_x END AS amount_cusum,
       CASE WHEN p.n_y >= 5 THEN (p.mean_y - w.level_y) / (p.spread_y * sqrt(0.2e0 / 1.8e0)) END AS rate_ewma_z,
       CASE WHEN p.n_y >= 5 THEN w.sum_y END AS rate_cusum
FROM walk w JOIN points p USING (stream, entity, seq);

INSERT INTO entity_facts
UNPIVOT (
    SELECT r.reading, c.amount_ewma_z, c.amount_cusum, c.rate_ewma_z, c.rate_cusum
    FROM readings r JOIN charts c USING (stream, entity, seq)
    WHERE r.prefix = r.role
) ON COLUMNS(* EXCLUDE (reading)) INTO NAME stat VALUE value;

-- Events in the window against what the rate before it leads to expect; the time before must be as long.
INSERT INTO entity_facts
WITH lives AS (SELECT reading, min(time_ms) AS first_ms, count(*) AS n_events FROM pasts GROUP BY reading)
SELECT w.reading, 'excess_' || w.name,
       2e0 * (sqrt(w.n + 0.375e0)
           - sqrt((l.n_events - w.n) / (w.floor_ms - l.first_ms) * (w.now_ms - w.floor_ms) + 0.375e0))
FROM windowed w JOIN lives l USING (reading) JOIN readings r USING (reading)
WHERE (w.is_shortest OR w.is_longest) AND r.prefix = r.role AND w.floor_ms - l.first_ms >= w.now_ms - w.floor_ms;
