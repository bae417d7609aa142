"""The floor: small tools that every app may use, and that know no app."""
