"""The operators' REST API: tokens, permissions, errors, resources. Other apps add theirs."""
