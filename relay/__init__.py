"""The relay of Tocsin: it verifies, stores and passes on the alarms of bracelets."""
