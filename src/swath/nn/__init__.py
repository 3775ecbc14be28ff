"""Layers with batch and channels."""

__all__: list[str] = []
