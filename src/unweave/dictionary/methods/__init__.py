"""Every sparsity method, one file a paper. Importing this room registers all; a new file here is found by itself."""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
