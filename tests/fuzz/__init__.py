"""Random and mutated bytes for every reader: they end in a Manifest or a ReadError, soon and small.

    make fuzz     (INTEROP_FUZZ=long: thousands of examples for each reader, other ones each time)

`seeds.py` finds real files of every format by itself; `mutate.py` says what is done to them.
"""
