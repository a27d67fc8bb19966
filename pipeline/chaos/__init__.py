"""Try to break the scores: a made-up stream through the real parts while they are killed, paused and restarted.

`stream` makes the records out of a seed, `sender` and `poster` send them to Kafka and over HTTP, `faults` says what
happens to which part and when, `parts` holds the processes, `expected` recomputes every view in plain Python out of
what was acknowledged, `play` does all of it and compares. `vocstream chaos` runs it; so does a short test.
"""
