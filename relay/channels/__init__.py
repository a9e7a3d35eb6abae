"""The channels by which alarms, commands and epoch keys leave the relay, one module each."""
