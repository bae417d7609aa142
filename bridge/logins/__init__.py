"""Logins of Lingma: the files that one consists of, and which of them a work dir has."""
