"""Benchmarks: each beside a peer that does the same work in the same run, repeated, medians quoted.

`make bench` runs them all; `python -m bench.decode` and its neighbours run one. What was measured, on which machine and
when is in bench/results/.
"""
