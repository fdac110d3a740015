"""Model servers that users start."""
