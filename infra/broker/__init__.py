"""The embedded Kafka broker: Tansu, with its records in one SQLite file behind an S3 endpoint of our own."""
