"""Which upstream session continues a conversation, and stored Responses; shared by all web processes."""
