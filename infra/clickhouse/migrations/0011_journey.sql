-- The journey: what customers did, where they went next, what they had just done before they answered, and how they felt
-- by stage.

-- What an action means, for the views that need to know. One place: extend the lists here, in a new migration.
CREATE OR REPLACE FUNCTION actionRole {{on_cluster}} AS (action) ->
    multiIf(action IN ('order_placed', 'order', 'purchase'), 'order',
            action IN ('survey_sent', 'survey_invited'), 'survey',
            action IN ('cancelled', 'subscription_cancelled', 'account_closed'), 'lost',
            action IN ('ticket_opened', 'case_opened'), 'case_opened',
            action IN ('ticket_closed', 'case_closed'), 'case_closed',
            'other');

CREATE OR REPLACE VIEW feedback.enriched_interactions {{on_cluster}}
(
    tenant String COMMENT 'Who the interaction belongs to',
    source String COMMENT 'The system that sent it',
    interaction_id String COMMENT 'The source''s id of the interaction',
    customer_id String COMMENT 'Who acted; empty when unknown',
    action String COMMENT 'What was done, in the words of the source',
    role String COMMENT 'What it means: order, survey, lost, case_opened, case_closed or other',
    touchpoint String COMMENT 'Where the customer met the company',
    channel String COMMENT 'How: web, app, shop, phone, ...',
    journey_stage String COMMENT 'Stage of the customer''s journey',
    value Nullable(Float64) COMMENT 'Worth of the interaction in currency, e.g. of an order',
    currency String COMMENT 'ISO 4217 code',
    segments String COMMENT 'Segments of the customer as JSON',
    properties String COMMENT 'What else the source said, as JSON',
    flags Array(String) COMMENT 'What was odd on the way in, such as a clamped clock',
    occurred_at DateTime64(3, 'UTC') COMMENT 'When the customer acted',
    occurred_on Date COMMENT 'The same as a day in the tenant''s time zone',
    received_at DateTime64(3, 'UTC') COMMENT 'When the pipeline first saw it',
    processed_at DateTime64(3, 'UTC') COMMENT 'When the row was written'
)
AS SELECT
    i.tenant AS tenant, i.source AS source, i.interaction_id AS interaction_id, i.customer_id AS customer_id,
    i.action AS action, actionRole(i.action) AS role, i.touchpoint AS touchpoint, i.channel AS channel,
    i.journey_stage AS journey_stage, i.value AS value, i.currency AS currency, toJSONString(i.segments) AS segments,
    i.properties AS properties, i.flags AS flags, i.occurred_at AS occurred_at,
    localDay(i.occurred_at, z.timezone) AS occurred_on, i.received_at AS received_at, i.processed_at AS processed_at
FROM feedback.interactions AS i FINAL
LEFT JOIN feedback.tenant_zones AS z ON z.tenant = i.tenant;

-- Scores by stage and touchpoint.
CREATE OR REPLACE VIEW feedback.journey_scores {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    metric String COMMENT 'nps, csat, ces, stars or thumbs',
    journey_stage String COMMENT 'Stage of the customer''s journey',
    touchpoint String COMMENT 'Where the customer met the company',
    bucket Date COMMENT 'First day of the month in the time zone of the tenant',
    n UInt64 COMMENT 'Scored answers',
    promoters Nullable(UInt64) COMMENT 'NPS only',
    passives Nullable(UInt64) COMMENT 'NPS only',
    detractors Nullable(UInt64) COMMENT 'NPS only',
    satisfied Nullable(UInt64) COMMENT 'All but NPS: answers in the satisfied band',
    sum_score Float64 COMMENT 'Sum of the answers',
    score Nullable(Float64) COMMENT 'NPS -100..100; stars: mean; else share of satisfied answers, 0..100',
    ci_low Nullable(Float64) COMMENT 'Lower end of the 95 % interval of score',
    ci_high Nullable(Float64) COMMENT 'Upper end of the 95 % interval of score',
    scale String COMMENT 'Lowest and highest answer: answers on two scales are never mixed',
    sum_squares Float64 COMMENT 'Sum of the squared answers',
    mean_score Float64 COMMENT 'Mean answer on its scale'
)
AS SELECT
    tenant, metric, journey_stage, touchpoint, bucket,
    n, promoters, passives, detractors, satisfied, sum_score,
    scoreOf(metric, promoters, detractors, satisfied, sum_score, n) AS score,
    scoreLow(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_low,
    scoreHigh(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_high,
    scale, sum_squares, sum_score / n AS mean_score
FROM
(
    SELECT
        r.tenant AS tenant, r.metric AS metric, r.journey_stage AS journey_stage, r.touchpoint AS touchpoint,
        toStartOfMonth(r.occurred_on) AS bucket,
        r.scale AS scale, count() AS n,
        if(metric = 'nps', countIf(r.band = 'promoter'), NULL) AS promoters,
        if(metric = 'nps', countIf(r.band = 'passive'), NULL) AS passives,
        if(metric = 'nps', countIf(r.band = 'detractor'), NULL) AS detractors,
        if(metric = 'nps', NULL, countIf(r.band = 'satisfied')) AS satisfied,
        sum(r.score) AS sum_score, sum(r.score * r.score) AS sum_squares
    FROM feedback.scored_responses AS r
    GROUP BY tenant, metric, journey_stage, touchpoint, bucket, scale
);

-- Feeling by stage and touchpoint, scored or not.
CREATE OR REPLACE VIEW feedback.journey_sentiment {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    journey_stage String COMMENT 'Stage of the customer''s journey',
    touchpoint String COMMENT 'Where the customer met the company',
    model_version String COMMENT 'Model that set the labels',
    bucket Date COMMENT 'First day of the month in the time zone of the tenant',
    n UInt64 COMMENT 'Comments with a sentiment',
    positive UInt64 COMMENT 'Of them positive or very positive',
    negative UInt64 COMMENT 'Of them negative or very negative',
    score Nullable(Float64) COMMENT 'Net sentiment, -100..100',
    ci_low Nullable(Float64) COMMENT 'Lower end of its 95 % interval',
    ci_high Nullable(Float64) COMMENT 'Upper end of its 95 % interval'
)
AS SELECT
    tenant, journey_stage, touchpoint, model_version, bucket, n, positive, negative,
    npsScore(positive, negative, n) AS score, npsLow(positive, negative, n) AS ci_low,
    npsHigh(positive, negative, n) AS ci_high
FROM
(
    SELECT r.tenant AS tenant, journey_stage, touchpoint, model_version,
        toStartOfMonth(localDay(occurred_at, z.timezone)) AS bucket, count() AS n,
        countIf(sentiment IN ('positive', 'very_positive')) AS positive,
        countIf(sentiment IN ('negative', 'very_negative')) AS negative
    FROM feedback.enriched_responses AS r
    LEFT JOIN feedback.tenant_zones AS z ON z.tenant = r.tenant
    WHERE excluded = 0 AND sentiment NOT IN ('', 'unknown')
    GROUP BY tenant, journey_stage, touchpoint, model_version, bucket
);

-- Where customers go next. `score` is the share of the moves away from a touchpoint that go to another; (end) is where
-- a customer was last seen, so its share is the drop-off. Surveys sent are no acts of a customer and not part of a path.
CREATE OR REPLACE VIEW feedback.touchpoint_paths {{on_cluster}}
(
    tenant String COMMENT 'Who the interactions belong to',
    from_touchpoint String COMMENT 'Where the customers were',
    to_touchpoint String COMMENT 'Where they acted next; (end) = nowhere so far',
    moves UInt64 COMMENT 'How often that was',
    customers UInt64 COMMENT 'How many customers did so',
    n UInt64 COMMENT 'All moves away from from_touchpoint, ends included',
    score Nullable(Float64) COMMENT 'Share of moves, 0..100',
    ci_low Nullable(Float64) COMMENT 'Lower end of its 95 % interval',
    ci_high Nullable(Float64) COMMENT 'Upper end of its 95 % interval',
    median_hours Nullable(Float64) COMMENT 'Median time between the two acts; NULL at the end'
)
AS SELECT
    tenant, from_touchpoint, to_touchpoint, moves, customers, n, 100 * moves / n AS score,
    100 * wilsonLow(moves, n) AS ci_low, 100 * wilsonHigh(moves, n) AS ci_high,
    if(to_touchpoint = '(end)', NULL, hours) AS median_hours
FROM
(
    SELECT tenant, from_touchpoint, to_touchpoint, count() AS moves, uniqExact(customer_id) AS customers,
        sum(moves) OVER (PARTITION BY tenant, from_touchpoint) AS n, quantileExactInclusive(0.5)(gap) AS hours
    FROM
    (
        SELECT tenant, customer_id, touchpoint AS from_touchpoint,
            leadInFrame(touchpoint, 1, '(end)') OVER following AS to_touchpoint,
            dateDiff('millisecond', occurred_at, leadInFrame(occurred_at, 1, occurred_at) OVER following) / 3600000 AS gap
        FROM feedback.enriched_interactions
        WHERE role != 'survey' AND customer_id != ''
        WINDOW following AS (PARTITION BY tenant, customer_id ORDER BY occurred_at, source, interaction_id
            ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING)
    )
    GROUP BY tenant, from_touchpoint, to_touchpoint
);

-- What customers had done last, within 30 days, before they answered: where do detractors come from?
CREATE OR REPLACE VIEW feedback.scores_by_last_step {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    metric String COMMENT 'nps, csat, ces, stars or thumbs',
    last_touchpoint String COMMENT 'Where the customer had acted last; empty = nowhere in 30 days',
    last_action String COMMENT 'What the customer had done there',
    bucket Date COMMENT 'First day of the month in the time zone of the tenant',
    n UInt64 COMMENT 'Scored answers',
    promoters Nullable(UInt64) COMMENT 'NPS only',
    passives Nullable(UInt64) COMMENT 'NPS only',
    detractors Nullable(UInt64) COMMENT 'NPS only',
    satisfied Nullable(UInt64) COMMENT 'All but NPS: answers in the satisfied band',
    sum_score Float64 COMMENT 'Sum of the answers',
    score Nullable(Float64) COMMENT 'NPS -100..100; stars: mean; else share of satisfied answers, 0..100',
    ci_low Nullable(Float64) COMMENT 'Lower end of the 95 % interval of score',
    ci_high Nullable(Float64) COMMENT 'Upper end of the 95 % interval of score',
    scale String COMMENT 'Lowest and highest answer: answers on two scales are never mixed',
    sum_squares Float64 COMMENT 'Sum of the squared answers',
    mean_score Float64 COMMENT 'Mean answer on its scale'
)
AS SELECT
    tenant, metric, last_touchpoint, last_action, bucket,
    n, promoters, passives, detractors, satisfied, sum_score,
    scoreOf(metric, promoters, detractors, satisfied, sum_score, n) AS score,
    scoreLow(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_low,
    scoreHigh(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_high,
    scale, sum_squares, sum_score / n AS mean_score
FROM
(
    SELECT
        r.tenant AS tenant, r.metric AS metric,
        r.last_touchpoint AS last_touchpoint, r.last_action AS last_action,
        toStartOfMonth(r.occurred_on) AS bucket,
        r.scale AS scale, count() AS n,
        if(metric = 'nps', countIf(r.band = 'promoter'), NULL) AS promoters,
        if(metric = 'nps', countIf(r.band = 'passive'), NULL) AS passives,
        if(metric = 'nps', countIf(r.band = 'detractor'), NULL) AS detractors,
        if(metric = 'nps', NULL, countIf(r.band = 'satisfied')) AS satisfied,
        sum(r.score) AS sum_score, sum(r.score * r.score) AS sum_squares
    FROM
    (
        SELECT r.tenant AS tenant, r.metric AS metric, r.scale AS scale, r.band AS band, r.score AS score,
            r.occurred_on AS occurred_on,
            r.customer_id != '' AND i.customer_id != '' AND i.occurred_at > r.occurred_at - toIntervalDay(30) AS known,
            if(known, i.step.1, '') AS last_touchpoint, if(known, i.step.2, '') AS last_action
        FROM feedback.scored_responses AS r
        ASOF LEFT JOIN
        (
            SELECT tenant, customer_id, occurred_at,
                argMax((touchpoint, action), (source, interaction_id)) AS step  -- two acts in one millisecond
            FROM feedback.enriched_interactions
            WHERE role != 'survey' AND customer_id != ''
            GROUP BY tenant, customer_id, occurred_at
        ) AS i ON i.tenant = r.tenant AND i.customer_id = r.customer_id AND i.occurred_at <= r.occurred_at
    ) AS r
    GROUP BY tenant, metric, last_touchpoint, last_action, bucket, scale
);

-- down
DROP VIEW IF EXISTS feedback.scores_by_last_step {{on_cluster}};
DROP VIEW IF EXISTS feedback.touchpoint_paths {{on_cluster}};
DROP VIEW IF EXISTS feedback.journey_sentiment {{on_cluster}};
DROP VIEW IF EXISTS feedback.journey_scores {{on_cluster}};
DROP VIEW IF EXISTS feedback.enriched_interactions {{on_cluster}};
DROP FUNCTION IF EXISTS actionRole {{on_cluster}};
