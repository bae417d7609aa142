"""The login of one instance: which it is to have, its files, its renewals."""
