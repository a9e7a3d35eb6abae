"""Alembic migrations. A released one is never edited: the next change gets the next number."""
