"""How alarms go out. One module per channel; each takes rows of the outbox and reports what became of them."""
