"""How the shipped weights are made: data in, `models/weights/default` out. Not imported when labelling."""
