"""interop: can this model go where that one is?"""

__version__ = "0.1.0"
