"""How the shipped weights are made: data in, `models/weights/default` out. Not imported when labelling.

The entry is `models.training.train.train`; `python -m models.training --help` and `vocstream train` call it.
"""
