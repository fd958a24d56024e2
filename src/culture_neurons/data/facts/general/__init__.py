"""Questions of no culture, from what packages and Python itself hold with certainty: units, orders, numbers."""
