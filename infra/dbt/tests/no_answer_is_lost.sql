-- The model has as many answers as the view it is made from: neither lost nor counted twice. Rows here are failures.
select tenant, metric, sum(answers) as modelled, sum(n) as served
from
(
    select tenant, metric, answers, 0 as n from {{ ref('touchpoint_weeks') }}
    union all
    select tenant, metric, 0 as answers, n from {{ source('feedback', 'scores_weekly') }}
)
group by tenant, metric
having modelled != served
