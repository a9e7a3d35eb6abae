"""`hwsim soak`: random lives of a bracelet, drawn from seeds, played against a real relay, judged, and shrunk when they
fail. Written scenarios with expectations of their own are `hwsim.scenario`'s."""
