"""The whole of params.yaml is valid, or nothing runs."""
