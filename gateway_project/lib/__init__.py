"""Small tools that every app may use. They import no app; Django is allowed."""
