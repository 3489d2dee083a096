-- Views for DuckDB over the JSON lines of Kasmina's telemetry. docs/TELEMETRY.md shows what to ask of them.
--
--     duckdb -cmd "SET VARIABLE lines = 'out/demo/*/telemetry.jsonl'" -cmd ".read docs/duckdb/views.sql"
--
-- The variable is a path, a pattern, or a list of both. Everything is read anew with each query, so a run can be asked while it trains.

-- What was delivered. A packet can be delivered twice, and a critical one that a killed process left says less the first time: the one that
-- says most counts. A line that is not a packet of a run, because the disk was full or the process died, is left out.
CREATE OR REPLACE VIEW packets AS
SELECT
    system_health.indicators['training_run_id'] AS run,
    system_health.indicators['seed_id'] AS seed,
    TRY_CAST(system_health.indicators['step_index'] AS UBIGINT) AS step,
    timestamp AS time,
    packet_id,
    metrics,
    events
FROM read_json(
    getvariable('lines'),
    format = 'newline_delimited',
    ignore_errors = true,
    columns = {
        packet_id: 'VARCHAR',
        timestamp: 'TIMESTAMPTZ',
        metrics: 'STRUCT(name VARCHAR, value VARCHAR, unit VARCHAR, attributes MAP(VARCHAR, VARCHAR))[]',
        events: 'STRUCT(event_id VARCHAR, description VARCHAR, level VARCHAR, attributes MAP(VARCHAR, VARCHAR))[]',
        system_health: 'STRUCT(status VARCHAR, summary VARCHAR, indicators MAP(VARCHAR, VARCHAR))'
    }
)
WHERE packet_id IS NOT NULL AND run IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY packet_id ORDER BY len(events) DESC, len(metrics) DESC) = 1;

-- One row for each event. `number` orders those of one packet.
CREATE OR REPLACE VIEW events AS
SELECT
    run,
    seed,
    step,
    time,
    event.description AS event,
    replace(event.level, 'TELEMETRY_LEVEL_', '') AS level,
    event.attributes AS attributes,
    event.event_id AS event_id,
    number
FROM (SELECT *, unnest(events) AS event, generate_subscripts(events, 1) AS number FROM packets);

-- One row for each value. `statistic` is NULL, or says which number of a summary it is.
CREATE OR REPLACE VIEW metrics AS
SELECT
    run,
    seed,
    step,
    time,
    metric.name AS metric,
    TRY_CAST(metric.value AS DOUBLE) AS value,
    metric.unit AS unit,
    metric.attributes['statistic'] AS statistic,
    metric.attributes AS attributes
FROM (SELECT *, unnest(metrics) AS metric FROM packets);

-- One row for each life of a seed: from its germination until it is DORMANT again, or until now.
CREATE OR REPLACE VIEW seed_lives AS
WITH moves AS (
    SELECT
        *,
        replace(attributes['from'], 'SEED_STAGE_', '') AS from_stage,
        replace(attributes['to'], 'SEED_STAGE_', '') AS to_stage,
        count(*) FILTER (WHERE attributes['to'] = 'SEED_STAGE_GERMINATED')
            OVER (PARTITION BY run, seed ORDER BY time, step, number) AS life
    FROM events
    WHERE event = 'seed_state'
),
lives AS (
    SELECT
        run,
        seed,
        life,
        min(time) AS began,
        min(step) AS first_step,
        max(step) AS last_step,
        last(to_stage ORDER BY time, step, number) AS stage,
        string_agg(to_stage, ' ' ORDER BY time, step, number) AS stages,
        lead(min(time)) OVER (PARTITION BY run, seed ORDER BY life) AS next_began
    FROM moves
    WHERE life > 0 -- before that it was only registered
    GROUP BY run, seed, life
),
reports AS (
    SELECT
        run,
        coalesce(seed, attributes['seed_id']) AS seed,
        time,
        attributes['blueprint_id'] AS blueprint,
        replace(attributes['outcome'], 'FIELD_REPORT_OUTCOME_', '') AS outcome,
        attributes['reason'] AS reason
    FROM events
    WHERE event = 'field_report'
)
SELECT lives.* EXCLUDE (next_began), reports.blueprint, reports.outcome, reports.reason
FROM lives
LEFT JOIN reports
    ON reports.run = lives.run
    AND reports.seed = lives.seed
    AND reports.time >= lives.began
    AND (lives.next_began IS NULL OR reports.time < lives.next_began);

-- What the gates said. Other attributes are what the gate measured.
CREATE OR REPLACE VIEW gates AS
SELECT
    run,
    seed,
    step,
    time,
    replace(attributes['gate'], 'SEED_GATE_', '') AS gate,
    CASE event WHEN 'gate_event' THEN 'passed' WHEN 'gate_failure' THEN 'refused' ELSE 'postponed' END AS verdict,
    attributes['reason'] AS reason,
    attributes
FROM events
WHERE event IN ('gate_event', 'gate_failure', 'gate_postponed');

-- What became of commands. Rejections are counted by reason: `count` is how many, and `command_id` names a few of them.
CREATE OR REPLACE VIEW commands AS
SELECT
    run,
    seed,
    step,
    time,
    CASE event WHEN 'command_accepted' THEN 'accepted' WHEN 'command_refused' THEN 'refused' ELSE 'rejected' END AS verdict,
    replace(attributes['command_type'], 'COMMAND_', '') AS command,
    attributes['reason'] AS reason,
    attributes['detail'] AS detail,
    attributes['issued_by'] AS issued_by,
    attributes['command_id'] AS command_id,
    coalesce(TRY_CAST(attributes['count'] AS UBIGINT), 1) AS count
FROM events
WHERE event IN ('command_accepted', 'command_refused', 'command_rejected');

-- What must not be: a gradient or a parameter where it does not belong, a kernel that failed, a step that was refused.
CREATE OR REPLACE VIEW violations AS
SELECT
    run,
    seed,
    step,
    time,
    event AS violation,
    coalesce(attributes['reason'], attributes['pass']) AS reason,
    attributes['detail'] AS detail,
    attributes
FROM events
WHERE event IN ('isolation_violation', 'parameter_violation', 'graft_fault', 'step_refused');

-- One row for each run.
CREATE OR REPLACE VIEW runs AS
SELECT
    run,
    min(time) AS began,
    max(time) AS latest,
    max(step) AS steps,
    (SELECT count(*) FROM seed_lives AS lives WHERE lives.run = packets.run) AS seed_lives,
    (SELECT count(*) FROM seed_lives AS lives WHERE lives.run = packets.run AND stage = 'FOSSILIZED') AS fossilized,
    (SELECT count(*) FROM gates WHERE gates.run = packets.run AND verdict = 'refused') AS refused_by_gates,
    (SELECT coalesce(sum(count), 0) FROM commands WHERE commands.run = packets.run AND verdict = 'accepted') AS commands,
    (SELECT coalesce(sum(count), 0) FROM commands WHERE commands.run = packets.run AND verdict = 'rejected') AS rejected,
    (SELECT count(*) FROM violations WHERE violations.run = packets.run) AS violations,
    (SELECT count(*) FROM events WHERE events.run = packets.run AND level = 'CRITICAL') AS critical_events
FROM packets
GROUP BY run;
