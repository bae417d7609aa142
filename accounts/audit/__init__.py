"""The audit log: every change of what operators manage is one row, whichever way it is made."""
