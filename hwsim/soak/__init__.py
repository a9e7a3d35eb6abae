"""`hwsim soak`: random lives of a bracelet, drawn from seeds, played against a real relay, judged, and shrunk when they
fail. Written scenarios with their own expectations belong to `hwsim.scenario`."""
