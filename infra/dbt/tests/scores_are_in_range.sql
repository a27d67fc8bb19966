-- Every group has answers; a score and the ends of its interval are in -100..100, low before high. Rows here are failures.
select * from {{ ref('touchpoint_weeks') }}
where answers = 0 or ci_low > ci_high or score < -100 or score > 100 or ci_low < -100 or ci_high > 100
