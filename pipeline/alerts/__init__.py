"""The sentinel: finds spikes of unhappy feedback, explains them, and tells people once.

Read in this order: `stats` (tail probabilities), `baseline` (what is usual at this hour of the week), `detector`
(which series are out of line now), `grouping` (one alert for related series), `explain` (why), `sentinel` (the
process), `delivery` (to people and machines). stats, baseline, detector and grouping are pure: arrays in, arrays
out, no Kafka, no ClickHouse, no torch. docs/alerts.md says it in prose, bench/alerts.py measures it.
"""
