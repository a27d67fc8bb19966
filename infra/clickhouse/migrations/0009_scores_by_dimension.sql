-- More cuts of the same scores: weeks, rolling windows, and any one dimension (journey stage, language, sentiment, topic,
-- segment, ...). Built on feedback.scored_responses, so one place says which responses count.

CREATE OR REPLACE VIEW feedback.scores_weekly {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    metric String COMMENT 'nps, csat, ces, stars or thumbs',
    survey String COMMENT 'The survey the question was part of',
    touchpoint String COMMENT 'Where the customer met the company',
    channel String COMMENT 'How the answer came',
    bucket Date COMMENT 'Monday of the week in the time zone of the tenant',
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
    tenant, metric, survey, touchpoint, channel, bucket,
    n, promoters, passives, detractors, satisfied, sum_score,
    scoreOf(metric, promoters, detractors, satisfied, sum_score, n) AS score,
    scoreLow(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_low,
    scoreHigh(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_high,
    scale, sum_squares, sum_score / n AS mean_score
FROM
(
    SELECT
        r.tenant AS tenant, r.metric AS metric, r.survey AS survey, r.touchpoint AS touchpoint, r.channel AS channel,
        toMonday(r.occurred_on) AS bucket,
        r.scale AS scale, count() AS n,
        if(metric = 'nps', countIf(r.band = 'promoter'), NULL) AS promoters,
        if(metric = 'nps', countIf(r.band = 'passive'), NULL) AS passives,
        if(metric = 'nps', countIf(r.band = 'detractor'), NULL) AS detractors,
        if(metric = 'nps', NULL, countIf(r.band = 'satisfied')) AS satisfied,
        sum(r.score) AS sum_score, sum(r.score * r.score) AS sum_squares
    FROM feedback.scored_responses AS r
    GROUP BY tenant, metric, survey, touchpoint, channel, bucket, scale
);

-- Running sums over every day from the first of `days` (as numbers) to `last`; days that are not there add nothing.
CREATE OR REPLACE FUNCTION runningSums {{on_cluster}} AS (days, amounts, last) ->
    arrayCumSum(mapPopulateSeries(days, arrayMap(amount -> toInt64(amount), amounts), last).2);

-- What came in the last `days` places up to each: the difference of two running sums, so a window of 90 days costs no
-- more than one of 7.
CREATE OR REPLACE FUNCTION windowSums {{on_cluster}} AS (running, days) ->
    arrayMap((now, before) -> now - before, running,
        arrayResize(arrayConcat(arrayResize([0], days, 0), running), length(running)));

-- Each day with the answers of the 7, 30 and 90 days that end with it. Days without answers are there too, as long as
-- the window has any, up to the newest day of the tenant.
CREATE OR REPLACE VIEW feedback.scores_rolling {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    metric String COMMENT 'nps, csat, ces, stars or thumbs',
    survey String COMMENT 'The survey the question was part of',
    touchpoint String COMMENT 'Where the customer met the company',
    channel String COMMENT 'How the answer came',
    bucket Date COMMENT 'Last day of the window, in the time zone of the tenant',
    days UInt8 COMMENT 'Length of the window: 7, 30 or 90 days',
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
    tenant, metric, survey, touchpoint, channel, bucket, days,
    n, promoters, passives, detractors, satisfied, sum_score,
    scoreOf(metric, promoters, detractors, satisfied, sum_score, n) AS score,
    scoreLow(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_low,
    scoreHigh(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_high,
    scale, sum_squares, sum_score / n AS mean_score
FROM
(
    SELECT
        tenant, metric, survey, touchpoint, channel, scale, toDate(w.1) AS bucket, toUInt8(days) AS days,
        toUInt64(w.2) AS n, if(metric = 'nps', toUInt64(w.3), NULL) AS promoters,
        if(metric = 'nps', toUInt64(w.4), NULL) AS passives, if(metric = 'nps', toUInt64(w.5), NULL) AS detractors,
        if(metric = 'nps', NULL, toUInt64(w.6)) AS satisfied, w.7 / 1000000 AS sum_score, w.8 / 1000000 AS sum_squares
    FROM
    (
        -- One row a group, with running sums of its days. Sums of answers in millionths: differences of whole numbers are exact.
        SELECT
            d.tenant AS tenant, d.metric AS metric, d.survey AS survey, d.touchpoint AS touchpoint,
            d.channel AS channel, d.scale AS scale, groupArray(toUInt32(d.bucket)) AS found,
            toUInt32(least(any(latest.newest), max(d.bucket) + 89)) AS last,
            range(toUInt32(min(d.bucket)), last + 1) AS every_day, runningSums(found, groupArray(d.n), last) AS ns,
            runningSums(found, groupArray(ifNull(d.promoters, 0)), last) AS promoters,
            runningSums(found, groupArray(ifNull(d.passives, 0)), last) AS passives,
            runningSums(found, groupArray(ifNull(d.detractors, 0)), last) AS detractors,
            runningSums(found, groupArray(ifNull(d.satisfied, 0)), last) AS satisfied,
            runningSums(found, groupArray(round(1000000 * d.sum_score)), last) AS sums,
            runningSums(found, groupArray(round(1000000 * d.sum_squares)), last) AS squares
        FROM feedback.scores_daily AS d
        -- A join and not a window over the tenant: so a question for one metric reads only that metric.
        JOIN
        (
            SELECT tenant, max(occurred_on) AS newest FROM feedback.scored_responses GROUP BY tenant
        ) AS latest ON latest.tenant = d.tenant
        GROUP BY tenant, metric, survey, touchpoint, channel, scale
    ) AS a
    ARRAY JOIN [7, 30, 90] AS days
    ARRAY JOIN arrayZip(every_day, windowSums(ns, days), windowSums(a.promoters, days), windowSums(a.passives, days),
        windowSums(a.detractors, days), windowSums(a.satisfied, days), windowSums(sums, days),
        windowSums(squares, days)) AS w
    WHERE w.2 > 0
);

-- Says no to a dimension that does not exist: a misspelt one would pass for "no answers".
CREATE OR REPLACE FUNCTION dimensionIsKnown {{on_cluster}} AS (dimension) ->
    throwIf(dimension NOT IN ('all', 'source', 'question', 'survey', 'touchpoint', 'channel', 'journey_stage', 'language',
        'sentiment', 'topic') AND NOT startsWith(dimension, 'segment.'),
        'unknown dimension: see docs/scores.md; a segment is written segment.KEY'
    ) = 0;

-- The values of a response in a dimension: one for most, none or many for topics, none where it has no such segment.
CREATE OR REPLACE FUNCTION dimensionValues {{on_cluster}} AS
    (dimension, source, question, survey, touchpoint, channel, stage, language, sentiment, topics, names, vals) ->
    multiIf(dimension = 'all', [''], dimension = 'source', [source], dimension = 'question', [question],
        dimension = 'survey', [survey], dimension = 'touchpoint', [touchpoint], dimension = 'channel', [channel],
        dimension = 'journey_stage', [stage], dimension = 'language', [language], dimension = 'sentiment', [sentiment],
        dimension = 'topic', topics,
        arrayFilter((value, name) -> name = substring(dimension, 9), vals, names));

-- A cut by the clock, a day wide on both sides (no zone is further from UTC): rows outside never have their day computed.
CREATE OR REPLACE FUNCTION aroundDays {{on_cluster}} AS (at, since, until) ->
    at >= toDateTime64(since, 3, 'UTC') - toIntervalDay(1) AND at < toDateTime64(until, 3, 'UTC') + toIntervalDay(1);

-- Every dimension at once, a row each: for tools that take no parameters. A response is in it several times, so filter
-- on one dimension; feedback.scores_by does the same for one dimension and is faster.
CREATE OR REPLACE VIEW feedback.scores_by_dimension {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    metric String COMMENT 'nps, csat, ces, stars or thumbs',
    dimension String COMMENT 'survey, touchpoint, channel, journey_stage, language, sentiment, topic, segment.KEY',
    value String COMMENT 'Value of the dimension',
    bucket Date COMMENT 'Day in the time zone of the tenant',
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
    tenant, metric, dimension, value, bucket,
    n, promoters, passives, detractors, satisfied, sum_score,
    scoreOf(metric, promoters, detractors, satisfied, sum_score, n) AS score,
    scoreLow(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_low,
    scoreHigh(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_high,
    scale, sum_squares, sum_score / n AS mean_score
FROM
(
    SELECT
        r.tenant AS tenant, r.metric AS metric, pair.1 AS dimension, pair.2 AS value, r.occurred_on AS bucket,
        r.scale AS scale, count() AS n,
        if(metric = 'nps', countIf(r.band = 'promoter'), NULL) AS promoters,
        if(metric = 'nps', countIf(r.band = 'passive'), NULL) AS passives,
        if(metric = 'nps', countIf(r.band = 'detractor'), NULL) AS detractors,
        if(metric = 'nps', NULL, countIf(r.band = 'satisfied')) AS satisfied,
        sum(r.score) AS sum_score, sum(r.score * r.score) AS sum_squares
    FROM feedback.scored_responses AS r
    ARRAY JOIN arrayConcat(
        [('survey', r.survey), ('touchpoint', r.touchpoint), ('channel', r.channel), ('journey_stage', r.journey_stage),
         ('language', r.language), ('sentiment', r.sentiment)],
        arrayMap(topic -> ('topic', topic), r.topics),
        arrayMap((name, value) -> (concat('segment.', name), value), r.segment_names, r.segment_values)) AS pair
    GROUP BY tenant, metric, dimension, value, bucket, scale
);

-- One dimension between two days: scores_by(tenant = , metric = , dimension = , since = , until = ), until left out.
CREATE OR REPLACE VIEW feedback.scores_by {{on_cluster}}
AS SELECT
    tenant, metric, value,
    n, promoters, passives, detractors, satisfied, sum_score,
    scoreOf(metric, promoters, detractors, satisfied, sum_score, n) AS score,
    scoreLow(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_low,
    scoreHigh(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_high,
    scale, sum_squares, sum_score / n AS mean_score
FROM
(
    SELECT
        r.tenant AS tenant, r.metric AS metric, value,
        r.scale AS scale, count() AS n,
        if(metric = 'nps', countIf(r.band = 'promoter'), NULL) AS promoters,
        if(metric = 'nps', countIf(r.band = 'passive'), NULL) AS passives,
        if(metric = 'nps', countIf(r.band = 'detractor'), NULL) AS detractors,
        if(metric = 'nps', NULL, countIf(r.band = 'satisfied')) AS satisfied,
        sum(r.score) AS sum_score, sum(r.score * r.score) AS sum_squares
    FROM feedback.scored_responses AS r
    ARRAY JOIN dimensionValues({dimension:String}, r.source, r.question, r.survey, r.touchpoint, r.channel,
        r.journey_stage, r.language, r.sentiment, r.topics, r.segment_names, r.segment_values) AS value
    WHERE r.tenant = {tenant:String} AND r.metric = {metric:String} AND dimensionIsKnown({dimension:String})
        AND r.occurred_on >= {since:Date} AND r.occurred_on < {until:Date}
        AND aroundDays(r.occurred_at, {since:Date}, {until:Date})
    GROUP BY tenant, metric, value, scale
)
COMMENT 'Scores by one dimension between two days; parameters: tenant, metric, dimension, since, until (left out)';

-- Two dimensions: cross_tab(tenant = , metric = , dimension_1 = , dimension_2 = , since = , until = ).
CREATE OR REPLACE VIEW feedback.cross_tab {{on_cluster}}
AS SELECT
    tenant, metric, value_1, value_2,
    n, promoters, passives, detractors, satisfied, sum_score,
    scoreOf(metric, promoters, detractors, satisfied, sum_score, n) AS score,
    scoreLow(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_low,
    scoreHigh(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_high,
    scale, sum_squares, sum_score / n AS mean_score
FROM
(
    SELECT
        r.tenant AS tenant, r.metric AS metric, cell.1 AS value_1, cell.2 AS value_2,
        r.scale AS scale, count() AS n,
        if(metric = 'nps', countIf(r.band = 'promoter'), NULL) AS promoters,
        if(metric = 'nps', countIf(r.band = 'passive'), NULL) AS passives,
        if(metric = 'nps', countIf(r.band = 'detractor'), NULL) AS detractors,
        if(metric = 'nps', NULL, countIf(r.band = 'satisfied')) AS satisfied,
        sum(r.score) AS sum_score, sum(r.score * r.score) AS sum_squares
    FROM feedback.scored_responses AS r
    ARRAY JOIN arrayFlatten(arrayMap(a -> arrayMap(b -> (a, b),
        dimensionValues({dimension_2:String}, r.source, r.question, r.survey, r.touchpoint, r.channel,
        r.journey_stage, r.language, r.sentiment, r.topics, r.segment_names, r.segment_values)),
        dimensionValues({dimension_1:String}, r.source, r.question, r.survey, r.touchpoint, r.channel,
        r.journey_stage, r.language, r.sentiment, r.topics, r.segment_names, r.segment_values))) AS cell
    WHERE r.tenant = {tenant:String} AND r.metric = {metric:String}
        AND dimensionIsKnown({dimension_1:String}) AND dimensionIsKnown({dimension_2:String})
        AND r.occurred_on >= {since:Date} AND r.occurred_on < {until:Date}
        AND aroundDays(r.occurred_at, {since:Date}, {until:Date})
    GROUP BY tenant, metric, value_1, value_2, scale
)
COMMENT 'Scores by two dimensions; parameters: tenant, metric, dimension_1, dimension_2, since, until (left out)';

-- down
DROP VIEW IF EXISTS feedback.cross_tab {{on_cluster}};
DROP VIEW IF EXISTS feedback.scores_by {{on_cluster}};
DROP VIEW IF EXISTS feedback.scores_by_dimension {{on_cluster}};
DROP FUNCTION IF EXISTS aroundDays {{on_cluster}};
DROP FUNCTION IF EXISTS dimensionValues {{on_cluster}};
DROP FUNCTION IF EXISTS dimensionIsKnown {{on_cluster}};
DROP VIEW IF EXISTS feedback.scores_rolling {{on_cluster}};
DROP FUNCTION IF EXISTS windowSums {{on_cluster}};
DROP FUNCTION IF EXISTS runningSums {{on_cluster}};
DROP VIEW IF EXISTS feedback.scores_weekly {{on_cluster}};
