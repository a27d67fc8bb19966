-- Scores by tenant, metric, scale, touchpoint and week. Counts are added up and put through the store's own functions: a
-- score is never averaged.
select
    tenant, metric, scale, touchpoint, bucket as week,
    sum(n) as answers,
    scoreOf(metric, sum(promoters), sum(detractors), sum(satisfied), sum(sum_score), answers) as score,
    scoreLow(metric, sum(promoters), sum(detractors), sum(satisfied), sum(sum_score), sum(sum_squares), answers, scale)
        as ci_low,
    scoreHigh(metric, sum(promoters), sum(detractors), sum(satisfied), sum(sum_score), sum(sum_squares), answers, scale)
        as ci_high
from {{ source('feedback', 'scores_weekly') }}
group by tenant, metric, scale, touchpoint, week
