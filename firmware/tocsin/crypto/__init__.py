# sans-I/O
"""Cryptography that MicroPython's ESP32 build lacks, and only what the wire format needs.

sha512, ed25519 and x25519 are built here from their specifications; ccm and hkdf stand on `cryptolib` and `hashlib`.
Two implementations of the heavy arithmetic exist side by side: `*_viper` (native code, no allocation in its inner
loops) and `*_plain` (big integers, runs anywhere). `sha512` and `curve` take the native one when it loads and gives a
known answer.

This is no general library: it has no other curves, no streaming, no key formats.
"""
