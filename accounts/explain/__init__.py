"""Why a request ended as it did, in plain words."""
