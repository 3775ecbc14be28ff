"""Beyond one array in one memory: work through data block by block."""

from .blocks import map_blocks

__all__ = ["map_blocks"]
