-- Customers: response rate, churn and retention by cohort, lifetime value, and one row a customer.
-- A cohort is the month (in the tenant's time zone) of a customer's first act. Surveys sent are no acts of a customer.

-- Surveys sent and answered. A response answers the last invitation of that survey to that customer before it, if that
-- is at most 30 days old; so the rate never passes 100 %, and a late answer counts for the month of its invitation.
CREATE OR REPLACE VIEW feedback.response_rate {{on_cluster}}
(
    tenant String COMMENT 'Who sent the surveys',
    survey String COMMENT 'Property survey of the interaction survey_sent',
    channel String COMMENT 'How the survey was sent',
    bucket Date COMMENT 'Month in which it was sent, in the time zone of the tenant',
    n UInt64 COMMENT 'Surveys sent',
    responses UInt64 COMMENT 'Of them answered',
    score Nullable(Float64) COMMENT 'Response rate, 0..100',
    ci_low Nullable(Float64) COMMENT 'Lower end of its 95 % interval',
    ci_high Nullable(Float64) COMMENT 'Upper end of its 95 % interval'
)
AS SELECT
    tenant, survey, channel, bucket, n, responses, 100 * responses / n AS score,
    100 * wilsonLow(responses, n) AS ci_low, 100 * wilsonHigh(responses, n) AS ci_high
FROM
(
    SELECT s.tenant AS tenant, JSONExtractString(s.properties, 'survey') AS survey, s.channel AS channel,
        toStartOfMonth(s.occurred_on) AS bucket, count() AS n,
        countIf((s.tenant, s.source, s.interaction_id) IN (
            SELECT r.tenant, sent.id.1, sent.id.2
            FROM (SELECT tenant, customer_id, survey, occurred_at FROM feedback.enriched_responses WHERE customer_id != '') AS r
            ASOF JOIN
            (
                SELECT tenant, customer_id, JSONExtractString(properties, 'survey') AS survey, occurred_at,
                    max((source, interaction_id)) AS id
                FROM feedback.enriched_interactions
                WHERE role = 'survey' AND customer_id != ''
                GROUP BY tenant, customer_id, survey, occurred_at
            ) AS sent ON sent.tenant = r.tenant AND sent.customer_id = r.customer_id AND sent.survey = r.survey
                AND sent.occurred_at <= r.occurred_at
            WHERE sent.occurred_at > r.occurred_at - toIntervalDay(30)
        )) AS responses
    FROM feedback.enriched_interactions AS s
    WHERE s.role = 'survey'
    GROUP BY tenant, survey, channel, bucket
);

-- When each customer came and, where the last act was to leave, went.
CREATE OR REPLACE VIEW feedback.customer_spans {{on_cluster}}
(
    tenant String COMMENT 'Whose customer',
    customer_id String COMMENT 'Id of the customer',
    first_at DateTime64(3, 'UTC') COMMENT 'First act',
    last_at DateTime64(3, 'UTC') COMMENT 'Last act',
    cohort Date COMMENT 'Month of the first act',
    lost_on Nullable(Date) COMMENT 'Day on which the customer left; NULL = has not, or came back',
    interactions UInt64 COMMENT 'Acts'
)
AS SELECT
    tenant, customer_id, min(occurred_at) AS first_at, max(occurred_at) AS last_at,
    toStartOfMonth(min(occurred_on)) AS cohort,
    if(countIf(role = 'lost') > 0 AND maxIf(occurred_at, role = 'lost') >= maxIf(occurred_at, role != 'lost'),
        maxIf(occurred_on, role = 'lost'), NULL) AS lost_on,
    count() AS interactions
FROM feedback.enriched_interactions
WHERE role != 'survey' AND customer_id != ''
GROUP BY tenant, customer_id;

-- Churn by cohort and month: customers lost in the month / customers at its start. New customers of the month are in
-- `new_customers`, those of them lost at once in `lost_new`; neither is part of the rate. churn + retention = 100.
CREATE OR REPLACE VIEW feedback.cohort_churn {{on_cluster}}
(
    tenant String COMMENT 'Whose customers',
    cohort Date COMMENT 'Month of their first act',
    bucket Date COMMENT 'Month, up to the newest of the tenant',
    n UInt64 COMMENT 'Customers of the cohort at the start of the month',
    lost UInt64 COMMENT 'Of them lost in the month',
    new_customers UInt64 COMMENT 'Customers who came in the month',
    lost_new UInt64 COMMENT 'Of them lost in the same month',
    customers_at_end UInt64 COMMENT 'Customers of the cohort at the end of the month',
    score Nullable(Float64) COMMENT 'Churn rate, 0..100; NULL in the first month',
    ci_low Nullable(Float64) COMMENT 'Lower end of its 95 % interval',
    ci_high Nullable(Float64) COMMENT 'Upper end of its 95 % interval',
    retention Nullable(Float64) COMMENT 'Retention rate, 0..100: 100 - churn'
)
AS SELECT
    tenant, cohort, bucket, n, lost, new_customers, lost_new, n - lost + new_customers - lost_new AS customers_at_end,
    if(n = 0, NULL, 100 * lost / n) AS score, 100 * wilsonLow(lost, n) AS ci_low, 100 * wilsonHigh(lost, n) AS ci_high,
    100 - score AS retention
FROM
(
    SELECT
        tenant, cohort, addMonths(cohort, age) AS bucket,
        sumIf(customers, age > 0 AND (lost_month IS NULL OR lost_month >= bucket)) AS n,
        sumIf(customers, age > 0 AND lost_month = bucket) AS lost,
        sumIf(customers, age = 0) AS new_customers, sumIf(customers, age = 0 AND lost_month = bucket) AS lost_new
    FROM
    (
        SELECT tenant, cohort, toStartOfMonth(lost_on) AS lost_month, count() AS customers,
            max(max(localDay(last_at, timezone))) OVER (PARTITION BY tenant) AS newest
        FROM feedback.customer_spans AS s
        LEFT JOIN feedback.tenant_zones AS z ON z.tenant = s.tenant
        GROUP BY tenant, cohort, lost_month
    )
    ARRAY JOIN range(toUInt32(dateDiff('month', cohort, newest) + 1)) AS age
    GROUP BY tenant, cohort, bucket
);

-- Customers of a cohort who did anything in a month: retention for a business without cancellations.
CREATE OR REPLACE VIEW feedback.cohort_activity {{on_cluster}}
(
    tenant String COMMENT 'Whose customers',
    cohort Date COMMENT 'Month of their first act',
    bucket Date COMMENT 'Month, up to the newest of the tenant',
    n UInt64 COMMENT 'Customers of the cohort',
    active UInt64 COMMENT 'Of them active in the month',
    score Nullable(Float64) COMMENT 'Share of active customers, 0..100',
    ci_low Nullable(Float64) COMMENT 'Lower end of its 95 % interval',
    ci_high Nullable(Float64) COMMENT 'Upper end of its 95 % interval'
)
AS SELECT
    tenant, cohort, bucket, n, active, 100 * active / n AS score,
    100 * wilsonLow(active, n) AS ci_low, 100 * wilsonHigh(active, n) AS ci_high
FROM
(
    SELECT c.tenant AS tenant, c.cohort AS cohort, c.bucket AS bucket, c.n AS n, a.active AS active
    FROM
    (
        SELECT tenant, cohort, addMonths(cohort, age) AS bucket, n
        FROM
        (
            SELECT tenant, cohort, count() AS n, max(max(localDay(last_at, timezone))) OVER (PARTITION BY tenant) AS newest
            FROM feedback.customer_spans AS s
            LEFT JOIN feedback.tenant_zones AS z ON z.tenant = s.tenant
            GROUP BY tenant, cohort
        )
        ARRAY JOIN range(toUInt32(dateDiff('month', cohort, newest) + 1)) AS age
    ) AS c
    LEFT JOIN
    (
        SELECT tenant, cohort, bucket, toUInt64(count()) AS active
        FROM
        (
            SELECT DISTINCT i.tenant AS tenant, i.customer_id AS customer_id, s.cohort AS cohort,
                toStartOfMonth(i.occurred_on) AS bucket
            FROM feedback.enriched_interactions AS i
            JOIN feedback.customer_spans AS s ON s.tenant = i.tenant AND s.customer_id = i.customer_id
            WHERE i.role != 'survey'
        )
        GROUP BY tenant, cohort, bucket
    ) AS a ON a.tenant = c.tenant AND a.cohort = c.cohort AND a.bucket = c.bucket
);

-- Orders of each customer, by currency: sums of different currencies mean nothing.
CREATE OR REPLACE VIEW feedback.customer_value {{on_cluster}}
(
    tenant String COMMENT 'Whose customer',
    customer_id String COMMENT 'Id of the customer',
    currency String COMMENT 'ISO 4217 code',
    cohort Date COMMENT 'Month of the first act',
    orders UInt64 COMMENT 'Orders with a value',
    revenue Float64 COMMENT 'Sum of their values',
    average_order_value Float64 COMMENT 'revenue / orders',
    lifespan_months Float64 COMMENT 'First to last act in months of 30.4375 days, at least one',
    orders_per_month Float64 COMMENT 'orders / lifespan_months',
    clv Float64 COMMENT 'average_order_value x orders_per_month x lifespan_months'
)
AS SELECT
    o.tenant AS tenant, o.customer_id AS customer_id, o.currency AS currency, s.cohort AS cohort, o.orders AS orders,
    o.revenue AS revenue, revenue / orders AS average_order_value,
    greatest(1., dateDiff('millisecond', s.first_at, s.last_at) / 86400000 / 30.4375) AS lifespan_months,
    orders / lifespan_months AS orders_per_month, average_order_value * orders_per_month * lifespan_months AS clv
FROM
(
    SELECT tenant, customer_id, currency, count() AS orders, sum(assumeNotNull(value)) AS revenue
    FROM feedback.enriched_interactions
    WHERE role = 'order' AND customer_id != '' AND value IS NOT NULL
    GROUP BY tenant, customer_id, currency
) AS o
JOIN feedback.customer_spans AS s ON s.tenant = o.tenant AND s.customer_id = o.customer_id;

-- Lifetime value by cohort, with its components: put a lifespan of your own beside the observed one.
CREATE OR REPLACE VIEW feedback.clv {{on_cluster}}
(
    tenant String COMMENT 'Whose customers',
    cohort Date COMMENT 'Month of their first act',
    currency String COMMENT 'ISO 4217 code',
    n UInt64 COMMENT 'Customers with an order',
    orders UInt64 COMMENT 'Their orders',
    revenue Float64 COMMENT 'Their worth',
    average_order_value Float64 COMMENT 'revenue / orders',
    orders_per_month Float64 COMMENT 'Orders a customer and month',
    lifespan_months Float64 COMMENT 'Mean of first to last act in months, at least one each',
    score Nullable(Float64) COMMENT 'CLV: average_order_value x orders_per_month x lifespan_months',
    ci_low Nullable(Float64) COMMENT 'Lower end of its 95 % interval',
    ci_high Nullable(Float64) COMMENT 'Upper end of its 95 % interval'
)
AS SELECT
    tenant, cohort, currency, n, orders, revenue, revenue / orders AS average_order_value,
    orders / months AS orders_per_month, months / n AS lifespan_months,
    average_order_value * orders_per_month * lifespan_months AS score,
    if(n < 2, NULL, score - 1.959963984540054 * sqrt(greatest(0., (squares - revenue * revenue / n) / (n - 1)) / n)) AS ci_low,
    if(n < 2, NULL, score + 1.959963984540054 * sqrt(greatest(0., (squares - revenue * revenue / n) / (n - 1)) / n)) AS ci_high
FROM
(
    SELECT v.tenant AS tenant, v.cohort AS cohort, v.currency AS currency, count() AS n, sum(v.orders) AS orders,
        sum(v.revenue) AS revenue, sum(v.revenue * v.revenue) AS squares, sum(v.lifespan_months) AS months
    FROM feedback.customer_value AS v
    GROUP BY tenant, cohort, currency
);

-- What known customers did and said, one row an act or a response: what feedback.customer_360 is made of.
CREATE OR REPLACE VIEW feedback.customer_events {{on_cluster}}
(
    tenant String COMMENT 'Whose customer',
    customer_id String COMMENT 'Id of the customer',
    kind String COMMENT 'act or response',
    at DateTime64(3, 'UTC') COMMENT 'When the customer acted or answered',
    source String COMMENT 'The system that sent it',
    source_id String COMMENT 'The source''s id of the act or response',
    question String COMMENT 'Responses: which question',
    role String COMMENT 'Acts: order, lost, case_opened, case_closed or other',
    currency String COMMENT 'Acts: currency of value',
    value Nullable(Float64) COMMENT 'Acts: worth',
    metric String COMMENT 'Responses: metric of an answer that counts; empty = none',
    score Nullable(Float64) COMMENT 'Responses: the answer',
    band String COMMENT 'Responses: band of the answer',
    sentiment String COMMENT 'Responses: sentiment of the comment; empty = not labelled yet',
    sentiment_score Nullable(Float32) COMMENT 'Responses: feeling in -1..1'
)
AS SELECT
    tenant, customer_id, 'act' AS kind, occurred_at AS at, source, interaction_id AS source_id, '' AS question,
    role, currency, value, '' AS metric, CAST(NULL, 'Nullable(Float64)') AS score, '' AS band, '' AS sentiment,
    CAST(NULL, 'Nullable(Float32)') AS sentiment_score
FROM feedback.enriched_interactions
WHERE role != 'survey' AND customer_id != ''
UNION ALL
SELECT
    tenant, customer_id, 'response' AS kind, occurred_at AS at, source, response_id AS source_id, question,
    '' AS role, '' AS currency, NULL AS value, if(excluded = 0 AND score IS NOT NULL, metric, '') AS metric, score, band,
    sentiment, sentiment_score
FROM feedback.enriched_responses
WHERE customer_id != '';

-- One row a customer. Risk by rule, one point each: last NPS band detractor; last sentiment negative; feeling fell by half
-- a point or more; an open case; no act or response for 90 days before the newest of the tenant. Two points are high.
CREATE OR REPLACE VIEW feedback.customer_360 {{on_cluster}}
(
    tenant String COMMENT 'Whose customer',
    customer_id String COMMENT 'Id of the customer',
    first_seen DateTime64(3, 'UTC') COMMENT 'First act or response',
    last_seen DateTime64(3, 'UTC') COMMENT 'Last act or response',
    interactions UInt64 COMMENT 'Acts',
    orders UInt64 COMMENT 'Orders',
    currency String COMMENT 'Currency of most orders; empty without orders',
    order_value Float64 COMMENT 'Sum of the orders in that currency',
    last_order_at Nullable(DateTime64(3, 'UTC')) COMMENT 'Last order',
    responses UInt64 COMMENT 'Responses',
    last_nps Nullable(Float64) COMMENT 'Last answer to an NPS question',
    last_csat Nullable(Float64) COMMENT 'Last answer to a CSAT question',
    last_ces Nullable(Float64) COMMENT 'Last answer to a CES question',
    last_stars Nullable(Float64) COMMENT 'Last stars',
    last_sentiment String COMMENT 'Sentiment of the last comment; empty = none',
    sentiment_trend Nullable(Float64) COMMENT 'Mean of the last three sentiment scores - that of the three before',
    open_cases UInt64 COMMENT 'Cases opened and not closed',
    lost UInt8 COMMENT '1 = the last act was to leave',
    risk_reasons Array(String) COMMENT 'detractor, negative, falling, open_case, inactive',
    churn_risk String COMMENT 'lost, high (two reasons or more), medium (one) or low'
)
AS WITH
    c.last_nps.2 = 'detractor' AS detractor, last_sentiment IN ('negative', 'very_negative') AS negative,
    ifNull(sentiment_trend, 0) <= -0.5 AS falling, open_cases > 0 AS open_case,
    last_seen < newest - toIntervalDay(90) AS inactive,
    detractor + negative + falling + open_case + inactive AS risks
SELECT
    c.tenant AS tenant, c.customer_id AS customer_id, first_seen, last_seen, interactions, orders, currency, order_value,
    last_order_at, responses, c.last_nps.1 AS last_nps, last_csat, last_ces, last_stars, last_sentiment, sentiment_trend, open_cases,
    lost,
    arrayFilter(reason -> reason != '', [
        if(detractor, 'detractor', ''), if(negative, 'negative', ''), if(falling, 'falling', ''),
        if(open_case, 'open_case', ''), if(inactive, 'inactive', '')]) AS risk_reasons,
    multiIf(lost, 'lost', risks > 1, 'high', risks = 1, 'medium', 'low') AS churn_risk
FROM
(
    WITH (at, source, source_id, question) AS place
    SELECT
        tenant, customer_id, min(at) AS first_seen, max(at) AS last_seen,
        countIf(kind = 'act') AS interactions, countIf(role = 'order') AS orders,
        arraySort(x -> (-x.1, x.2), arrayMap(
            c -> (arrayCount(x -> x.1 = c, worths), c, arraySum(arrayMap(x -> if(x.1 = c, x.2, 0), worths))),
            arrayDistinct(worths.1)))[1] AS main,
        groupArrayIf((e.currency, ifNull(value, 0)), role = 'order') AS worths,
        main.2 AS currency, main.3 AS order_value,
        if(orders = 0, NULL, maxIf(at, role = 'order')) AS last_order_at,
        countIf(role = 'lost') > 0
            AND maxIf(at, role = 'lost') >= maxIf(at, kind = 'act' AND role != 'lost') AS lost,
        countIf(kind = 'response') AS responses,
        argMaxIf((score, band), place, metric = 'nps') AS last_nps,
        argMaxIf(score, place, metric = 'csat') AS last_csat, argMaxIf(score, place, metric = 'ces') AS last_ces,
        argMaxIf(score, place, metric = 'stars') AS last_stars,
        arrayReverseSort(
            groupArrayIf((place, sentiment, ifNull(sentiment_score, 0)), sentiment NOT IN ('', 'unknown'))) AS felt,
        felt[1].2 AS last_sentiment,
        if(length(felt) < 4, NULL,
            arrayAvg(x -> x.3, arraySlice(felt, 1, 3)) - arrayAvg(x -> x.3, arraySlice(felt, 4, 3))) AS sentiment_trend,
        toUInt64(greatest(0, toInt64(countIf(role = 'case_opened')) - toInt64(countIf(role = 'case_closed')))) AS open_cases
    FROM feedback.customer_events AS e
    GROUP BY tenant, customer_id
) AS c
LEFT JOIN
(
    -- A join and not a window over the tenant: so a question for one customer reads only that customer.
    SELECT tenant, max(at) AS newest FROM feedback.customer_events GROUP BY tenant
) AS latest ON latest.tenant = c.tenant;

-- down
DROP VIEW IF EXISTS feedback.customer_360 {{on_cluster}};
DROP VIEW IF EXISTS feedback.customer_events {{on_cluster}};
DROP VIEW IF EXISTS feedback.clv {{on_cluster}};
DROP VIEW IF EXISTS feedback.customer_value {{on_cluster}};
DROP VIEW IF EXISTS feedback.cohort_activity {{on_cluster}};
DROP VIEW IF EXISTS feedback.cohort_churn {{on_cluster}};
DROP VIEW IF EXISTS feedback.customer_spans {{on_cluster}};
DROP VIEW IF EXISTS feedback.response_rate {{on_cluster}};
