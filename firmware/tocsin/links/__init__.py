"""Ways out of the bracelet: Wi-Fi with MQTT over TLS, and SMS."""
