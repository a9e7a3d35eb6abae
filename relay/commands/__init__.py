"""The commands of `relay`, one module each. `relay.cli` imports a module only when its command is called."""
