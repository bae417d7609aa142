"""The neutral language between the public formats and Lingma. Pure."""
