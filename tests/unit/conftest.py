"""How properties are tried."""

from hypothesis import settings
from tests.fuzz import fuzz

settings.register_profile("funclet", fuzz())
settings.load_profile("funclet")
