"""Dialect A, which the program in Lingma's VSIX speaks: method names and payloads. Pure."""
