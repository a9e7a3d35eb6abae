"""How alarms come in: MQTT and SMS. Nothing here reads an envelope; that is `relay.verify`."""
