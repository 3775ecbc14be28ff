"""Beyond one array in one memory."""


def map_blocks(): ...
