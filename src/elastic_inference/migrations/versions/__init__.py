"""Each revision of the database."""
