"""Small things of the public API that belong to no layer of their own. Never a home for what has one."""
