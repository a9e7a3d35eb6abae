"""Bring alarms in, by MQTT and by SMS. Nothing here reads an envelope; `relay.verify` does."""
