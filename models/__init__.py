"""Text in, labels out: language, sentiment and topics of customer comments. Knows no Kafka and no ClickHouse.

>>> from models.labeler import Labeler          # doctest: +SKIP
>>> labeler = Labeler.load()                    # doctest: +SKIP
>>> labeler.label(["Great phone, terrible delivery."])  # doctest: +SKIP
"""
