"""The data plane: one process per accelerator."""
