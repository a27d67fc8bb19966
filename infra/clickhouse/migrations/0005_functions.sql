-- Scores and their 95 % intervals as SQL functions, so that any grouping an analyst invents has its interval too.
-- The same formulas in Python, with their sources: schemas/scores.py. A test holds the two together to 1e-9.
-- All answer NULL when n = 0. 1.959963984540054 is the 97.5 % quantile of the normal distribution.

-- Net Promoter Score, -100..100.
CREATE OR REPLACE FUNCTION npsScore {{on_cluster}} AS (promoters, detractors, n) ->
    if(n = 0, NULL, 100 * (promoters - detractors) / n);

-- Interval of an NPS, -100..100: adjusted Wald (Rocks 2016; 3 added to n, 3/4 to promoters and to detractors).
CREATE OR REPLACE FUNCTION npsLow {{on_cluster}} AS (promoters, detractors, n) ->
    if(n = 0, NULL, 100 * greatest(-1., (promoters - detractors) / (n + 3) - 1.959963984540054
        * sqrt(((promoters + detractors + 1.5) / (n + 3) - pow((promoters - detractors) / (n + 3), 2)) / (n + 3))));

CREATE OR REPLACE FUNCTION npsHigh {{on_cluster}} AS (promoters, detractors, n) ->
    if(n = 0, NULL, 100 * least(1., (promoters - detractors) / (n + 3) + 1.959963984540054
        * sqrt(((promoters + detractors + 1.5) / (n + 3) - pow((promoters - detractors) / (n + 3), 2)) / (n + 3))));

-- Interval of a share k / n as a share, 0..1 (Wilson). Times 100 for the percentages of the views.
CREATE OR REPLACE FUNCTION wilsonLow {{on_cluster}} AS (k, n) ->
    if(n = 0, NULL, greatest(0., (k + 1.9207294103470627 - 1.959963984540054
        * sqrt(k * (n - k) / n + 0.9603647051735313)) / (n + 3.8414588206941254)));

CREATE OR REPLACE FUNCTION wilsonHigh {{on_cluster}} AS (k, n) ->
    if(n = 0, NULL, least(1., (k + 1.9207294103470627 + 1.959963984540054
        * sqrt(k * (n - k) / n + 0.9603647051735313)) / (n + 3.8414588206941254)));

-- Interval of a mean out of sum and sum of squares, cut to the scale lowest..highest: the same adjustment on any scale
-- (3/4 of an answer at each end, 3/2 in the middle). One answer gives the whole scale.
CREATE OR REPLACE FUNCTION meanCentre {{on_cluster}} AS (total, n, lowest, highest) ->
    (total + 1.5 * (lowest + highest)) / (n + 3);

CREATE OR REPLACE FUNCTION meanError {{on_cluster}} AS (total, squares, n, lowest, highest) ->
    sqrt(greatest(0., (squares + 0.75 * (lowest * lowest + highest * highest) + 0.375 * pow(lowest + highest, 2))
        / (n + 3) - pow(meanCentre(total, n, lowest, highest), 2)) / (n + 3));

CREATE OR REPLACE FUNCTION meanLow {{on_cluster}} AS (total, squares, n, lowest, highest) ->
    multiIf(n = 0, NULL, n = 1, lowest, greatest(lowest, meanCentre(total, n, lowest, highest)
        - 1.959963984540054 * meanError(total, squares, n, lowest, highest)));

CREATE OR REPLACE FUNCTION meanHigh {{on_cluster}} AS (total, squares, n, lowest, highest) ->
    multiIf(n = 0, NULL, n = 1, highest, least(highest, meanCentre(total, n, lowest, highest)
        + 1.959963984540054 * meanError(total, squares, n, lowest, highest)));

-- The ends of a scale written as lowest-highest.
CREATE OR REPLACE FUNCTION scaleLowest {{on_cluster}} AS (scale) -> toFloat64OrZero(splitByChar('-', scale)[1]);

CREATE OR REPLACE FUNCTION scaleHighest {{on_cluster}} AS (scale) -> toFloat64OrZero(splitByChar('-', scale)[2]);

-- The score of a metric out of additive counts: NPS; the mean for stars; else the share of satisfied answers x 100.
CREATE OR REPLACE FUNCTION scoreOf {{on_cluster}} AS (metric, promoters, detractors, satisfied, total, n) ->
    multiIf(metric = 'nps', npsScore(promoters, detractors, n),
            metric = 'stars', if(n = 0, NULL, total / n),
            if(n = 0, NULL, 100 * satisfied / n));

-- Its interval. `scale` is the text of the responses, e.g. 1-5: a mean stays within it.
CREATE OR REPLACE FUNCTION scoreLow {{on_cluster}} AS (metric, promoters, detractors, satisfied, total, squares, n, scale) ->
    multiIf(metric = 'nps', npsLow(promoters, detractors, n),
            metric = 'stars', meanLow(total, squares, n, scaleLowest(scale), scaleHighest(scale)),
            100 * wilsonLow(satisfied, n));

CREATE OR REPLACE FUNCTION scoreHigh {{on_cluster}} AS (metric, promoters, detractors, satisfied, total, squares, n, scale) ->
    multiIf(metric = 'nps', npsHigh(promoters, detractors, n),
            metric = 'stars', meanHigh(total, squares, n, scaleLowest(scale), scaleHighest(scale)),
            100 * wilsonHigh(satisfied, n));

-- down
DROP FUNCTION IF EXISTS scoreHigh {{on_cluster}};
DROP FUNCTION IF EXISTS scoreLow {{on_cluster}};
DROP FUNCTION IF EXISTS scoreOf {{on_cluster}};
DROP FUNCTION IF EXISTS scaleHighest {{on_cluster}};
DROP FUNCTION IF EXISTS scaleLowest {{on_cluster}};
DROP FUNCTION IF EXISTS meanHigh {{on_cluster}};
DROP FUNCTION IF EXISTS meanLow {{on_cluster}};
DROP FUNCTION IF EXISTS meanError {{on_cluster}};
DROP FUNCTION IF EXISTS meanCentre {{on_cluster}};
DROP FUNCTION IF EXISTS wilsonHigh {{on_cluster}};
DROP FUNCTION IF EXISTS wilsonLow {{on_cluster}};
DROP FUNCTION IF EXISTS npsHigh {{on_cluster}};
DROP FUNCTION IF EXISTS npsLow {{on_cluster}};
DROP FUNCTION IF EXISTS npsScore {{on_cluster}};
