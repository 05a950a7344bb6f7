"""What a shared cache must survive: outages, damage, kills, wrong clocks, other hosts. Against real servers.

work.py   the workflow that the tests run in processes of their own
"""
