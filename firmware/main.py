"""Entry point on the device: everything is in the package, so that a broken update is found by its name."""

from tocsin import app

app.main()
