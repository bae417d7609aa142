"""A neutral request as the one text Lingma takes. Pure."""
