-- Two entities that one event names: their earlier events together, and those in which they had changed places.

INSERT INTO pair_facts
UNPIVOT (
    SELECT n.meeting,
           CAST(count(p.seq) = 0 AS DOUBLE) AS is_new,
           count(p.seq)::DOUBLE AS n_events,
           hours(any_value(n.time_ms) - max(p.time_ms)) AS gap_hours,
           days(any_value(n.time_ms) - min(p.time_ms)) AS age_days,
           count(*) FILTER (s.value = 1)::DOUBLE AS fraud_count,
           count(s.value)::DOUBLE AS known_count
    FROM meetings n
    LEFT JOIN meetings p ON p.role_a = n.role_a AND p.role_b = n.role_b
        AND p.entity_a = n.entity_a AND p.entity_b = n.entity_b AND p.seq < n.seq
    LEFT JOIN standing s ON s.event_seq = p.seq AND s.from_seq < n.seq AND n.seq <= s.until_seq
    GROUP BY n.meeting
) ON COLUMNS(* EXCLUDE (meeting)) INTO NAME stat VALUE value;

INSERT INTO pair_facts
UNPIVOT (
    SELECT n.meeting,
           count(p.seq)::DOUBLE AS reverse_n_events,
           hours(any_value(n.time_ms) - max(p.time_ms)) AS reverse_gap_hours
    FROM meetings n
    LEFT JOIN meetings p ON p.role_a = n.role_a AND p.role_b = n.role_b
        AND p.entity_a = n.entity_b AND p.entity_b = n.entity_a AND p.seq < n.seq
    GROUP BY n.meeting
) ON COLUMNS(* EXCLUDE (meeting)) INTO NAME stat VALUE value;
