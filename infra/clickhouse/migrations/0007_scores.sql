-- Scores by tenant, metric, survey, touchpoint, channel and time, computed from the facts whenever they are read: exact
-- after duplicates, corrections and late events. The counts add up over any grouping; put the sums through scoreOf,
-- scoreLow and scoreHigh (or npsScore, npsLow, npsHigh, wilsonLow, wilsonHigh) to get the score of that grouping.
CREATE OR REPLACE VIEW feedback.scores_hourly {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    metric String COMMENT 'nps, csat, ces, stars or thumbs',
    survey String COMMENT 'The survey the question was part of',
    touchpoint String COMMENT 'Where the customer met the company',
    channel String COMMENT 'How the answer came',
    bucket DateTime('UTC') COMMENT 'Start of the hour, UTC',
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
    tenant, metric, survey, touchpoint, channel, bucket, n, promoters, passives, detractors, satisfied, sum_score,
    scoreOf(metric, promoters, detractors, satisfied, sum_score, n) AS score,
    scoreLow(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_low,
    scoreHigh(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_high,
    scale, sum_squares, sum_score / n AS mean_score
FROM
(
    SELECT
        r.tenant AS tenant, r.metric AS metric, r.survey AS survey, r.touchpoint AS touchpoint, r.channel AS channel,
        r.scale AS scale, toStartOfHour(toDateTime(r.occurred_at, 'UTC')) AS bucket, count() AS n,
        if(metric = 'nps', countIf(r.band = 'promoter'), NULL) AS promoters,
        if(metric = 'nps', countIf(r.band = 'passive'), NULL) AS passives,
        if(metric = 'nps', countIf(r.band = 'detractor'), NULL) AS detractors,
        if(metric = 'nps', NULL, countIf(r.band = 'satisfied')) AS satisfied,
        sum(r.score) AS sum_score, sum(r.score * r.score) AS sum_squares
    FROM feedback.scored_responses AS r
    GROUP BY tenant, metric, survey, touchpoint, channel, scale, bucket
);

CREATE OR REPLACE VIEW feedback.scores_daily {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    metric String COMMENT 'nps, csat, ces, stars or thumbs',
    survey String COMMENT 'The survey the question was part of',
    touchpoint String COMMENT 'Where the customer met the company',
    channel String COMMENT 'How the answer came',
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
    tenant, metric, survey, touchpoint, channel, bucket, n, promoters, passives, detractors, satisfied, sum_score,
    scoreOf(metric, promoters, detractors, satisfied, sum_score, n) AS score,
    scoreLow(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_low,
    scoreHigh(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_high,
    scale, sum_squares, sum_score / n AS mean_score
FROM
(
    SELECT
        r.tenant AS tenant, r.metric AS metric, r.survey AS survey, r.touchpoint AS touchpoint, r.channel AS channel,
        r.scale AS scale, r.occurred_on AS bucket, count() AS n,
        if(metric = 'nps', countIf(r.band = 'promoter'), NULL) AS promoters,
        if(metric = 'nps', countIf(r.band = 'passive'), NULL) AS passives,
        if(metric = 'nps', countIf(r.band = 'detractor'), NULL) AS detractors,
        if(metric = 'nps', NULL, countIf(r.band = 'satisfied')) AS satisfied,
        sum(r.score) AS sum_score, sum(r.score * r.score) AS sum_squares
    FROM feedback.scored_responses AS r
    GROUP BY tenant, metric, survey, touchpoint, channel, scale, bucket
);

CREATE OR REPLACE VIEW feedback.scores_monthly {{on_cluster}}
(
    tenant String COMMENT 'Who the feedback belongs to',
    metric String COMMENT 'nps, csat, ces, stars or thumbs',
    survey String COMMENT 'The survey the question was part of',
    touchpoint String COMMENT 'Where the customer met the company',
    channel String COMMENT 'How the answer came',
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
    tenant, metric, survey, touchpoint, channel, bucket, n, promoters, passives, detractors, satisfied, sum_score,
    scoreOf(metric, promoters, detractors, satisfied, sum_score, n) AS score,
    scoreLow(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_low,
    scoreHigh(metric, promoters, detractors, satisfied, sum_score, sum_squares, n, scale) AS ci_high,
    scale, sum_squares, sum_score / n AS mean_score
FROM
(
    SELECT
        r.tenant AS tenant, r.metric AS metric, r.survey AS survey, r.touchpoint AS touchpoint, r.channel AS channel,
        r.scale AS scale, toStartOfMonth(r.occurred_on) AS bucket, count() AS n,
        if(metric = 'nps', countIf(r.band = 'promoter'), NULL) AS promoters,
        if(metric = 'nps', countIf(r.band = 'passive'), NULL) AS passives,
        if(metric = 'nps', countIf(r.band = 'detractor'), NULL) AS detractors,
        if(metric = 'nps', NULL, countIf(r.band = 'satisfied')) AS satisfied,
        sum(r.score) AS sum_score, sum(r.score * r.score) AS sum_squares
    FROM feedback.scored_responses AS r
    GROUP BY tenant, metric, survey, touchpoint, channel, scale, bucket
);

-- down
DROP VIEW IF EXISTS feedback.scores_monthly {{on_cluster}};
DROP VIEW IF EXISTS feedback.scores_daily {{on_cluster}};
DROP VIEW IF EXISTS feedback.scores_hourly {{on_cluster}};
