-- Changes and what drives them. Every comparison has the difference, its 95 % interval, a p-value, and a q-value: p
-- corrected for the number of rows in the answer (Benjamini-Hochberg). Formulas: schemas/scores.py.

-- Adjusted score and the variance of its estimate, in the unit of the score: Rocks for NPS and stars, Agresti and Caffo
-- for shares.
CREATE OR REPLACE FUNCTION differenceCentre {{on_cluster}} AS (metric, promoters, detractors, satisfied, total, n, scale) ->
    multiIf(metric = 'nps', 100 * (promoters - detractors) / (n + 3),
            metric = 'stars', meanCentre(total, n, scaleLowest(scale), scaleHighest(scale)),
            100 * (satisfied + 1) / (n + 2));

CREATE OR REPLACE FUNCTION differenceVariance {{on_cluster}} AS
    (metric, promoters, detractors, satisfied, total, squares, n, scale) ->
    multiIf(metric = 'nps', 10000 * ((promoters + detractors + 1.5) / (n + 3) - pow((promoters - detractors) / (n + 3), 2))
                / (n + 3),
            metric = 'stars', pow(meanError(total, squares, n, scaleLowest(scale), scaleHighest(scale)), 2),
            10000 * (satisfied + 1) / (n + 2) * (1 - (satisfied + 1) / (n + 2)) / (n + 2));

-- The greatest difference there can be.
CREATE OR REPLACE FUNCTION differenceLimit {{on_cluster}} AS (metric, scale) ->
    multiIf(metric = 'nps', 200., metric = 'stars', scaleHighest(scale) - scaleLowest(scale), 100.);

-- What an answer adds to a score, so that the score is the mean of its points.
CREATE OR REPLACE FUNCTION scorePoints {{on_cluster}} AS (metric, band, score) ->
    multiIf(metric = 'stars', score, band IN ('promoter', 'satisfied'), 100., band = 'detractor', -100., 0.);

-- Between two periods, for each value of a dimension ('all' for one row).
CREATE OR REPLACE VIEW feedback.score_change {{on_cluster}}
AS SELECT
    tenant, metric, value, scale, n_1, score_1, ci_low_1, ci_high_1, n_2, score_2, ci_low_2, ci_high_2,
    difference, ci_low, ci_high, p_value,
    if(p_value IS NULL, NULL, least(1., min(p_value * tests / place) OVER (ORDER BY p_value DESC RANGE UNBOUNDED PRECEDING)))
        AS q_value
FROM
(
    SELECT *, count(p_value) OVER () AS tests, row_number() OVER (ORDER BY p_value ASC) AS place
    FROM
    (
        SELECT
            tenant, metric, value, scale, n_1, score_1, ci_low_1, ci_high_1, n_2, score_2, ci_low_2, ci_high_2,
            score_2 - score_1 AS difference,
            if(difference IS NULL, NULL,
                greatest(-differenceLimit(metric, scale), centre - 1.959963984540054 * error)) AS ci_low,
            if(difference IS NULL, NULL,
                least(differenceLimit(metric, scale), centre + 1.959963984540054 * error)) AS ci_high,
            if(difference IS NULL, NULL, erfc(abs(centre) / error / 1.4142135623730951)) AS p_value
        FROM
        (
            SELECT
                tenant, metric, value, scale,
                n_1, scoreOf(metric, promoters_1, detractors_1, satisfied_1, sum_1, n_1) AS score_1,
                scoreLow(metric, promoters_1, detractors_1, satisfied_1, sum_1, squares_1, n_1, scale) AS ci_low_1,
                scoreHigh(metric, promoters_1, detractors_1, satisfied_1, sum_1, squares_1, n_1, scale) AS ci_high_1,
                n_2, scoreOf(metric, promoters_2, detractors_2, satisfied_2, sum_2, n_2) AS score_2,
                scoreLow(metric, promoters_2, detractors_2, satisfied_2, sum_2, squares_2, n_2, scale) AS ci_low_2,
                scoreHigh(metric, promoters_2, detractors_2, satisfied_2, sum_2, squares_2, n_2, scale) AS ci_high_2,
                differenceCentre(metric, promoters_2, detractors_2, satisfied_2, sum_2, n_2, scale)
                    - differenceCentre(metric, promoters_1, detractors_1, satisfied_1, sum_1, n_1, scale) AS centre,
                sqrt(differenceVariance(metric, promoters_2, detractors_2, satisfied_2, sum_2, squares_2, n_2, scale)
                    + differenceVariance(metric, promoters_1, detractors_1, satisfied_1, sum_1, squares_1, n_1, scale)) AS error
            FROM
            (
                SELECT
                    r.tenant AS tenant, r.metric AS metric, value, r.scale AS scale,
                    countIf(in_1) AS n_1, countIf(in_1 AND r.band = 'promoter') AS promoters_1,
                    countIf(in_1 AND r.band = 'detractor') AS detractors_1, countIf(in_1 AND r.band = 'satisfied') AS satisfied_1,
                    sumIf(r.score, in_1) AS sum_1, sumIf(r.score * r.score, in_1) AS squares_1,
                    countIf(in_2) AS n_2, countIf(in_2 AND r.band = 'promoter') AS promoters_2,
                    countIf(in_2 AND r.band = 'detractor') AS detractors_2, countIf(in_2 AND r.band = 'satisfied') AS satisfied_2,
                    sumIf(r.score, in_2) AS sum_2, sumIf(r.score * r.score, in_2) AS squares_2
                FROM
                (
                    SELECT r.*,
                        (r.occurred_on >= {since_1:Date} AND r.occurred_on < {until_1:Date}) AS in_1,
                        (r.occurred_on >= {since_2:Date} AND r.occurred_on < {until_2:Date}) AS in_2
                    FROM feedback.scored_responses AS r
                    WHERE r.tenant = {tenant:String} AND r.metric = {metric:String} AND dimensionIsKnown({dimension:String})
                        AND aroundDays(r.occurred_at, least({since_1:Date}, {since_2:Date}), greatest({until_1:Date}, {until_2:Date}))
                ) AS r
                ARRAY JOIN dimensionValues({dimension:String}, r.source, r.question, r.survey, r.touchpoint, r.channel,
                    r.journey_stage, r.language, r.sentiment, r.topics, r.segment_names, r.segment_values) AS value
                WHERE in_1 OR in_2
                GROUP BY tenant, metric, value, scale
            )
        )
    )
)
COMMENT 'Change of a score between two periods by one dimension; parameters: tenant, metric, dimension, since_1, until_1, since_2, until_2';

-- Between two segments (or topics, channels, ...) in one period. A response with both values is on both sides.
CREATE OR REPLACE VIEW feedback.segment_difference {{on_cluster}}
AS SELECT
    tenant, metric, value, scale, n_1, score_1, ci_low_1, ci_high_1, n_2, score_2, ci_low_2, ci_high_2,
    difference, ci_low, ci_high, p_value,
    if(p_value IS NULL, NULL, least(1., min(p_value * tests / place) OVER (ORDER BY p_value DESC RANGE UNBOUNDED PRECEDING)))
        AS q_value
FROM
(
    SELECT *, count(p_value) OVER () AS tests, row_number() OVER (ORDER BY p_value ASC) AS place
    FROM
    (
        SELECT
            tenant, metric, value, scale, n_1, score_1, ci_low_1, ci_high_1, n_2, score_2, ci_low_2, ci_high_2,
            score_2 - score_1 AS difference,
            if(difference IS NULL, NULL,
                greatest(-differenceLimit(metric, scale), centre - 1.959963984540054 * error)) AS ci_low,
            if(difference IS NULL, NULL,
                least(differenceLimit(metric, scale), centre + 1.959963984540054 * error)) AS ci_high,
            if(difference IS NULL, NULL, erfc(abs(centre) / error / 1.4142135623730951)) AS p_value
        FROM
        (
            SELECT
                tenant, metric, value, scale,
                n_1, scoreOf(metric, promoters_1, detractors_1, satisfied_1, sum_1, n_1) AS score_1,
                scoreLow(metric, promoters_1, detractors_1, satisfied_1, sum_1, squares_1, n_1, scale) AS ci_low_1,
                scoreHigh(metric, promoters_1, detractors_1, satisfied_1, sum_1, squares_1, n_1, scale) AS ci_high_1,
                n_2, scoreOf(metric, promoters_2, detractors_2, satisfied_2, sum_2, n_2) AS score_2,
                scoreLow(metric, promoters_2, detractors_2, satisfied_2, sum_2, squares_2, n_2, scale) AS ci_low_2,
                scoreHigh(metric, promoters_2, detractors_2, satisfied_2, sum_2, squares_2, n_2, scale) AS ci_high_2,
                differenceCentre(metric, promoters_2, detractors_2, satisfied_2, sum_2, n_2, scale)
                    - differenceCentre(metric, promoters_1, detractors_1, satisfied_1, sum_1, n_1, scale) AS centre,
                sqrt(differenceVariance(metric, promoters_2, detractors_2, satisfied_2, sum_2, squares_2, n_2, scale)
                    + differenceVariance(metric, promoters_1, detractors_1, satisfied_1, sum_1, squares_1, n_1, scale)) AS error
            FROM
            (
                SELECT
                    r.tenant AS tenant, r.metric AS metric, concat({value_1:String}, ' -> ', {value_2:String}) AS value,
                    r.scale AS scale,
                    countIf(in_1) AS n_1, countIf(in_1 AND r.band = 'promoter') AS promoters_1,
                    countIf(in_1 AND r.band = 'detractor') AS detractors_1, countIf(in_1 AND r.band = 'satisfied') AS satisfied_1,
                    sumIf(r.score, in_1) AS sum_1, sumIf(r.score * r.score, in_1) AS squares_1,
                    countIf(in_2) AS n_2, countIf(in_2 AND r.band = 'promoter') AS promoters_2,
                    countIf(in_2 AND r.band = 'detractor') AS detractors_2, countIf(in_2 AND r.band = 'satisfied') AS satisfied_2,
                    sumIf(r.score, in_2) AS sum_2, sumIf(r.score * r.score, in_2) AS squares_2
                FROM
                (
                    SELECT r.*,
                        has(dimensionValues({dimension:String}, r.source, r.question, r.survey, r.touchpoint, r.channel,
                            r.journey_stage, r.language, r.sentiment, r.topics, r.segment_names, r.segment_values), {value_1:String}) AS in_1,
                        has(dimensionValues({dimension:String}, r.source, r.question, r.survey, r.touchpoint, r.channel,
                            r.journey_stage, r.language, r.sentiment, r.topics, r.segment_names, r.segment_values), {value_2:String}) AS in_2
                    FROM feedback.scored_responses AS r
                    WHERE r.tenant = {tenant:String} AND r.metric = {metric:String} AND dimensionIsKnown({dimension:String})
                        AND r.occurred_on >= {since:Date} AND r.occurred_on < {until:Date}
                        AND aroundDays(r.occurred_at, {since:Date}, {until:Date})
                ) AS r
                WHERE in_1 OR in_2
                GROUP BY tenant, metric, value, scale
            )
        )
    )
)
COMMENT 'Difference between two values of a dimension; parameters: tenant, metric, dimension, value_1, value_2, since, until';

-- Drivers: impact of a value = score of all - score without the responses that have it (Thematic). It equals
-- share x (score with - score without), and so does its interval. Negative: it drags the score down.
CREATE OR REPLACE VIEW feedback.drivers {{on_cluster}}
AS SELECT
    tenant, metric, value, scale, n, share, score_all, score_with, score_without, impact, ci_low, ci_high, p_value,
    if(p_value IS NULL, NULL, least(1., min(p_value * tests / place) OVER (ORDER BY p_value DESC RANGE UNBOUNDED PRECEDING)))
        AS q_value
FROM
(
    SELECT *, count(p_value) OVER () AS tests, row_number() OVER (ORDER BY p_value ASC) AS place
    FROM
    (
        SELECT
            tenant, metric, value, scale, n_2 AS n, n_2 / n_all AS share, score_all,
            scoreOf(metric, promoters_2, detractors_2, satisfied_2, sum_2, n_2) AS score_with,
            scoreOf(metric, promoters_1, detractors_1, satisfied_1, sum_1, n_1) AS score_without,
            score_all - score_without AS impact,
            differenceCentre(metric, promoters_2, detractors_2, satisfied_2, sum_2, n_2, scale)
                - differenceCentre(metric, promoters_1, detractors_1, satisfied_1, sum_1, n_1, scale) AS centre,
            sqrt(differenceVariance(metric, promoters_2, detractors_2, satisfied_2, sum_2, squares_2, n_2, scale)
                + differenceVariance(metric, promoters_1, detractors_1, satisfied_1, sum_1, squares_1, n_1, scale)) AS error,
            if(impact IS NULL, NULL,
                share * greatest(-differenceLimit(metric, scale), centre - 1.959963984540054 * error)) AS ci_low,
            if(impact IS NULL, NULL,
                share * least(differenceLimit(metric, scale), centre + 1.959963984540054 * error)) AS ci_high,
            if(impact IS NULL, NULL, erfc(abs(centre) / error / 1.4142135623730951)) AS p_value
        FROM
        (
            SELECT
                tenant, metric, value, scale, everyone,
                n AS n_2, promoters AS promoters_2, detractors AS detractors_2, satisfied AS satisfied_2, total AS sum_2,
                squares AS squares_2,
                sumIf(n, everyone) OVER s AS n_all, n_all - n AS n_1,
                sumIf(promoters, everyone) OVER s AS promoters_all, promoters_all - promoters AS promoters_1,
                sumIf(detractors, everyone) OVER s AS detractors_all, detractors_all - detractors AS detractors_1,
                sumIf(satisfied, everyone) OVER s AS satisfied_all, satisfied_all - satisfied AS satisfied_1,
                sumIf(total, everyone) OVER s AS sum_all, sum_all - total AS sum_1,
                sumIf(squares, everyone) OVER s AS squares_all, squares_all - squares AS squares_1,
                scoreOf(metric, promoters_all, detractors_all, satisfied_all, sum_all, n_all) AS score_all
            FROM
            (
                -- One reading of the responses: each is there once for everyone and once for each of its values.
                SELECT
                    r.tenant AS tenant, r.metric AS metric, part.1 AS value, part.2 AS everyone, r.scale AS scale,
                    count() AS n, countIf(r.band = 'promoter') AS promoters, countIf(r.band = 'detractor') AS detractors,
                    countIf(r.band = 'satisfied') AS satisfied, sum(r.score) AS total, sum(r.score * r.score) AS squares
                FROM feedback.scored_responses AS r
                ARRAY JOIN arrayConcat([('', true)], arrayMap(v -> (v, false),
                    dimensionValues({dimension:String}, r.source, r.question, r.survey, r.touchpoint, r.channel,
                        r.journey_stage, r.language, r.sentiment, r.topics, r.segment_names, r.segment_values))) AS part
                WHERE r.tenant = {tenant:String} AND r.metric = {metric:String} AND dimensionIsKnown({dimension:String})
                    AND r.occurred_on >= {since:Date} AND r.occurred_on < {until:Date}
                    AND aroundDays(r.occurred_at, {since:Date}, {until:Date})
                GROUP BY tenant, metric, value, everyone, scale
            )
            WINDOW s AS (PARTITION BY scale)
        )
        WHERE NOT everyone
    )
)
COMMENT 'Impact of each value of a dimension on a score; parameters: tenant, metric, dimension, since, until (left out)';

-- Why did the score change: for each value of a dimension, how much of the change came from its share of the answers
-- (mix) and how much from its own score (rate). The contributions add up to the change. A response with k topics counts
-- 1/k for each, one without under the empty value. A value that only one period has brings mix alone.
CREATE OR REPLACE VIEW feedback.change_parts {{on_cluster}}
AS SELECT
    tenant, metric, value, scale, n_1, n_2, share_1, share_2, score_1, score_2,
    (share_2 - share_1) * ((own_1 + own_2) / 2 - (all_1 + all_2) / 2) AS mix,
    (own_2 - own_1) * (share_1 + share_2) / 2 AS rate,
    mix + rate AS contribution, all_2 - all_1 AS change
FROM
(
    SELECT
        *,
        nullIf(sum(n_1) OVER (PARTITION BY scale), 0) AS total_1, nullIf(sum(n_2) OVER (PARTITION BY scale), 0) AS total_2,
        n_1 / total_1 AS share_1, n_2 / total_2 AS share_2,
        points_1 / nullIf(n_1, 0) AS score_1, points_2 / nullIf(n_2, 0) AS score_2,
        coalesce(score_1, score_2) AS own_1, coalesce(score_2, score_1) AS own_2,
        sum(points_1) OVER (PARTITION BY scale) / total_1 AS all_1,
        sum(points_2) OVER (PARTITION BY scale) / total_2 AS all_2
    FROM
    (
        SELECT
            r.tenant AS tenant, r.metric AS metric, value, r.scale AS scale,
            sumIf(1 / length(r.parts), in_1) AS n_1, sumIf(1 / length(r.parts), in_2) AS n_2,
            sumIf(r.points / length(r.parts), in_1) AS points_1, sumIf(r.points / length(r.parts), in_2) AS points_2
        FROM
        (
            SELECT r.tenant AS tenant, r.metric AS metric, r.scale AS scale,
                scorePoints(r.metric, r.band, r.score) AS points,
                (r.occurred_on >= {since_1:Date} AND r.occurred_on < {until_1:Date}) AS in_1,
                (r.occurred_on >= {since_2:Date} AND r.occurred_on < {until_2:Date}) AS in_2,
                dimensionValues({dimension:String}, r.source, r.question, r.survey, r.touchpoint, r.channel,
                r.journey_stage, r.language, r.sentiment, r.topics, r.segment_names, r.segment_values) AS found,
                if(empty(found), [''], found) AS parts
            FROM feedback.scored_responses AS r
            WHERE r.tenant = {tenant:String} AND r.metric = {metric:String} AND dimensionIsKnown({dimension:String})
                AND aroundDays(r.occurred_at, least({since_1:Date}, {since_2:Date}), greatest({until_1:Date}, {until_2:Date}))
        ) AS r
        ARRAY JOIN r.parts AS value
        WHERE in_1 OR in_2
        GROUP BY tenant, metric, value, scale
    )
)
COMMENT 'Parts of the change of a score; parameters: tenant, metric, dimension, since_1, until_1, since_2, until_2';

-- down
DROP VIEW IF EXISTS feedback.change_parts {{on_cluster}};
DROP VIEW IF EXISTS feedback.drivers {{on_cluster}};
DROP VIEW IF EXISTS feedback.segment_difference {{on_cluster}};
DROP VIEW IF EXISTS feedback.score_change {{on_cluster}};
DROP FUNCTION IF EXISTS scorePoints {{on_cluster}};
DROP FUNCTION IF EXISTS differenceLimit {{on_cluster}};
DROP FUNCTION IF EXISTS differenceVariance {{on_cluster}};
DROP FUNCTION IF EXISTS differenceCentre {{on_cluster}};
