"""The operators' REST API on instances, logins, versions, maintenance and models."""
