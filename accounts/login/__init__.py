"""Who may come in: passwords, second factors, an identity provider; how long wrong tries wait."""
