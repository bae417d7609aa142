"""The web processes of one gateway, on all of its machines: who they are, and turns handed over to them."""
